"""Folding a fetch into the stored metadata (DESIGN rule 1: absence is not deletion). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from monarch_dagster.salesforce.object_meta import Field, Object, ObjectMeta


@dataclass(frozen=True)
class MergeResult:
    """The metadata after a fetch, and what the fetch changed in it; names are `Object` or `Object.Field`."""

    meta: ObjectMeta
    objects_added: tuple[str, ...] = ()
    fields_added: tuple[str, ...] = ()
    """Of objects that were known; a new object's fields come with it."""

    fields_changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    """No longer shown; a missing object's fields are not named."""

    returned: tuple[str, ...] = ()
    relabelled: tuple[str, ...] = ()
    """A label or an object's flag changed, which bears on no column."""


@dataclass
class _Changes:
    objects_added: list[str] = field(default_factory=list)
    fields_added: list[str] = field(default_factory=list)
    fields_changed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    returned: list[str] = field(default_factory=list)
    relabelled: list[str] = field(default_factory=list)


def merge_fetch(
    stored: ObjectMeta, fetched: Mapping[str, Object], expected: Iterable[str], *, api_version: str, org_id: str
) -> MergeResult:
    """Fold a fetch into the stored metadata; what the fetch lacks is kept and marked missing.

    `fetched` holds the objects that were read, `expected` the names of stored objects that this fetch would have shown
    were they there; stored objects that are in neither stay as they are. A person's choices are kept. Upper and lower
    case are one, as in Salesforce and in the table's name; the fetch's spelling is taken.
    """
    changes = _Changes()
    objects = dict(stored.objects)
    spelled = {name.lower(): name for name in objects}
    for name, new in sorted(fetched.items()):
        old = objects.pop(spelled.get(name.lower(), ""), None)
        if old is None:
            changes.objects_added.append(name)
        objects[name] = new if old is None else _merge_object(name, old, new, changes)
    seen = {name.lower() for name in fetched}
    for wanted in {name.lower() for name in expected} - seen:
        name = spelled.get(wanted, "")
        if name and not objects[name].missing:
            changes.missing.append(name)
            objects[name] = objects[name].model_copy(update={"missing": True})
    # Made anew, not copied: a copy is not validated.
    meta = ObjectMeta.model_validate(
        {"$schema": stored.schema_, "selection": stored.selection, "objects": objects}
        | {"provider": stored.provider, "api_version": api_version, "org_id": org_id}
    )
    return MergeResult(meta, **{kind: tuple(sorted(names)) for kind, names in vars(changes).items()})


def _merge_object(name: str, old: Object, new: Object, changes: _Changes) -> Object:
    if old.missing:
        changes.returned.append(name)
    if (old.label, old.custom, old.customSetting) != (new.label, new.custom, new.customSetting):
        changes.relabelled.append(name)
    left = {item.name.lower(): item for item in old.fields}
    merged: list[Field] = []
    for item in new.fields:
        before = left.pop(item.name.lower(), None)
        merged.append(item if before is None else item.model_copy(update={"choices": before.choices}))
        if before is None:
            changes.fields_added.append(f"{name}.{item.name}")
        else:
            _compare(f"{name}.{item.name}", before, merged[-1], changes)
    for gone in left.values():
        merged.append(gone.model_copy(update={"missing": True}))
        if not gone.missing:
            changes.missing.append(f"{name}.{gone.name}")
    fields = tuple(sorted(merged, key=lambda item: item.name))
    return Object(**dict(new) | {"choices": old.choices, "fields": fields})


def _compare(name: str, before: Field, after: Field, changes: _Changes) -> None:
    if before.missing:
        changes.returned.append(name)
    if before.label != after.label:
        changes.relabelled.append(name)
    if before.model_copy(update={"missing": False, "label": after.label}) != after:
        changes.fields_changed.append(name)
