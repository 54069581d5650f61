"""How a column's values are converted to another type. Pure; whether they stay as they are is in `postgres.types`.

Types are texts as PostgreSQL's `format_type` prints them. Sources: PostgreSQL, "ALTER TABLE" (notes on rewrites),
"Type Conversion" (assignment), and the table pg_cast.
"""

from __future__ import annotations

import re

from monarch_dagster.postgres.types import NUMBERS, TEXTS, TIMES, base_type

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
_JSON = ("json", "jsonb")
_PLAIN_NUMBER = r"^-?(0|[1-9][0-9]*)?(\.[0-9]*)?$"
_PLAIN_TIME = r"^[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?( ?[ap]m)?( ?z| ?[+-]00(:?00)?)?$"
# A date with all digits of its year, and a time of the day. PostgreSQL takes far more ("Date/Time Input"): a year of
# two digits, a day's number in its year, a version number; and words that say another day tomorrow.
_PLAIN_DATE = (
    r"^(-?infinity|([0-9]{4,6}-[0-9]{1,2}-[0-9]{1,2}|[0-9]{8})"
    r"((t| +)[0-9]{1,2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?( ?[ap]m)?( ?(z|utc|gmt)| ?[+-][0-9]{2}(:?[0-9]{2}){0,2})?)?"
    r"( bc)?)$"
)
_JSON_STRING = r'"(\\.|[^"\\])*"'
_CONSTANT = re.compile(
    r"(?:\(*-?[0-9.]+\)*|\(*'(?:[^']|'')*'\)*|NULL|true|false|now\(\)|CURRENT_\w+|LOCALTIME\w*|SESSION_USER|USER)"
    r"(?:::[\w .,\"\[\]()]+)?\)*"
)


def converts(old: str, new: str) -> bool:
    """Say whether PostgreSQL assigns a value of `old` to a column of `new` by itself."""
    (before, _, was_array), (after, _, is_array) = base_type(old), base_type(new)
    if after in TEXTS and not is_array:
        return True
    if was_array != is_array:
        return False
    families = (NUMBERS, TIMES)
    return before == after or (before, after) in _ASSIGNED or any(before in f and after in f for f in families)


def using(column: str, old: str, new: str) -> str:
    """Return the expression that converts the quoted `column`, "" where PostgreSQL does it by itself."""
    if converts(old, new):
        return ""
    before, _, was_array = base_type(old)
    is_array = base_type(new)[2]
    # A text that becomes an array is written as one.
    if is_array and not was_array and before not in TEXTS:
        return f"ARRAY[{using(column, old, new.removesuffix('[]')) or column}]::{new}"
    if was_array and not is_array:
        first = f"{column}[1]"
        return f"({using(first, old.removesuffix('[]'), new) or first})::{new}"
    return _written_out(column, before, new)


def _written_out(column: str, before: str, new: str) -> str:
    after = base_type(new)[0]
    found = f"{column}::text::{new}"
    if before == "boolean" and after in NUMBERS:
        found = f"{column}::integer::{new}"
    elif before in NUMBERS and after == "boolean":
        found = f"{column} <> 0"
    elif after in _JSON and before not in TEXTS:
        found = f"to_{after}({column})"
    elif before in _JSON:
        # Without the quotation marks that a text has in JSON.
        found = f"({column} #>> '{{}}')::{new}"
    elif (before, after) == ("bytea", "uuid"):
        found = f"encode({column}, 'hex')::uuid"
    elif (before, after) == ("uuid", "bytea"):
        found = f"uuid_send({column})"
    elif before in ("text", "character varying"):
        # A character is filled up with blanks, which are no part of its text.
        found = f"{column}::{new}"
    return found


def says_the_same(old: str, new: str, before: str, after: str, *, comparable: bool = True) -> str:
    """Return the condition under which the value `after`, of type `new`, says all that `before`, of type `old`, did.

    A value says the same when it becomes `before` again; what a text says may be spelt in another way. `comparable`
    tells that values of `old` can be compared; if not, their texts are.
    """
    kind = base_type(new)[0]
    if base_type(old)[0] in TEXTS and not old.endswith("[]") and not new.endswith("[]"):
        if kind in NUMBERS:
            # Zeros in front are a part of a code that only looks like a number; those behind a fraction are not.
            plain = f"btrim({before}) ~ '{_PLAIN_NUMBER}' AND {before}::numeric = {after}::text::numeric"
            return f"btrim({before}) = {after}::text OR ({plain})"
        if kind in TIMES:
            return f"btrim({before}) ~* '{_PLAIN_DATE}' AND {before}::timestamptz = {after}::timestamptz"
        if kind == "time without time zone":
            # A text with a date or another time zone is taken, too, and that part of it forgotten.
            return f"btrim({before}) ~* '{_PLAIN_TIME}'"
        if kind == "jsonb":
            # Of a key that stands twice only one is left.
            return f"{_json_keys(before)} = {_json_keys(f'{after}::text')}"
        if kind in ("boolean", "uuid"):
            return f"{before}::{kind} = {after}"
    back = f"({using(after, new, old) or after})::{old}"
    return (
        f"{back} IS NOT DISTINCT FROM {before}" if comparable else f"{back}::text IS NOT DISTINCT FROM {before}::text"
    )


def _json_keys(text: str) -> str:
    """Return the expression that counts the keys of a JSON text: outside of strings, each has a colon."""
    bare = f"regexp_replace({text}, '{_JSON_STRING}', '', 'g')"
    return f"length({bare}) - length(replace({bare}, ':', ''))"


def is_constant(default: str) -> bool:
    """Say whether a default is evaluated once for all rows that are there, so that adding it rewrites nothing.

    Anything that is not known to be so counts as volatile.
    """
    return _CONSTANT.fullmatch(default) is not None
