"""Folding a fetch into the stored metadata (DESIGN rule 1: absence is not deletion). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from monarch_dagster.salesforce.changes import Change, field_changes, in_order, object_changes
from monarch_dagster.salesforce.kept_types import effective_type, kept_type
from monarch_dagster.salesforce.object_meta import Field, Object, ObjectMeta
from monarch_dagster.salesforce.selection import excluded_fields, without_excluded
from monarch_dagster.salesforce.type_mapping import has_column


@dataclass(frozen=True)
class MergeResult:
    """The metadata after a fetch, and what the fetch changed in it.

    A new object's fields and a missing one's are not named one by one.
    """

    meta: ObjectMeta
    changes: tuple[Change, ...] = ()


def merge_fetch(
    stored: ObjectMeta, fetched: Mapping[str, Object], expected: Iterable[str], *, api_version: str, org_id: str
) -> MergeResult:
    """Fold a fetch into the stored metadata; what the fetch lacks is kept and marked missing.

    `fetched` holds the objects that were read, `expected` the names of stored objects that this fetch would have shown
    were they there; stored objects that are in neither stay as they are, and so do stored fields that the stored
    selection leaves out; others that it leaves out are not taken. A person's choices are kept. Where the org's type
    would not hold the values of a column, its type is written down as a choice. Upper and lower case are one, as in
    Salesforce and in the table's name; the fetch's spelling is taken.
    """
    changes: list[Change] = []
    objects = dict(stored.objects)
    spelled = {name.lower(): name for name in objects}
    for name, new in sorted(fetched.items()):
        old_name = spelled.get(name.lower(), "")
        old = objects.pop(old_name, None)
        if old is None:
            objects[name] = without_excluded(name, new, stored.selection)
            changes.append(Change("added", name, note=f"{len(objects[name].fields)} fields"))
        elif old_name == name and old == new:  # most, and nobody has decided anything about them
            objects[name] = old
        else:
            changes += object_changes(old_name, name, old, new)
            out = excluded_fields(name, (*new.fields, *old.fields), stored.selection)
            objects[name] = _merge_object(name, old, new, out, changes)
    seen = {name.lower() for name in fetched}
    gone = [spelled[name] for name in {name.lower() for name in expected} - seen if name in spelled]
    gone = [name for name in gone if not objects[name].missing]
    for name in gone:
        objects[name] = objects[name].model_copy(update={"missing": True})
    for old_name, heir in _heirs_of(gone, {name: item.choices.renamed_from for name, item in objects.items()}):
        changes.append(Change("renamed", heir, before=old_name, after=heir) if heir else Change("missing", old_name))
    # Made anew, not copied: a copy is not validated.
    meta = ObjectMeta.model_validate(
        {"$schema": stored.schema_, "selection": stored.selection, "objects": objects}
        | {"provider": stored.provider, "api_version": api_version, "org_id": org_id}
    )
    return MergeResult(meta, in_order(changes))


def _merge_object(name: str, old: Object, new: Object, out: Set[str], changes: list[Change]) -> Object:
    """Return the object as it is now; of the fields `out`, which no fetch takes, what is stored."""
    left = {item.name.lower(): item for item in old.fields}
    held = [item for name, item in left.items() if name in out]
    # What is held has not changed, but components that are shown now may want its column.
    shown = (*(item for item in new.fields if item.name.lower() not in out), *held)
    pairs = [(left.pop(item.name.lower(), None), item) for item in shown]
    gone = [item.name for item in left.values() if not item.missing]
    had, has = _components(old.fields), _components((*shown, *left.values()))
    kept = [_merge_field(item, item.model_copy(update={"missing": True}), had, has) for item in left.values()]
    merged = [item if before is None else _merge_field(before, item, had, has) for before, item in pairs]
    for (before, _), after in zip(pairs, merged, strict=True):
        if before is None:
            changes.append(Change("added", name, after.name, after=effective_type(after)))
        else:
            changes += field_changes(name, before, after)
    fields = tuple(sorted((*merged, *kept), key=lambda item: item.name))
    for old_name, heir in _heirs_of(gone, {item.name: item.choices.renamed_from for item in fields}):
        changes.append(Change("renamed", name, heir, old_name, heir) if heir else Change("missing", name, old_name))
    return Object(**dict(new) | {"choices": old.choices, "fields": fields})


def _merge_field(before: Field, item: Field, had: frozenset[str], has: frozenset[str]) -> Field:
    """Return the field as it is now, with its choices, and with its column's type where that is to be kept."""
    after = item.model_copy(update={"choices": before.choices})
    kept = kept_type(before, after)
    if not has_column(before, had):
        return after
    if not has_column(after, has):
        # Its components are shown by now; without a choice the column would go.
        kept = effective_type(before)
    if not kept:
        return after
    return after.model_copy(update={"choices": before.choices.model_copy(update={"column_type": kept})})


def _components(fields: Iterable[Field]) -> frozenset[str]:
    return frozenset(item.compoundFieldName for item in fields if item.compoundFieldName)


def _heirs_of(gone: Sequence[str], said: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Give each name that is gone with the one that a person said it has now, "" where nobody said so."""
    found = {was.lower(): name for name, was in said.items() if was}
    for name in gone:
        yield name, found.get(name.lower(), "")
