"""Renames that a person said (`info={"renamed_from": …}`), and those that look likely. Pure.

A rename is never guessed: without that line a column is dropped and another one added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from alembic.operations import ops
from sqlalchemy import MetaData, Table

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.hazards import CARRIED, exclusively
from monarch_dagster.migrations.planning.definitions import mentions
from monarch_dagster.migrations.planning.operation import Operation, Phase
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.schema.facts import Aspects, Difference, Facts, parse_column

RENAMED_FROM = "renamed_from"
TABLE = "table "
COLUMN = "column "


@dataclass(frozen=True)
class Rename:
    """A table that gets another name (`column` is then ""), or a column of the table that is called `table` by then."""

    schema: str
    table: str
    old: str
    new: str
    column: bool = False

    def action(self, *, back: bool = False) -> ops.MigrateOperation:
        """Return Alembic's operation that renames; the other way for `back`."""
        old, new = (self.new, self.old) if back else (self.old, self.new)
        if self.column:
            return ops.AlterColumnOp(self.table, old, schema=self.schema, modify_name=new)
        return ops.RenameTableOp(old, new, schema=self.schema)

    def hazards(self, before: Facts) -> Iterator[Hazard]:
        """Give the functions that say the old name: their bodies are text, which no rename reaches."""
        for name, aspects in before.relations.items():
            if name.startswith("function ") and mentions(aspects["definition"], self.old):
                yield Hazard(CARRIED, name.removeprefix("function "), f"its text says {self.old}, which is renamed")

    @property
    def change(self) -> Difference:
        """The rename as a change, beside those of facts."""
        what = f"the name of column {self.new}" if self.column else "the name"
        return Difference(f"{TABLE}{self.schema}.{self.table}", what, expected=self.new, found=self.old)

    def operation(self, *, back: bool = False) -> Operation:
        """Return the operation with the lock that it takes, on the table by its name before."""
        table = f"{self.schema}.{self.table if self.column else self.old}"
        return Operation(Phase.RENAME, (self.table, self.new), (self.action(back=back),), (), exclusively(table))


def find_renames(before: Facts, wanted: Facts, metadata: MetaData) -> tuple[Rename, ...]:
    """Return the renames that the models ask for and the chain has not made yet, tables first.

    A rename that was made leaves its line behind, which then says nothing; the old name may be taken by something new.
    Raises `MonarchError` where one name cannot be the other's heir, and for a column whose table has neither name.
    """
    chain = before.declarable().relations
    tables: list[Rename] = []
    columns: list[Rename] = []
    by_name = {f"{TABLE}{table.key}": table for table in metadata.tables.values()}
    for relation, table in sorted(by_name.items()):
        schema = str(table.schema)
        there = relation
        if old := table.info.get(RENAMED_FROM):
            was = f"{TABLE}{schema}.{old}"
            source = by_name[was].info.get(RENAMED_FROM) if was in by_name else None
            if _is_due(was, relation, chain, wanted.relations, f"{TABLE}{schema}.{source}"):
                tables.append(Rename(schema, table.name, old, table.name))
                there = was
        if there in chain:
            columns += _column_renames(relation, table, chain[there], wanted.relations.get(relation, {}))
    _check_once([(f"{item.schema}.{item.table}" if item.column else item.schema, item) for item in (*tables, *columns)])
    return (*tables, *columns)


def _check_once(renames: Sequence[tuple[str, Rename]]) -> None:
    heirs: dict[tuple[str, str], str] = {}
    for place, item in renames:
        other = heirs.setdefault((place, item.old), item.new)
        if other != item.new:
            raise MonarchError(
                f"Both {place}.{other} and {place}.{item.new} say that they were {item.old}. Nothing was written.",
                remedy=f"Remove {RENAMED_FROM} from one of them.",
            )


def _column_renames(relation: str, table: Table, known: Aspects, wanted: Aspects) -> Iterator[Rename]:
    chain, declared = (
        {f"{relation}.{name.removeprefix(COLUMN)}": value for name, value in aspects.items() if name.startswith(COLUMN)}
        for aspects in (known, wanted)
    )
    for column in table.columns:
        old, new = column.info.get(RENAMED_FROM), f"{relation}.{column.name}"
        if not old:
            continue
        was = f"{relation}.{old}"
        if was not in chain and new not in chain:
            raise MonarchError(
                f"{new} says that it was {old}, but the chain has neither of the two.",
                remedy=f"Correct {RENAMED_FROM}, or remove it for a new column. Nothing was written.",
            )
        source = table.columns[old].info.get(RENAMED_FROM) if old in table.columns else None
        if _is_due(was, new, chain, declared, f"{relation}.{source}"):
            yield Rename(str(table.schema), table.name, old, column.name, column=True)


def _is_due(old: str, new: str, chain: Mapping[str, Any], wanted: Mapping[str, Any], source: str) -> bool:
    """Decide whether `old` becomes `new` now; `source` is what the models say that `old` was.

    `chain` and `wanted` tell of each name what is there. Raises `MonarchError` where two names are taken for one.
    """
    if old not in chain:
        return False
    if new not in chain and wanted.get(old) != chain[old]:
        return True
    if new in chain and old in wanted and source not in chain:
        return False
    where = "the chain has both" if new in chain else "the models declare both"
    if new in chain and old in wanted:
        where = "these names are swapped"
    raise MonarchError(
        f"{new} says that it was {old.rpartition('.')[2]}, but {where}. Nothing was written.",
        remedy=f"Remove {RENAMED_FROM} if they are two; else rename in two steps, each with a revision of its own.",
    )


def likely_renames(before: Facts, wanted: Facts) -> Iterator[str]:
    """Give a line for each change that looks like a rename nobody has said, with what would say it."""
    gone = [name for name in before.tables() if f"table {name}" not in wanted.relations]
    come = [name for name in wanted.tables() if f"table {name}" not in before.relations]
    for old in sorted(gone):
        same = [new for new in come if _columns(wanted, new) == _columns(before, old) and _schema(new) == _schema(old)]
        if len(same) == 1:
            yield _suggestion("table", same[0], old.partition(".")[2])
    for table in sorted(before.tables() & wanted.tables()):
        old_columns, new_columns = _columns(before, table), _columns(wanted, table)
        by_type: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for name in old_columns.keys() - new_columns.keys():
            by_type[old_columns[name]][0].append(name)
        for name in new_columns.keys() - old_columns.keys():
            by_type[new_columns[name]][1].append(name)
        for dropped, added in by_type.values():
            if len(dropped) == len(added) == 1:
                yield _suggestion("column", f"{table}.{added[0]}", dropped[0])


def rename_hints(renames: Sequence[Rename]) -> str:
    """Return what renames do, in a few words, for a revision's message."""
    return ", ".join(f"rename {item.old} to {item.new}" for item in renames)


def _suggestion(kind: str, new: str, old: str) -> str:
    return (
        f"{new} is added and {old} dropped, alike in type. If the {kind} was renamed, delete the revision, write "
        f'info={{"{RENAMED_FROM}": "{old}"}} at {new} and generate again: its values are kept.'
    )


def _columns(facts: Facts, table: str) -> dict[str, str]:
    return {
        aspect.removeprefix("column "): parse_column(value).type
        for aspect, value in facts.relations[f"table {table}"].items()
        if aspect.startswith("column ")
    }


def _schema(table: str) -> str:
    return table.partition(".")[0]
