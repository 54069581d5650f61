"""Transcripts: what a generated revision sends to PostgreSQL, sent again in few round trips.

Building a table's operations and compiling them takes Python longer than PostgreSQL needs to run them, and a revision
runs four times until it is applied. How a transcript comes about is `transcribe`'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any, Literal

from sqlalchemy import Connection, Enum, exc
from sqlalchemy.types import TypeEngine

from monarch_dagster.memory import forgetting
from monarch_dagster.migrations.lock_timeouts import may_pass
from monarch_dagster.migrations.revisions import is_as_generated, said_bodies
from monarch_dagster.postgres.engines import is_lost, run_script

# So many operations of a generated revision run at a time.
PARAGRAPHS = 100
# By these names a generated revision knows the modules that have types.
_TYPES = ("sa", "postgresql")
# So much SQL goes in a round trip, in characters: enough to make their number small, little enough to be interrupted.
BATCH_LENGTH = 200_000
# On a target only what waits for nobody goes with others: each statement that may wait has a time of its own.
_WAITS_FOR_NOBODY = ("CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX ", "COMMENT ON ", "CREATE SCHEMA ")


_NAME = r'"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*'
_TABLE = rf"(?P<schema>{_NAME})\.(?P<table>{_NAME})"
_MADE = re.compile(rf"CREATE TABLE {_TABLE} \(")
_OF_TABLE = re.compile(
    rf"CREATE (?:UNIQUE )?INDEX (?:{_NAME}) ON {_TABLE} |COMMENT ON TABLE {_TABLE.replace('P<', 'P<own_')} "
    rf"|COMMENT ON COLUMN {_TABLE.replace('P<', 'P<column_')}\.(?:{_NAME}) "
)
_MADE_SCHEMA = re.compile(rf"CREATE SCHEMA (?:IF NOT EXISTS )?(?:{_NAME})")


@dataclass(frozen=True)
class Transcript:
    """The statements of a revision's two functions, without their semicolons, and the text that they are from."""

    text: str
    upgrade: tuple[str, ...]
    downgrade: tuple[str, ...]

    def makes(self, *, is_upgrade: bool) -> frozenset[str] | None:
        """Return the tables ("table s.t") that a direction makes, with indexes and comments; None where it does more.

        What makes tables and nothing else leaves all other relations as they are.
        """
        made: set[str] = set()
        for statement in self.upgrade if is_upgrade else self.downgrade:
            if found := _MADE.match(statement):
                made.add(_relation(found))
            elif found := _OF_TABLE.match(statement):
                # On a table that was there, an index is made on its partitions, too.
                if _relation(found) not in made:
                    return None
            elif not _MADE_SCHEMA.fullmatch(statement):
                return None
        return frozenset(made)

    def send(self, connection: Connection, *, is_upgrade: bool, together: bool) -> None:
        """Send the statements of one direction; what PostgreSQL refuses is told as if Alembic had run the revision.

        Where all go `together` none has a time of its own to wait for locks.
        """
        attempt = connection.begin_nested()
        try:
            for batch in batches(self.upgrade if is_upgrade else self.downgrade, together=together):
                run_script(connection, joined(batch))
        except exc.DBAPIError as error:
            if is_lost(error) or may_pass(error):
                raise
            attempt.rollback()
            # Statement by statement: the error then names the one.
            run_text(self.text, "upgrade" if is_upgrade else "downgrade")
        else:
            attempt.commit()


def _relation(found: re.Match[str]) -> str:
    schema, table = (name for name in found.groups() if name is not None)
    return "table " + ".".join(
        name[1:-1].replace('""', '"') if name.startswith('"') else name for name in (schema, table)
    )


def joined(statements: Sequence[str]) -> str:
    """Return statements as one script; one may end in a comment."""
    return "\n;\n".join(statements)


def batches(statements: Iterable[str], *, together: bool) -> Iterator[list[str]]:
    """Give the statements in their order, with those that may go in one round trip."""
    waiting: list[str] = []
    length = 0
    for statement in statements:
        alone = not (together or statement.startswith(_WAITS_FOR_NOBODY))
        if waiting and (alone or length + len(statement) > BATCH_LENGTH):
            yield waiting
            waiting, length = [], 0
        if alone:
            yield [statement]
        else:
            waiting.append(statement)
            length += len(statement)
    if waiting:
        yield waiting


def run_text(text: str, function: Literal["upgrade", "downgrade"]) -> None:
    """Run a function of a revision's text in the context of Alembic's that is in place.

    What was generated runs some paragraphs at a time: compiled as one, a large one takes hundreds of megabytes.
    """
    bodies = said_bodies(text)
    if bodies is None:
        names: dict[str, Any] = {}
        _execute(text, names)
        names[function]()
        return
    names = {}
    _execute(text[: text.index("\ndef upgrade()")], names)
    if is_as_generated(text):
        names |= {name: _Sharing(names[name]) for name in _TYPES if name in names}
    paragraphs = bodies[function == "downgrade"].split("\n\n    ")
    with forgetting() as forget:
        for start in range(0, len(paragraphs), PARAGRAPHS):
            if start:
                forget()
            _execute(f"if True:\n    {_joined(paragraphs[start : start + PARAGRAPHS])}\n", names)


class _Sharing:
    """A module in which types that are made alike are one: with a type SQLAlchemy keeps what it finds out about it.

    Enum types are left out: they know the table that they belong to.
    """

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        if isinstance(found, type) and issubclass(found, TypeEngine) and not issubclass(found, Enum):
            found = _sharing(found)
        setattr(self, name, found)
        return found


def _sharing(kind: type[TypeEngine[Any]]) -> Callable[..., TypeEngine[Any]]:
    shared = cache(kind)

    def make(*arguments: Any, **named: Any) -> TypeEngine[Any]:
        try:
            return shared(*arguments, **named)
        except TypeError:  # such as a list, which nothing can be known by
            return kind(*arguments, **named)

    return make


def _joined(paragraphs: Sequence[str]) -> str:
    return "\n\n    ".join(paragraphs)


def _execute(code: str, names: dict[str, Any]) -> None:
    exec(compile(code, "<revision>", "exec", dont_inherit=True), names)  # noqa: S102 - a revision is code to be run
