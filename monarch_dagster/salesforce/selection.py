"""Which objects and fields a fetch takes: by the shell patterns of `selection`, upper and lower case alike. Pure.

What becomes of a field that is left out and stands in the file already belongs in `merge`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from fnmatch import fnmatchcase

from monarch_dagster.salesforce.choices import field_pattern
from monarch_dagster.salesforce.object_meta import Field, Object, Selection
from monarch_dagster.salesforce.type_mapping import COMPOUND_TYPES


def is_selected(name: str, selection: Selection) -> bool:
    """Say whether the patterns take the object of that name."""
    return _matches(name, selection.include) and not _matches(name, selection.exclude)


def unfitting(names: Iterable[str], selection: Selection) -> tuple[str, ...]:
    """Return the patterns that fit none of the objects `names`; of "Object.Field" the object counts."""
    lower = [name.lower() for name in names]
    objects = {
        pattern: (field_pattern(pattern) or (pattern.lower(), ""))[0]
        for pattern in (*selection.include, *selection.exclude)
    }
    return tuple(pattern for pattern, wanted in objects.items() if not any(fnmatchcase(name, wanted) for name in lower))


def field_patterns(name: str, selection: Selection) -> tuple[str, ...]:
    """Return the patterns, in lower case, of the fields of object `name` that no fetch takes."""
    found = filter(None, map(field_pattern, selection.exclude))
    return tuple(sorted({of_field for of_object, of_field in found if fnmatchcase(name.lower(), of_object)}))


def excluded_fields(name: str, fields: Iterable[Field], selection: Selection) -> frozenset[str]:
    """Return the names, in lower case, of those fields of object `name` that no fetch takes.

    An address or location goes with its components: without any of them it would get a column of its own.
    """
    patterns = field_patterns(name, selection)
    if not patterns:
        return frozenset()
    fields = tuple(fields)
    out = {field.name.lower() for field in fields if _matches(field.name, patterns)}
    components: dict[str, set[str]] = defaultdict(set)
    for field in fields:
        if field.compoundFieldName:
            components[field.compoundFieldName].add(field.name.lower())
    out |= {
        field.name.lower()
        for field in fields
        if field.type in COMPOUND_TYPES and components[field.name] and components[field.name] <= out
    }
    return frozenset(out)


def without_excluded(name: str, item: Object, selection: Selection) -> Object:
    """Return the object with the fields that a fetch takes."""
    out = excluded_fields(name, item.fields, selection)
    if not out:
        return item
    return item.model_copy(update={"fields": tuple(field for field in item.fields if field.name.lower() not in out)})


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name.lower(), pattern.lower()) for pattern in patterns)
