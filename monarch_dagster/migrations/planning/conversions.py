"""Whether a column's values stay as they are in another type, and how they are converted where not. Pure.

Types are texts as PostgreSQL's `format_type` prints them. Sources: PostgreSQL, "ALTER TABLE" (notes on rewrites),
"Type Conversion" (assignment), and the table pg_cast.
"""

from __future__ import annotations

import re

_TYPE = re.compile(r"([^()\[\]]+?)(?:\(([0-9]+)(?:,(-?[0-9]+))?\))?( with(?:out)? time zone)?((?:\[\])*)")
_NUMBERS = ("smallint", "integer", "bigint", "numeric", "real", "double precision")
_EXACT = ("smallint", "integer", "bigint")
_TEXTS = ("text", "character varying", "character")
_TIMES = ("date", "timestamp without time zone", "timestamp with time zone")
# Assignment casts between families (pg_cast, castcontext a or i), beyond the families themselves.
_ASSIGNED = frozenset(
    {
        ("json", "jsonb"),
        ("jsonb", "json"),
        ("cidr", "inet"),
        ("inet", "cidr"),
        ("time without time zone", "interval"),
        ("time without time zone", "time with time zone"),
        ("time with time zone", "time without time zone"),
        ("interval", "time without time zone"),
        ("timestamp without time zone", "time without time zone"),
        ("timestamp with time zone", "time without time zone"),
        ("timestamp with time zone", "time with time zone"),
        ("bit", "bit varying"),
        ("bit varying", "bit"),
        ("money", "numeric"),
        ("numeric", "money"),
        ("integer", "money"),
        ("bigint", "money"),
    }
)
_CONSTANT = re.compile(
    r"(?:\(*-?[0-9.]+\)*|\(*'(?:[^']|'')*'\)*|NULL|true|false|now\(\)|CURRENT_\w+|LOCALTIME\w*|SESSION_USER|USER)"
    r"(?:::[\w .,\"\[\]()]+)?\)*"
)


def base_type(kind: str) -> tuple[str, tuple[int, ...], bool]:
    """Take a type apart: its name, the numbers of its modifier, and whether it is an array."""
    found = _TYPE.fullmatch(kind)
    if found is None:
        return kind, (), False
    numbers = tuple(int(group) for group in (found[2], found[3]) if group is not None)
    return found[1] + (found[4] or ""), numbers, bool(found[5])


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
    if before in ("bit varying", "interval", *_TIMES) or before.startswith("time"):
        return not now or (bool(was) and now[0] >= was[0])
    return old == new


def converts(old: str, new: str) -> bool:
    """Say whether PostgreSQL assigns a value of `old` to a column of `new` by itself."""
    (before, _, was_array), (after, _, is_array) = base_type(old), base_type(new)
    if after in _TEXTS and not is_array:
        return True
    if was_array != is_array:
        return False
    families = (_NUMBERS, _TIMES)
    return before == after or (before, after) in _ASSIGNED or any(before in f and after in f for f in families)


def fits_always(old: str, new: str) -> bool:
    """Say whether every value of `old` can become one of `new`, if perhaps spelt in another way."""
    (before, _, was_array), (after, now, is_array) = base_type(old), base_type(new)
    if keeps_values(old, new) or (after in ("text", "character varying") and not now and not is_array):
        return True
    wider = before in _EXACT and after in _NUMBERS and _NUMBERS.index(after) > _NUMBERS.index(before)
    return wider and not now and was_array == is_array


def using(column: str, old: str, new: str) -> str:
    """Return the expression that converts the quoted `column`, "" where PostgreSQL does it by itself."""
    if converts(old, new):
        return ""
    before, _, was_array = base_type(old)
    is_array = base_type(new)[2]
    # A text that becomes an array is written as one.
    if is_array and not was_array and before not in _TEXTS:
        return f"ARRAY[{using(column, old, new.removesuffix('[]')) or column}]::{new}"
    if was_array and not is_array:
        first = f"{column}[1]"
        return f"({using(first, old.removesuffix('[]'), new) or first})::{new}"
    return _written_out(column, before, new)


def _written_out(column: str, before: str, new: str) -> str:
    after = base_type(new)[0]
    if before == "boolean" and after in _NUMBERS:
        return f"{column}::integer::{new}"
    if before in _EXACT and after == "boolean":
        return f"{column} <> 0"
    if (before, after) == ("bytea", "uuid"):
        return f"encode({column}, 'hex')::uuid"
    if (before, after) == ("uuid", "bytea"):
        return f"uuid_send({column})"
    # A character is filled up with blanks, which are no part of its text.
    return f"{column}::{new}" if before in ("text", "character varying") else f"{column}::text::{new}"


def is_constant(default: str) -> bool:
    """Say whether a default is evaluated once for all rows that are there, so that adding it rewrites nothing.

    Anything that is not known to be so counts as volatile.
    """
    return _CONSTANT.fullmatch(default) is not None
