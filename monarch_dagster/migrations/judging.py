"""Judging conversions while a revision runs: what it does to the values of each column that gets another type.

How values are counted is `converting`'s; what is refused, `data_loss`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, event, exc

from monarch_dagster.migrations.alter_type import Conversions, read_conversions
from monarch_dagster.migrations.converting import Counted, Outcome, count_conversions
from monarch_dagster.migrations.recording import UNRECORDED
from monarch_dagster.migrations.stored_values import Writes, read_writes
from monarch_dagster.postgres.engines import run_script


@dataclass
class Judging:
    """Judges each conversion right before it runs, behind what the revision did before it.

    One that would fail is not sent: what comes behind it is judged all the same, and then all is to be rolled back.
    """

    connection: Connection
    outcomes: list[Outcome] = field(default_factory=list)
    # Columns that were judged, by their table's oid and number in it.
    judged: set[tuple[int, int]] = field(default_factory=set)
    _writes: dict[int, Writes] = field(default_factory=dict)
    _otherwise: set[int] = field(default_factory=set)
    _converting: int | None = None

    @property
    def failing(self) -> list[Outcome]:
        """What cannot be done."""
        return [item for item in self.outcomes if item.failing]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Judge what is sent meanwhile."""
        self._writes = dict(read_writes(self.connection))
        event.listen(self.connection, "before_cursor_execute", self._before, retval=True)
        event.listen(self.connection, "after_cursor_execute", self._after)
        try:
            yield
        finally:
            event.remove(self.connection, "before_cursor_execute", self._before)
            event.remove(self.connection, "after_cursor_execute", self._after)

    @property
    def converting(self) -> bool:
        """Say whether a conversion was sent and has not come to its end."""
        return self._converting is not None

    def explained(self) -> set[int]:
        """Return the tables that were written anew by conversions that were judged, and by nothing else."""
        now = read_writes(self.connection)
        judged = {oid for oid, _ in self.judged} - self._otherwise
        return {oid for oid in judged if oid in now and now[oid] == self._writes.get(oid)}

    def _before(
        self, _connection: object, _cursor: object, statement: str, parameters: Any, context: Any, _many: bool
    ) -> tuple[str, Any]:
        if statement.endswith(UNRECORDED) or parameters:
            return statement, parameters
        as_sent = statement
        if not context.execution_options.get("no_parameters"):
            as_sent = statement.replace("%%", "%")  # as the driver does
        found = read_conversions(as_sent)
        counted = self._counted(found) if found is not None else None
        if counted is None:
            return statement, parameters
        self.outcomes += counted.outcomes
        if any(item.failing for item in counted.outcomes):
            return "SELECT 1", parameters
        self.judged |= {(counted.table, number) for number in counted.numbers}
        if read_writes(self.connection).get(counted.table) != self._writes.get(counted.table):
            self._otherwise.add(counted.table)
        self._converting = counted.table
        return statement, parameters

    def _after(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if self._converting is not None and not statement.endswith(UNRECORDED):
            table, self._converting = self._converting, None
            self._writes |= {oid: item for oid, item in read_writes(self.connection).items() if oid == table}

    def _counted(self, found: Conversions) -> Counted | None:
        savepoint = "monarch_judging"
        run_script(self.connection, f"SAVEPOINT {savepoint}{UNRECORDED}")
        try:
            counted = count_conversions(self.connection, found, lock=True)
        except (exc.ProgrammingError, exc.NotSupportedError):
            # It cannot be tried, or not by this role; the statement itself tells what is wrong with it.
            run_script(self.connection, f"ROLLBACK TO SAVEPOINT {savepoint}{UNRECORDED}")
            return None
        run_script(self.connection, f"RELEASE SAVEPOINT {savepoint}{UNRECORDED}")
        return counted
