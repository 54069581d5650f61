"""What leads from the rows that the registry has to those that it should have. Pure.

A row outlives its entry in the file while its table or column is there. Where that got another name, the row of that
name goes on from it. Which rows the file itself asks for is decided in `registry`.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.salesforce.renamed import declared
from monarch_dagster.schema.registry import Columns, FieldRow, ObjectRow, Row, project

# An object ("" as its own) and a name in it, both as they are told apart: in lower case.
_Name = tuple[str, str]


@dataclass(frozen=True)
class Changes(Generic[Row]):
    """The rows to remove, and then those to write, which are new or another; and how many there are by then.

    `former` has the keys of written rows that go on from a removed one, with the key of that.
    """

    written: Sequence[Row]
    removed: Sequence[Row]
    former: Mapping[Hashable, Hashable]
    rows: int

    @property
    def gone(self) -> int:
        """How many rows are removed and go on in no other."""
        return len(self.removed) - len(self.former)


def find_changes(
    meta: ObjectMeta,
    schema: str,
    tables: Mapping[str, Columns],
    stored_objects: Sequence[ObjectRow],
    stored_fields: Sequence[FieldRow],
) -> tuple[Changes[ObjectRow], Changes[FieldRow]]:
    """Return what is to be done to the stored rows.

    Args:
        meta: the file.
        schema: the provider's schema.
        tables: the tables that the target has there, and their columns.
        stored_objects: the rows of objects.
        stored_fields: those of fields.

    A row without an entry stays as it is while its table or column is there and no entry's; of a column it tells the
    type. A renamed object takes its fields along.
    """
    objects, fields = project(meta, schema, tables)
    written, left = compare(objects, stored_objects)
    of_entries = {row.table_name for row in objects}
    kept = [
        row
        for row in left
        if row.schema_name == schema and row.table_name in tables and row.table_name not in of_entries
    ]
    gone = _without(left, kept)
    former = _former(_new(written, stored_objects), gone, _renamed_objects(meta)) if gone else {}
    object_changes = Changes(written, gone, former, len(objects) + len(kept))
    columns = {row.api_name: tables[row.table_name] for row in (*objects, *kept)}
    heirs = {str(old): str(new) for new, old in former.items()}
    without_entry = {row.api_name for row in kept}
    return object_changes, _field_changes(meta, fields, stored_fields, columns, heirs, without_entry)


def _field_changes(
    meta: ObjectMeta,
    wanted: Sequence[FieldRow],
    stored: Sequence[FieldRow],
    columns: Mapping[str, Columns],
    heirs: Mapping[str, str],
    without_entry: Collection[str],
) -> Changes[FieldRow]:
    """Compare fields, those of an object that has an heir as if they had been the heir's."""
    moved: dict[Hashable, Hashable] = {}
    placed = stored
    if heirs:
        placed = [row._replace(object_name=heirs.get(row.object_name, row.object_name)) for row in stored]
        moved = {new.key: old.key for new, old in zip(placed, stored, strict=True) if new.key != old.key}
    written, left = compare(wanted, placed, moved)
    if not left and not moved:
        return Changes(written, (), {}, len(wanted))
    of_entries = {(row.object_name, row.column_name) for row in wanted}
    kept = [row for row in left if _stays(row, columns.get(row.object_name), of_entries, without_entry)]
    gone = _without(left, kept)
    as_there = [row._replace(column_type=columns[row.object_name].get(row.column_name or "")) for row in kept]
    written += compare(as_there, kept, moved)[0]
    former: dict[Hashable, Hashable] = {row.key: moved[row.key] for row in written if row.key in moved}
    if gone:
        found = _former(_new(written, placed), gone, _renamed_fields(meta))
        former |= {new: moved.get(old, old) for new, old in found.items()}
    keys = {moved.get(row.key, row.key) for row in gone} | set(moved.values())
    return Changes(written, [row for row in stored if row.key in keys], former, len(wanted) + len(kept))


def _stays(
    row: FieldRow,
    columns: Columns | None,
    of_entries: Collection[tuple[str, str | None]],
    without_entry: Collection[str],
) -> bool:
    """Say whether a field without an entry stays; one that has no column does where its object has no entry either."""
    if row.column_name is None:
        return row.object_name in without_entry
    return columns is not None and row.column_name in columns and (row.object_name, row.column_name) not in of_entries


def compare(
    wanted: Iterable[Row], stored: Iterable[Row], moved: Collection[Hashable] = ()
) -> tuple[list[Row], list[Row]]:
    """Return the rows that are to be written, since they are new, another or `moved`, and the stored ones left over."""
    left: dict[Hashable, Row] = {row.key: row for row in stored}
    changed = [row for row in wanted if left.pop(row.key, None) != row or (moved and row.key in moved)]
    return changed, list(left.values())


def _without(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    keys = {row.key for row in others}
    return [row for row in rows if row.key not in keys]


def _new(written: Sequence[Row], stored: Sequence[Row]) -> list[Row]:
    keys = {row.key for row in stored} if written else ()
    return [row for row in written if row.key not in keys]


def _former(new: Iterable[Row], gone: Iterable[Row], was: Mapping[_Name, _Name]) -> dict[Hashable, Hashable]:
    """Return which of the rows that go is the one that a new row goes on from, by their keys."""
    by_name = {_name(row): row.key for row in gone}
    heirs = {old: new for new, old in was.items()}
    found: dict[Hashable, Hashable] = {}
    for row in new:
        for name in _other_names(_name(row), was, heirs):
            if name in by_name:
                found[row.key] = by_name.pop(name)
                break
    return found


def _name(row: ObjectRow | FieldRow) -> _Name:
    return (row.object_name.lower() if isinstance(row, FieldRow) else ""), row.api_name.lower()


def _other_names(name: _Name, was: Mapping[_Name, _Name], heirs: Mapping[_Name, _Name]) -> Iterator[_Name]:
    """Give the names of what may be the same: spelled otherwise, those that it had, and those that a revert took."""
    yield name
    for steps in (was, heirs):
        here = name
        for _ in steps:
            if here not in steps:
                break
            yield (here := steps[here])


def _renamed_objects(meta: ObjectMeta) -> dict[_Name, _Name]:
    said = ((name, item.choices.renamed_from) for name, item in meta.objects.items())
    return {("", name.lower()): ("", old.lower()) for name, old in said if old}


def _renamed_fields(meta: ObjectMeta) -> dict[_Name, _Name]:
    # An object goes on with the choices that were made at its former name.
    return {
        (name.lower(), field.name.lower()): (name.lower(), field.choices.renamed_from.lower())
        for objects in (declared(meta).objects, meta.objects)
        for name, item in objects.items()
        for field in item.fields
        if field.choices.renamed_from
    }
