"""Renames of the provider's objects and fields that nobody has said, or nobody says any more. Pure.

A missing field's column stays, so a rename shows as one column more. It is never guessed: `choices.renamed_from` says
it, and `renames` makes it. Without that line the missing entry asks for its column again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence

from monarch_dagster.salesforce.object_meta import Field, Object, ObjectMeta
from monarch_dagster.salesforce.renamed import Declared, declared
from monarch_dagster.salesforce.type_mapping import has_column
from monarch_dagster.schema.facts import Aspects, Facts
from monarch_dagster.schema.naming import sql_name
from monarch_dagster.schema.provider import Entry

SHOWN = 30
"""Missing entries that are named one by one."""


def provider_hints(before: Facts, renamed: Facts, meta: ObjectMeta, schema: str, file: str) -> Iterator[str]:
    """Give what a person should know of renames that `file`, which holds `meta`, does not say.

    `before` are the chain's facts, `renamed` those after the renames that are said.
    """
    yield from _likely_provider_renames(before, meta, schema, file)
    yield from _added_though_missing(renamed, meta, schema, file)


def _likely_provider_renames(before: Facts, meta: ObjectMeta, schema: str, file: str) -> Iterator[str]:
    """Give a line for each object and field that looks renamed, with the very line to write into `file`.

    `before` are the chain's facts: what it has was decided before.
    """
    found = declared(meta)
    held = {name: before.relations.get(f"table {schema}.{sql_name(name)}", {}) for name in found.objects}
    for old, new in _likely_objects(found.objects, held):
        line = Entry(file, new, found.objects[new].choices).line(old)
        yield _suggestion(old, new, f"{file}, above the fields of {new},", line)
    for name, item in sorted(found.objects.items()):
        for gone, come in _likely_fields(item.fields, held[name], found):
            kept = gone.choices.model_dump(exclude_defaults=True)
            line = Entry(file, name, come.choices, come).line(gone.name, **kept)
            yield _suggestion(f"{name}.{gone.name}", f"{name}.{come.name}", f"{file}, at {name}.{come.name},", line)


def _added_though_missing(renamed: Facts, meta: ObjectMeta, schema: str, file: str) -> Iterator[str]:
    """Give a line for each object and field that is missing in the org and is added all the same, `SHOWN` at most.

    A field that went missing before its table was ever generated is none: no column of it can have been renamed.
    """
    if not any(table.startswith(f"{schema}.") for table in renamed.tables()):
        return
    found: list[tuple[str, str]] = []
    for name, item in sorted(declared(meta).objects.items()):
        held = renamed.relations.get(f"table {schema}.{sql_name(name)}")
        if held is None:
            found += [(name, "table")] if item.missing else []
            continue
        components = {field.compoundFieldName for field in item.fields if field.compoundFieldName}
        found += [
            (f"{name}.{field.name}", "column")
            for field in item.fields
            if field.missing and has_column(field, components) and f"column {sql_name(field.name)}" not in held
        ]
    for name, kind in found[:SHOWN]:
        yield _added_empty(name, kind, file)
    if (more := len(found) - SHOWN) > 0:
        yield f"… and {more:,} more that are missing in the org and are added, empty"


def _likely_objects(objects: Mapping[str, Object], held: Mapping[str, Aspects]) -> Iterator[tuple[str, str]]:
    missing = [(_alike(item), name) for name, item in objects.items() if item.missing and held[name]]
    added = [(_alike(item), name) for name, item in objects.items() if not item.missing and not held[name]]
    return _pairs(missing, ((shape, name) for shape, name in added if not objects[name].choices.renamed_from))


def _alike(item: Object) -> Hashable:
    return frozenset((field.name.lower(), *_shape(field)) for field in item.fields if not field.missing)


def _likely_fields(fields: Sequence[Field], held: Aspects, found: Declared) -> Iterator[tuple[Field, Field]]:
    if not held or not any(field.missing for field in fields):
        return
    by_name = {field.name: field for field in fields}
    shapes = [((*_shape(field), *map(found.heir, field.referenceTo)), name) for name, field in by_name.items()]
    there = {name for name in by_name if f"column {sql_name(name)}" in held}
    missing = ((shape, name) for shape, name in shapes if by_name[name].missing and name in there)
    added = (
        (shape, name)
        for shape, name in shapes
        if not by_name[name].missing and name not in there and not by_name[name].choices.renamed_from
    )
    for old, new in _pairs(missing, added):
        yield by_name[old], by_name[new]


def _shape(field: Field) -> tuple[str, int, int, int, int]:
    return field.type, field.length, field.precision, field.scale, field.digits


def _pairs(missing: Iterable[tuple[Hashable, str]], added: Iterable[tuple[Hashable, str]]) -> Iterator[tuple[str, str]]:
    """Give (old, new) where one that is missing and one that was added are alike, and no other is."""
    by_shape: dict[Hashable, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    for shape, name in missing:
        by_shape[shape][0].append(name)
    for shape, name in added:
        by_shape[shape][1].append(name)
    for gone, come in by_shape.values():
        if len(gone) == len(come) == 1:
            yield gone[0], come[0]


def _added_empty(name: str, kind: str, file: str) -> str:
    return (
        f"{name} is missing in the org, and the revisions have no {kind} for it: this one adds it, empty. If it was "
        f"renamed, delete the revision and put choices.renamed_from back at its heir in {file}; if it is gone, delete "
        "its entry there."
    )


def _suggestion(old: str, new: str, where: str, line: str) -> str:
    return (
        f"{new} is added and {old} missing, alike in type. If {old} was renamed, delete the revision, write in {where} "
        f"the line\n  {line}\nand generate again: its values are kept. The entry of {old} can stay."
    )
