"""What a fetch changed, in classes that a person acts on. Pure; how a fetch is folded in belongs in `merge`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from monarch_dagster.salesforce.kept_types import effective_type, mapped_type, org_change
from monarch_dagster.salesforce.object_meta import Field, Object

Kind = Literal["missing", "narrowed", "retyped", "renamed", "returned", "added", "widened", "attributes", "label"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order of what wants a person's eye; the last two bear on no column's type."""

_TYPE_KEYS = frozenset({"type", "length", "precision", "scale", "digits"})
_SHOWN_KEYS = tuple(key for key in Field.model_fields if key not in ("label", "missing", "choices"))
_LONGEST_VALUE = 60


@dataclass(frozen=True)
class Change:
    """One change: of an object, where `field` is "", or of a field of one.

    `before` and `after` are PostgreSQL types where the type changed (what the describe maps to), else what a person
    knows: labels, or the keys that changed. `note` says what comes of it where that does not go without saying.
    """

    kind: Kind
    object: str
    field: str = ""
    before: str = ""
    after: str = ""
    note: str = ""

    @property
    def name(self) -> str:
        """`Object` or `Object.Field`."""
        return f"{self.object}.{self.field}" if self.field else self.object


def in_order(changes: Iterable[Change]) -> tuple[Change, ...]:
    """Return the changes by kind, what wants a person's eye first, then by name."""
    return tuple(sorted(changes, key=lambda item: (KINDS.index(item.kind), item.object, item.field, item.before)))


def counts(changes: Iterable[Change]) -> dict[Kind, int]:
    """Return how many changes there are of each kind, the kinds that are there, in order."""
    found = Counter(item.kind for item in changes)
    return {kind: found[kind] for kind in KINDS if found[kind]}


def object_changes(old_name: str, name: str, old: Object, new: Object) -> Iterator[Change]:
    """Give what changed of an object itself between two fetches."""
    if old.missing:
        yield Change("returned", name)
    if old.label != new.label:
        yield Change("label", name, before=old.label, after=new.label)
    keys = [key for key in ("custom", "customSetting") if getattr(old, key) != getattr(new, key)]
    if old_name != name or keys:
        spelled = [{"name": old_name}, {"name": name}] if old_name != name else [{}, {}]
        before, after = (
            _text(spelling | {key: getattr(item, key) for key in keys})
            for spelling, item in zip(spelled, (old, new), strict=True)
        )
        yield Change("attributes", name, before=before, after=after)


def field_changes(name: str, old: Field, new: Field) -> Iterator[Change]:
    """Give what changed of a field of object `name` between two fetches; `new` has its choices by now."""
    if old.missing and not new.missing:
        yield Change("returned", name, new.name)
    if old.label != new.label:
        yield Change("label", name, new.name, old.label, new.label)
    change = org_change(old, new)
    if change != "same":
        yield Change(change, name, new.name, mapped_type(old), mapped_type(new), _note(old, new))
    elif old.choices != new.choices:
        note = "its components are shown now; the column stays until that choice is deleted"
        yield Change("retyped", name, new.name, new.choices.column_type, "", note)
    known = _TYPE_KEYS if change != "same" else frozenset()
    keys = [key for key in _SHOWN_KEYS if key not in known and getattr(old, key) != getattr(new, key)]
    if keys:
        before, after = (_text({key: getattr(item, key) for key in keys}) for item in (old, new))
        yield Change("attributes", name, new.name, before, after)


def _note(old: Field, new: Field) -> str:
    if not new.choices.column_type:
        return ""
    if new.choices == old.choices:
        return f"the column stays {effective_type(new)}, as its choice says"
    return f"the column stays {new.choices.column_type}: delete that choice to convert it"


def _text(values: Mapping[str, object]) -> str:
    return ", ".join(f"{key}: {_cut(value)}" for key, value in values.items())


def _cut(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"
