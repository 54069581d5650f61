"""Renames that a person said, and those that look likely. Pure.

In models it is `info={"renamed_from": …}`, in `object_meta.json` `choices.renamed_from`. A rename is never guessed:
without that line a column is dropped, or stays as a missing field's, and another one added.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
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
from monarch_dagster.schema.provider import ENTRY, RENAMED_FROM, Entry

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


@dataclass(frozen=True)
class _Said:
    """Who says what they were before, in the words of the source that they are declared in."""

    who: str
    was: str
    # What is found, and what to do, where the source still has the old one.
    both: str
    split: str
    # Where it stands, a sentence to be put behind a remedy; "" for models.
    place: str


def find_renames(before: Facts, wanted: Facts, metadata: MetaData, made: Iterable[Rename] = ()) -> tuple[Rename, ...]:
    """Return the renames that the sources ask for and the chain has not made yet, tables first.

    A rename that was made leaves its line behind, which then says nothing; the old name may be taken by something new.
    `made` are those that the chain made.
    Raises `MonarchError` where one name cannot be the other's heir, for a column whose table has neither name, and for
    an object that has neither table while the chain has tables of others.
    """
    chain = before.declarable().relations
    tables: list[tuple[Rename, _Said]] = []
    columns: list[tuple[Rename, _Said]] = []
    by_name = {f"{TABLE}{table.key}": table for table in metadata.tables.values()}
    known = frozenset((item.column, item.old, item.new) for item in made)
    schemas = {_schema(name.removeprefix(TABLE)) for name in chain if name.startswith(TABLE)}
    for relation, table in sorted(by_name.items()):
        schema = str(table.schema)
        there = relation
        if old := table.info.get(RENAMED_FROM):
            was = f"{TABLE}{schema}.{old}"
            said = _said(relation, table.info)
            source = by_name[was].info.get(RENAMED_FROM) if was in by_name else None
            if was not in chain and relation not in chain and ENTRY in table.info and schema in schemas:
                raise _neither(said, "table")
            if _is_due(
                was,
                relation,
                chain,
                wanted.relations,
                f"{TABLE}{schema}.{source}",
                said,
                made=(False, old, table.name) in known,
            ):
                tables.append((Rename(schema, table.name, old, table.name), said))
                there = was
        if there in chain:
            columns += _column_renames(relation, table, chain[there], wanted.relations.get(relation, {}), known)
    _check_once((*tables, *columns))
    return tuple(item for item, _ in (*tables, *columns))


def _said(path: str, info: Mapping[Any, Any]) -> _Said:
    entry = info.get(ENTRY)
    if not isinstance(entry, Entry):
        steps = "rename in two steps, each with a revision of its own."
        return _Said(path, info[RENAMED_FROM], "the models declare both", steps, "")
    was = entry.renamed_from
    return _Said(
        str(entry),
        was,
        f"{was} is there too, and not missing",
        f"delete the entry of {was}, which is then gone.",
        f" It stands in {entry.file}, at {entry}: {entry.line(was)}",
    )


def _neither(said: _Said, kind: str) -> MonarchError:
    return MonarchError(
        f"{said.who} says that it was {said.was}, but the chain has neither of the two.",
        remedy=f"Correct {RENAMED_FROM}, or remove it for a new {kind}. Nothing was written.{said.place}",
    )


def _check_once(renames: Sequence[tuple[Rename, _Said]]) -> None:
    heirs: dict[tuple[str, str, str], tuple[Rename, _Said]] = {}
    for item, said in renames:
        other, first = heirs.setdefault((item.schema, item.table if item.column else "", item.old), (item, said))
        if other != item:
            raise MonarchError(
                f"Both {first.who} and {said.who} say that they were {said.was}. Nothing was written.",
                remedy=f"Remove {RENAMED_FROM} from one of them.{said.place}",
            )


def _column_renames(
    relation: str, table: Table, known: Aspects, wanted: Aspects, made: Collection[tuple[bool, str, str]]
) -> Iterator[tuple[Rename, _Said]]:
    chain, declared = (
        {f"{relation}.{name.removeprefix(COLUMN)}": value for name, value in aspects.items() if name.startswith(COLUMN)}
        for aspects in (known, wanted)
    )
    for column in table.columns:
        old, new = column.info.get(RENAMED_FROM), f"{relation}.{column.name}"
        if not old:
            continue
        was = f"{relation}.{old}"
        said = _said(new, column.info)
        if was not in chain and new not in chain:
            raise _neither(said, "column")
        source = table.columns[old].info.get(RENAMED_FROM) if old in table.columns else None
        done = (True, old, column.name) in made
        if _is_due(was, new, chain, declared, f"{relation}.{source}", said, made=done):
            yield Rename(str(table.schema), table.name, old, column.name, column=True), said


def _is_due(
    old: str,
    new: str,
    chain: Mapping[str, Any],
    wanted: Mapping[str, Any],
    source: str,
    said: _Said,
    *,
    made: bool,
) -> bool:
    """Decide whether `old` becomes `new` now; `source` is what the sources say that `old` was.

    `made` says whether the chain has done so before: `old` is another one since. `chain` and `wanted` tell of each name
    what is there. Raises `MonarchError` where two names are taken for one.
    """
    if old not in chain:
        return False
    if new not in chain and (old not in wanted if said.place else wanted.get(old) != chain[old]):
        return True
    both = new in chain and old in wanted and source not in chain
    if both and made:
        return False
    where, remedy = said.both, f"Remove {RENAMED_FROM} if they are two; else {said.split}"
    if both:
        where = "both are there, in the sources and in the chain"
        remedy = f"Remove {RENAMED_FROM}: they are two."
    elif new in chain and old in wanted:
        where = "these names are swapped"
        remedy = f"Remove {RENAMED_FROM} if they are two; else rename in two steps, each with a revision of its own."
    elif new in chain:
        where = "the chain has both"
        remedy = (
            f"Remove {RENAMED_FROM} if they are two. Else take back the revision that added the new one: delete its "
            "file (where it is applied, `monarch revert` first), and generate again. Or keep both, and copy the values "
            "in a revision of your own (monarch generate-migrations --empty)."
        )
    raise MonarchError(
        f"{said.who} says that it was {said.was}, but {where}. Nothing was written.", remedy=remedy + said.place
    )


def likely_renames(before: Facts, wanted: Facts, metadata: MetaData | None = None) -> Iterator[str]:
    """Give a line for each change that looks like a rename nobody has said, with what would say it.

    That a field of the provider is missing drops nothing; its likely renames are `provider_renames`'.
    """
    tables = {table.key: table for table in metadata.tables.values()} if metadata is not None else {}
    gone = [name for name in before.tables() if f"table {name}" not in wanted.relations]
    come = [name for name in wanted.tables() if f"table {name}" not in before.relations]
    for old in sorted(gone):
        same = [new for new in come if _columns(wanted, new) == _columns(before, old) and _schema(new) == _schema(old)]
        if len(same) == 1:
            info = tables[same[0]].info if same[0] in tables else {}
            yield _suggestion("table", same[0], old.partition(".")[2], info)
    for name in sorted(before.tables() & wanted.tables()):
        if before.relations[f"table {name}"] == wanted.relations[f"table {name}"]:
            continue
        old_columns, new_columns = _columns(before, name), _columns(wanted, name)
        by_type: dict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
        for column in old_columns.keys() - new_columns.keys():
            by_type[old_columns[column]][0].append(column)
        for column in new_columns.keys() - old_columns.keys():
            by_type[new_columns[column]][1].append(column)
        for dropped, added in by_type.values():
            if len(dropped) == len(added) == 1:
                info = tables[name].columns[added[0]].info if name in tables else {}
                yield _suggestion("column", f"{name}.{added[0]}", dropped[0], info)


def rename_hints(renames: Sequence[Rename]) -> str:
    """Return what renames do, in a few words, for a revision's message."""
    return ", ".join(f"rename {item.old} to {item.new}" for item in renames)


def _suggestion(kind: str, new: str, old: str, info: Mapping[Any, Any]) -> str:
    entry = info.get(ENTRY)
    if isinstance(entry, Entry):
        what = f"in {entry.file}, at {entry}, write the line\n  {entry.line(old)}\n"
    else:
        what = f'write info={{"{RENAMED_FROM}": "{old}"}} at {new} '
    return (
        f"{new} is added and {old} dropped, alike in type. If the {kind} was renamed, delete the revision, {what}"
        f"and generate again: its values are kept."
    )


def _columns(facts: Facts, table: str) -> dict[str, str]:
    return {
        aspect.removeprefix("column "): parse_column(value).type
        for aspect, value in facts.relations[f"table {table}"].items()
        if aspect.startswith("column ")
    }


def _schema(table: str) -> str:
    return table.partition(".")[0]
