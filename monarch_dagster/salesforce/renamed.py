"""Which entries of `object_meta.json` go on under another name (`choices.renamed_from`). Pure.

A fetch leaves the entry of the old name behind, marked missing. While it stands there it is not one that its new name
has replaced and nothing else: its own fields may be missing too, and they stay. What is renamed in a database is
decided elsewhere, by what the chain has.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from monarch_dagster.salesforce.object_meta import FieldChoices, Object, ObjectMeta


@dataclass(frozen=True)
class Declared:
    """The objects that have tables, with the fields that may have columns; and who goes on under which name.

    `heirs` has the names, in lower case, of missing objects that others say they were, with the names of those.
    """

    objects: Mapping[str, Object]
    heirs: Mapping[str, str]

    def heir(self, name: str) -> str:
        """Return the name that an object goes by now, in lower case."""
        while name.lower() in self.heirs:
            name = self.heirs[name.lower()]
        return name.lower()

    def missing(self) -> Iterator[tuple[str, str]]:
        """Give (object, field) of what the last fetch did not show; the field is "" where the object is missing."""
        return ObjectMeta.model_construct(objects=self.objects).missing()


def declared(meta: ObjectMeta) -> Declared:
    """Return what the entries declare: a missing one that another one says it was goes on in that one.

    An object goes on with the fields that only its old entry has, which are missing, and with the choices made there
    for fields that have none at the new one.
    """
    heirs = _heirs(
        (name, item.choices.renamed_from) for name, item in sorted(meta.objects.items()) if item.choices.renamed_from
    )
    entries = {name.lower(): item for name, item in meta.objects.items()}
    replaced = {name: heir for name, heir in heirs.items() if name in entries and entries[name].missing}
    former = {name: entries[name] for name in replaced}
    objects = {name: _whole(item, former) for name, item in meta.objects.items() if name.lower() not in replaced}
    return Declared(objects, replaced)


def _whole(item: Object, former: Mapping[str, Object]) -> Object:
    heirs = _heirs((field.name, field.choices.renamed_from) for field in item.fields if field.choices.renamed_from)
    if heirs:
        fields = (field for field in item.fields if not (field.missing and field.name.lower() in heirs))
        item = item.model_copy(update={"fields": tuple(fields)})
    old = former.get(item.choices.renamed_from.lower())
    return item if old is None else _going_on(_whole(old, former), item)


def _going_on(old: Object, new: Object) -> Object:
    """Return the new entry of an object with what only the old one says of its fields."""
    before = {item.name.lower(): item for item in old.fields}
    fields = [
        item.model_copy(update={"choices": before[item.name.lower()].choices})
        if item.name.lower() in before and item.choices == FieldChoices()
        else item
        for item in new.fields
    ]
    known = {name.lower() for item in new.fields for name in (item.name, item.choices.renamed_from)}
    fields += [item.model_copy(update={"missing": True}) for name, item in before.items() if name not in known]
    return new.model_copy(update={"fields": tuple(sorted(fields, key=lambda item: item.name))})


def _heirs(said: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return old name → new name, the old one in lower case, without names that come round to themselves."""
    heirs = {old.lower(): new for new, old in said}

    def comes_round(name: str) -> bool:
        here = heirs[name].lower()
        for _ in heirs:
            if here == name or here not in heirs:
                break
            here = heirs[here].lower()
        return here in heirs

    return {name: new for name, new in heirs.items() if not comes_round(name)}
