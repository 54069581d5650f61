"""Which decisions of a person can be had, as far as their place in `object_meta.json` shows. Pure.

Works on the text of the file, so that reading it loads no SQLAlchemy: the column types of the names below are
`type_mapping`'s, what a fetch takes is `selection`'s. What only the chain shows, such as a former name that it never
had, is decided in `migrations.renames`.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

KEY = "Id"
"""The field that every object has, and its table's key."""

# PostgreSQL's own limits ("Character Types", "Numeric Types").
LONGEST_DECLARED = 10_485_760
HIGHEST_PRECISION = 1000
# Each type that a person can choose, with the least and the greatest value of each number that it takes.
TYPES: dict[str, tuple[tuple[int, int], ...]] = {
    "bigint": (),
    "boolean": (),
    "bytea": (),
    "date": (),
    "double precision": (),
    "integer": (),
    "jsonb": (),
    "numeric": ((1, HIGHEST_PRECISION), (0, HIGHEST_PRECISION)),
    "real": (),
    "smallint": (),
    "text": (),
    "time": (),
    "timestamp": (),
    "timestamptz": (),
    "uuid": (),
    "varchar": ((1, LONGEST_DECLARED),),
}
USABLE_TYPES = f"{', '.join(TYPES)}; varchar(n) and numeric(precision,scale) take numbers"
_TYPE_TEXT = re.compile(r"([a-z]+(?: [a-z]+)?)(?: ?\(([0-9]{1,8})(?:, ?([0-9]{1,4}))?\))?")


def read_type(text: str) -> tuple[str, tuple[int, ...]] | None:
    """Return the name and the numbers of a type that a person wrote, such as `numeric(18,2)`; None for any other."""
    match = _TYPE_TEXT.fullmatch(text.strip().lower())
    if match is None or (limits := TYPES.get(match[1])) is None:
        return None
    numbers = tuple(int(group) for group in match.groups()[1:] if group)
    within = all(least <= number <= most for number, (least, most) in zip(numbers, limits, strict=False))
    return (match[1], numbers) if within and len(numbers) <= len(limits) else None


def check_type(text: str, field: str) -> None:
    """Raise `ValueError` where the type chosen for a field is none of `TYPES`: it would go into SQL as it stands.

    The key takes texts of 18 characters, and no type that does not hold them.
    """
    if not text:
        return
    found = read_type(text)
    if field == KEY and found not in (None, ("text", ())) and not (found[0] == "varchar" and (*found[1], 18)[0] >= 18):
        raise ValueError(
            f"choices.column_type of {KEY} is {text[:80]!a}, which does not hold the 18 characters of an Id; remove "
            "column_type there"
        )
    if found is None:
        raise ValueError(
            f"choices.column_type of {field} is {text[:80]!a}, which is not a type that Monarch writes; use one of: "
            f"{USABLE_TYPES}"
        )


def check_former_name(former: str, name: str, *, of_field: bool) -> None:
    """Raise `ValueError` where `choices.renamed_from` of the object or field `name` says what no rename can make.

    Upper and lower case are one, as in Salesforce.
    """
    if not former:
        return
    if of_field and KEY.lower() in (former.lower(), name.lower()):
        raise ValueError(
            f"choices.renamed_from of {name} is {former}, but {KEY} is the key of its table and is never renamed; "
            "remove renamed_from there"
        )
    if former.lower() == name.lower():
        raise ValueError(
            f"{name} says that it was itself (choices.renamed_from is {former}); write the API name that it had "
            "before, or remove renamed_from there"
        )


def field_pattern(pattern: str) -> tuple[str, str] | None:
    """Return what an `exclude` pattern such as `Account.Big__c` says of object and field, in lower case.

    None for a pattern without a dot, which is about objects.
    """
    of_object, dot, of_field = pattern.lower().partition(".")
    return (of_object, of_field) if dot else None


def check_exclude(pattern: str) -> None:
    """Raise `ValueError` where an `exclude` pattern takes the key of tables away."""
    found = field_pattern(pattern)
    if found and fnmatchcase(KEY.lower(), found[1]):
        raise ValueError(
            f"{pattern[:80]!a} excludes the field {KEY}, which is the key of its table; to leave out whole objects "
            f"write the part before the dot alone, to spare {KEY} a pattern that does not fit it (such as Account.?*Id)"
        )
