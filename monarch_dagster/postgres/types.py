"""PostgreSQL's types as texts: taken apart, and what becomes of a column's values in another type. Pure.

A type is a text as PostgreSQL's `format_type` prints it, or in the short form that people write (`varchar(40)`,
`timestamptz`). Sources: PostgreSQL, "ALTER TABLE" (notes on rewrites), "Numeric Types", "Character Types". What SQL a
conversion takes belongs in `migrations.planning.conversions`.
"""

from __future__ import annotations

import re
from typing import Literal

TypeChange = Literal["same", "widened", "narrowed", "retyped"]

NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
EXACT = ("smallint", "integer", "bigint")
TEXTS = ("text", "character varying", "character")
TIMES = ("date", "timestamp without time zone", "timestamp with time zone")
_TYPE = re.compile(r"([^()\[\]]+?)(?:\(([0-9]+)(?:, ?(-?[0-9]+))?\))?( with(?:out)? time zone)?((?:\[\])*)")
_SHORT = {
    "varchar": "character varying",
    "timestamptz": "timestamp with time zone",
    "timestamp": "timestamp without time zone",
    "time": "time without time zone",
}
# Digits that a type holds whatever they are, and the most that a value of it has.
_HELD = {"smallint": 4, "integer": 9, "bigint": 18, "real": 6, "double precision": 15}
_LONGEST = {"smallint": 5, "integer": 10, "bigint": 19}


def base_type(kind: str) -> tuple[str, tuple[int, ...], bool]:
    """Take a type apart: its name, the numbers of its modifier, and whether it is an array."""
    found = _TYPE.fullmatch(kind)
    if found is None:
        return kind, (), False
    numbers = tuple(int(group) for group in (found[2], found[3]) if group is not None)
    name = found[1] + (found[4] or "")
    if name == "numeric" and len(numbers) == 1:
        numbers = (*numbers, 0)
    return _SHORT.get(name, name), numbers, bool(found[5])


def change_of(old: str, new: str) -> TypeChange:
    """Say what a column's type goes through from `old` to `new`.

    Widened: every value of `old` is one of `new`, though PostgreSQL may write the table anew for it. Narrowed: both
    hold the same kind of value, and some do not fit or lose digits. Retyped: the kind of value is another one.
    """
    if (before := base_type(old)) == (after := base_type(new)):
        return "same"
    if before[2] and after[2]:
        return change_of(old.removesuffix("[]"), new.removesuffix("[]"))
    if before[2] or after[2]:
        return "retyped"
    if keeps_values(old, new) or _holds_numbers(old, new):
        return "widened"
    alike = any(before[0] in family and after[0] in family for family in (NUMBERS, TEXTS))
    return "narrowed" if alike or before[0] == after[0] else "retyped"


def keeps_values(old: str, new: str) -> bool:
    """Say whether every value of `old` is a value of `new` and PostgreSQL need not touch the table for it."""
    (before, was, was_array), (after, now, is_array) = base_type(old), base_type(new)
    if was_array or is_array:
        return old == new
    if after in ("text", "character varying") and before in ("text", "character varying"):
        return not now or (bool(was) and now[0] >= was[0])
    if before != after:
        return (before, after) == ("cidr", "inet")
    if before == "numeric":
        # A rewrite is spared only while the scale stays (PostgreSQL, numeric's length coercion).
        return not now or (bool(was) and was[1:] == now[1:] and now[0] >= was[0])
    if before in ("bit varying", "interval", *TIMES) or before.startswith("time"):
        return not now or (bool(was) and now[0] >= was[0])
    return (was, was_array) == (now, is_array)


def fits_always(old: str, new: str) -> bool:
    """Say whether every value of `old` can become one of `new`, if perhaps spelt in another way."""
    (before, _, was_array), (after, now, is_array) = base_type(old), base_type(new)
    if change_of(old, new) in ("same", "widened"):
        return True
    if after in ("text", "character varying") and not now and not is_array:
        return True
    wider = before in EXACT and after in NUMBERS and NUMBERS.index(after) > NUMBERS.index(before)
    return wider and not now and was_array == is_array


def _holds_numbers(old: str, new: str) -> bool:
    """Say whether the number type `new` has every value of the number type `old`, with all its digits."""
    (before, was, _), (after, now, _) = base_type(old), base_type(new)
    if before in EXACT:
        whole, scale = _LONGEST[before], 0
    elif before == "numeric" and was:
        whole, scale = was[0] - was[1], was[1]
    else:
        return (before, after) == ("real", "double precision")
    if after == "numeric":
        return not now or (whole <= now[0] - now[1] and scale <= now[1])
    if before in EXACT and after in EXACT:
        return EXACT.index(before) < EXACT.index(after)
    return after in _HELD and scale <= 0 and whole <= _HELD[after]
