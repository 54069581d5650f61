"""What a plan is made of: operations in phases, each with what it may cost; and how they are named and quoted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any

from alembic.operations import ops

from monarch_dagster.migrations.hazards import Lock
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.postgres.quoting import identifier


class Phase(IntEnum):
    """When an operation runs: what goes first makes room for what comes, and what is referred to is there before."""

    CREATE_SCHEMA = auto()
    DROP_VIEW = auto()
    DROP_KEY = auto()
    DROP_TABLE = auto()
    DROP_CONSTRAINT = auto()
    DROP_REPLACED = auto()
    DROP_IDENTITY = auto()
    CREATE_TYPE = auto()
    CREATE_SEQUENCE = auto()
    RENAME = auto()
    VALIDATE = auto()
    ADD_COLUMN = auto()
    ALTER_TABLE = auto()
    DROP_DEFAULT = auto()
    DROP_OWNED_SEQUENCE = auto()
    ALTER_TYPE = auto()
    ALTER_NULL = auto()
    ADD_IDENTITY = auto()
    SET_DEFAULT = auto()
    ADD_GENERATED = auto()
    DROP_PROVEN_CHECK = auto()
    CONSTRAIN = auto()
    CREATE_TABLE = auto()
    KEY = auto()
    OWN_SEQUENCE = auto()
    DROP_COLUMN = auto()
    CREATE_VIEW = auto()
    COMMENT = auto()
    DROP_SEQUENCE = auto()
    DROP_TYPE = auto()
    DROP_SCHEMA = auto()


@dataclass(frozen=True)
class Sql:
    """A statement in PostgreSQL's own words, for what Alembic has no operation for."""

    text: str


@dataclass(frozen=True)
class Concurrent:
    """An index that is built while others write: one statement outside of a transaction, safe to repeat."""

    build: ops.CreateIndexOp | Sql


Action = ops.MigrateOperation | Sql | Concurrent


@dataclass(frozen=True)
class Operation:
    """Actions that belong together. `key` orders operations within a phase; the rest says what they may cost."""

    phase: Phase
    key: tuple[Any, ...]
    actions: tuple[Action, ...]
    hazards: tuple[Hazard, ...] = ()
    locks: tuple[Lock, ...] = ()


def ordered(operations: Iterable[Operation]) -> list[Operation]:
    """Return operations in the one order in which they run."""
    return sorted(operations, key=lambda item: (item.phase, item.key))


def split(relation: str) -> tuple[str, str]:
    """Return schema and name of "table schema.name" or "schema.name"; a kind is a word or two before it."""
    schema, _, name = relation.partition(".")
    return schema.rpartition(" ")[2], name


def qualified(relation: str) -> str:
    """Return the quoted name of "table schema.name", to be written in a statement."""
    schema, name = split(relation)
    return f"{identifier(schema)}.{identifier(name)}"


def view_kind(relation: str) -> str:
    """Return the words for "view schema.name" or "materialized view schema.name" in a statement."""
    return "MATERIALIZED VIEW" if relation.startswith("materialized ") else "VIEW"
