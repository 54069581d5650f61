"""Which type a column keeps when the org says another one, and choices that the org outgrew. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from monarch_dagster.postgres.types import TypeChange, change_of
from monarch_dagster.salesforce.choices import read_type
from monarch_dagster.salesforce.object_meta import Field, FieldChoices, ObjectMeta
from monarch_dagster.salesforce.type_mapping import column_type, type_text

_TYPE_KEYS = ("type", "length", "precision", "scale", "digits")
_NO_CHOICES = FieldChoices()


@dataclass(frozen=True)
class TightChoice:
    """A choice whose column may not hold what the org has: the type chosen, and the one that the org asks for."""

    object: str
    field: str
    chosen: str
    asked: str

    def __str__(self) -> str:
        """Say it with the very text to delete."""
        return (
            f"{self.object}.{self.field}: the column is {self.chosen} by choice, but the org asks for {self.asked}, "
            f'whose values may not fit. To convert it, delete "column_type": "{self.chosen}" at that field in '
            "object_meta.json and generate; or choose a type that holds both."
        )


def mapped_type(field: Field) -> str:
    """Return the type that the field's describe maps to, whatever a person chose."""
    bare = field if field.choices == _NO_CHOICES else field.model_copy(update={"choices": _NO_CHOICES})
    return type_text(column_type(bare)[0])


def effective_type(field: Field) -> str:
    """Return the type of the field's column."""
    return type_text(column_type(field)[0])


def org_change(old: Field, new: Field) -> TypeChange:
    """Say what the org did to the type between two describes of a field."""
    return "same" if _typed_alike(old, new) else change_of(mapped_type(old), mapped_type(new))


def kept_type(old: Field, new: Field) -> str:
    """Return the type of the column of `old` where that of `new` would not hold its values, "" where it would.

    "" too where a person chose the type of `new`, and for a type that no choice can name.
    """
    if new.choices.column_type or (_typed_alike(old, new) and not old.choices.column_type):
        return ""
    before = effective_type(old)
    if change_of(before, mapped_type(new)) in ("same", "widened"):
        return ""
    return before if read_type(before) else ""


def _typed_alike(old: Field, new: Field) -> bool:
    return all(getattr(old, key) == getattr(new, key) for key in _TYPE_KEYS)


def tight_choices(meta: ObjectMeta) -> Iterator[TightChoice]:
    """Give the choices of columns that may not hold what the org has for them; of what is missing it has nothing."""
    for name, item in sorted(meta.objects.items()):
        if item.missing:
            continue
        for field in item.fields:
            if field.choices.column_type and not field.missing:
                asked = mapped_type(field)
                if change_of(asked, effective_type(field)) not in ("same", "widened"):
                    yield TightChoice(name, field.name, field.choices.column_type, asked)
