"""Recording: what a revision does on a target, from its facts before to its row in the ledger, in its own transaction.

What is written, and how, is `ledger`'s; whether the revision may run is not decided here.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, event

from monarch_dagster.migrations.ledger import (
    Direction,
    Row,
    add_row,
    read_hashes,
    read_recorded,
    record_facts,
)
from monarch_dagster.migrations.revisions import Revision
from monarch_dagster.schema.facts import Aspects, Facts, combined_hash, read_facts, relation_hash, user_schemas

# How statements end that only look, or make what is gone again before the revision ends.
UNRECORDED = " /* not recorded */"
_EVENT_TRIGGERS = "SELECT EXISTS (SELECT FROM pg_event_trigger WHERE evtenabled <> 'D')"


@dataclass
class Recording:
    """One revision that runs on a target: begun before its first statement, ended behind its last one."""

    connection: Connection
    direction: Direction
    item: Revision
    # The one that it is applied on here, or taken back to.
    down_revision: str | None
    body: bytes
    run: str
    approvals: Collection[str]
    # Whether it leaves its transaction, so that an interrupted run may have done a part of it before.
    repeats: bool
    # The relations that it may touch; None for any.
    only: Collection[str] | None = None
    statements: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Read the facts before."""
        self.started_at, self._clock = datetime.now(UTC), time.monotonic()
        self._text = self.body.decode()
        self._hashes = read_hashes(self.connection)
        if self.connection.exec_driver_sql(_EVENT_TRIGGERS).scalar_one():
            self.only = None  # they may touch more
        self._before = self._facts()

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Keep the statements that are sent meanwhile; those of an earlier try are forgotten."""
        self.statements.clear()

        def keep(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
            if not statement.endswith(UNRECORDED):
                self.statements.append(statement)

        event.listen(self.connection, "before_cursor_execute", keep)
        try:
            yield
        finally:
            event.remove(self.connection, "before_cursor_execute", keep)

    def end(self) -> None:
        """Read the facts after, and write row and facts in the connection's transaction."""
        after = self._facts().relations
        before = self._left_by_an_earlier_run(after) if self.repeats else self._before.relations
        touched = [name for name in before.keys() | after.keys() if before.get(name) != after.get(name)]
        state = new_state(read_recorded(self.connection, touched), before, after, sorted(touched))
        hashes = {name: found for name, found in self._hashes.items() if name not in state}
        hashes |= {name: relation_hash(aspects) for name, aspects in state.items() if aspects is not None}
        record_facts(self.connection, state)
        row = Row(
            direction=self.direction,
            revision=self.item.revision,
            down_revision=self.down_revision,
            digest=self.item.digest,
            body=self.body,
            applied_by=whoami(),
            run=self.run,
            started_at=self.started_at,
            seconds=time.monotonic() - self._clock,
            sql=";\n".join(self.statements),
            facts_before=combined_hash(self._hashes),
            facts_after=combined_hash(hashes),
            relations={name: (self._hashes.get(name), hashes.get(name)) for name in state},
            hazards=[asdict(hazard) for hazard in self.item.hazards],
            approvals=sorted(self.approvals),
        )
        add_row(self.connection, row)

    def _facts(self) -> Facts:
        """Read the facts of the schemas that are the revisions' or that this one speaks of."""
        ours = {name.removeprefix("schema ") for name in self._hashes if name.startswith("schema ")}
        schemas = [name for name in user_schemas(self.connection) if name in ours or name in self._text]
        return read_facts(self.connection, schemas, self.only)

    def _left_by_an_earlier_run(self, after: Mapping[str, Aspects]) -> Mapping[str, Aspects]:
        """Return the facts before, without what an interrupted run of this very revision had done of it."""
        differing = [name for name, aspects in after.items() if self._hashes.get(name) != relation_hash(aspects)]
        recorded = read_recorded(self.connection, differing)
        return without_own(self._before.relations, recorded, after, lambda name: name in self._text)


def new_state(
    recorded: Mapping[str, Aspects],
    before: Mapping[str, Aspects],
    after: Mapping[str, Aspects],
    touched: Collection[str],
) -> dict[str, Aspects | None]:
    """Return what is to be recorded of the relations that a revision touched; None where one is gone.

    Only what it changed is taken over: what somebody else had changed by hand stays a difference to the record.
    """
    state: dict[str, Aspects | None] = {}
    for name in touched:
        was, now, known = before.get(name), after.get(name), recorded.get(name)
        if now is None or was is None or known is None:
            state[name] = now
            continue
        changed = {aspect for aspect in was.keys() | now.keys() if was.get(aspect) != now.get(aspect)}
        kept = {aspect: value for aspect, value in known.items() if aspect not in changed}
        state[name] = kept | {aspect: value for aspect, value in now.items() if aspect in changed}
    return state


def without_own(
    before: Mapping[str, Aspects],
    recorded: Mapping[str, Aspects],
    after: Mapping[str, Aspects],
    is_own: Callable[[str], bool],
) -> dict[str, Aspects]:
    """Return the facts before as recorded in each aspect that is of something whose name `is_own`.

    What is recorded as it is now stays as it is.
    """
    result = dict(before)
    for relation, known in recorded.items():
        now = after.get(relation, {})
        names = {
            aspect
            for aspect in known.keys() | now.keys()
            if known.get(aspect) != now.get(aspect) and is_own(_subject(relation, aspect))
        }
        kept = {aspect: value for aspect, value in before.get(relation, {}).items() if aspect not in names}
        result[relation] = kept | {aspect: value for aspect, value in known.items() if aspect in names}
    return result


def _subject(relation: str, aspect: str) -> str:
    """Return the name of what an aspect is of: "ix" of "index ix", and the relation's own of "definition"."""
    _, named, name = aspect.rpartition(" ")
    return name if named else relation.rpartition(" ")[2].rpartition(".")[2]


def row_of_file(item: Revision, direction: Direction, run: str, started_at: datetime, **more: Any) -> Row:
    """Return the row of a revision that is in force as its file has it; `more` are other fields of the row."""
    return Row(
        direction=direction,
        revision=item.revision,
        down_revision=item.down_revision,
        digest=item.digest,
        body=item.path.read_bytes(),
        applied_by=whoami(),
        run=run,
        started_at=started_at,
        hazards=[asdict(hazard) for hazard in item.hazards],
        **more,
    )


def whoami() -> str:
    """Return `user@host` of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
