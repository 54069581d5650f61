"""The definition of a column in facts, as `catalog` has it written, and how it comes apart. Pure.

    text COLLATE "C" DEFAULT 'x'::text NOT NULL

Outside of quotes PostgreSQL prints the names of types in lower case and puts what is longer than a word or a call
between parentheses, so the words in capitals tell where each part begins, whatever stands in a default.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

# PostgreSQL, "Limits"; dropped ones count.
MOST_COLUMNS = 1600
# Few definitions make up most columns.
_DIFFERENT = 1000
_QUOTED = r'"(?:[^"]|"")*+"'
_DEFINITION = re.compile(
    rf"""
    (?P<type> (?: {_QUOTED} | [^"] )*? )
    (?: [ ]COLLATE[ ] (?P<collation> (?: {_QUOTED} | [^\s"] )+ ) )?
    (?P<value>
        [ ]DEFAULT[ ] (?P<default> .*? )
      | [ ](?P<identity> GENERATED[ ](?:ALWAYS|BY[ ]DEFAULT)[ ]AS[ ]IDENTITY (?: [ ]\([^)]*\) )? )
      | [ ]GENERATED[ ]ALWAYS[ ]AS[ ] (?P<generated> \(.*\)[ ](?:STORED|VIRTUAL) )
    )?
    (?P<null> [ ]NOT[ ]NULL (?P<unchecked> [ ]NOT[ ]VALID )? )?
    """,
    re.DOTALL | re.VERBOSE,
)


@dataclass(frozen=True)
class ColumnParts:
    """The parts of a column's definition, as SQL takes them; "" where there is none.

    The type is without its collation, the default is the bare expression, `identity` and `generated` are what follows
    ADD, and GENERATED ALWAYS AS. `validated` is false where PostgreSQL has not looked yet whether a value is null.
    """

    type: str
    collation: str = ""
    default: str = ""
    identity: str = ""
    generated: str = ""
    not_null: bool = False
    validated: bool = True


@lru_cache(_DIFFERENT)
def parse_column(definition: str) -> ColumnParts:
    """Take the definition of a column apart."""
    found = _match(definition).groupdict(default="")
    return ColumnParts(
        found["type"],
        found["collation"],
        found["default"],
        found["identity"],
        found["generated"],
        bool(found["null"]),
        not found["unchecked"],
    )


def column_parts(definition: str) -> tuple[str, str, str]:
    """Cut the definition of a column in three: its type, where its value comes from, and whether it may be null."""
    found = _match(definition)
    value, null = found["value"] or "", found["null"] or ""
    return definition[: len(definition) - len(value) - len(null)], value, null


def _match(definition: str) -> re.Match[str]:
    found = _DEFINITION.fullmatch(definition)
    if found is None:
        raise ValueError(f"not the definition of a column: {definition}")
    return found
