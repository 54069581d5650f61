"""How many bytes a row may take at worst in PostgreSQL. Pure.

A row must fit a page. Of what does not, PostgreSQL compresses or moves out values of more than 24 bytes, the longest
first, and leaves a pointer of 18; so what takes most room are values of 24 bytes, header included, which stay. Sources:
PostgreSQL, "Database Page Layout", "TOAST", and its catalog `pg_type` (`typlen`, `typalign`); measured in
`test_row_width`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from monarch_dagster.schema.facts import parse_column

# What a page has beside its header and one line pointer.
ROW_BYTES = 8160
LONGEST_INLINE = 24
_HEADER_BYTES = 23
_ALIGNMENT = 8
_BYTES_A_CHARACTER = 4
_LONG_ALIGNMENT = 4
# Size and alignment of what is never moved out.
_FIXED = {
    "boolean": (1, 1),
    '"char"': (1, 1),
    "smallint": (2, 2),
    "integer": (4, 4),
    "bigint": (8, 8),
    "real": (4, 4),
    "double precision": (8, 8),
    "date": (4, 4),
    "oid": (4, 4),
    "money": (8, 8),
    "uuid": (16, 1),
    "name": (64, 1),
    "macaddr": (6, 4),
    "macaddr8": (8, 4),
    "point": (16, 8),
    "line": (24, 8),
    "circle": (24, 8),
    "lseg": (32, 8),
    "box": (32, 8),
    "pg_lsn": (8, 8),
}
_TIMES = re.compile(r"(timestamp|time|interval)\b[^\[]*")
_BOUNDED = re.compile(r"(numeric|character varying|character)\((\d+)(?:,(-?\d+))?\)")


def row_bytes(aspects: Mapping[str, str], attributes: int = 0) -> int:
    """Return the most that a row of a table takes when its columns are filled with what takes most room.

    `aspects` has the columns in their order; `attributes` counts them with those that were dropped, where that is
    known. A row of that size or less fits, whatever its values.
    """
    columns = [parse_column(value) for name, value in aspects.items() if name.startswith("column ")]
    # A bit for each column as soon as one is null.
    bits = 0 if all(column.not_null for column in columns) else (max(attributes, len(columns)) + 7) // 8
    end = _aligned(_HEADER_BYTES + bits, _ALIGNMENT)
    for column in columns:
        size, alignment = _width(column.type)
        end = _aligned(end, alignment) + size
    return _aligned(end, _ALIGNMENT)


def told_width(width: int, aspects: Mapping[str, str]) -> str:
    """Return what is told of a table whose rows may take `width` bytes."""
    kinds = [parse_column(value).type for name, value in aspects.items() if name.startswith("column ")]
    long = sum(_width(kind)[0] == LONGEST_INLINE for kind in kinds)
    return (
        f"a row with all of its {len(kinds):,} columns filled takes up to {width:,} bytes, and PostgreSQL stores "
        f"{ROW_BYTES:,} (each of {long:,} columns takes up to {LONGEST_INLINE}, however long its value is)"
    )


def _width(kind: str) -> tuple[int, int]:
    if kind in _FIXED:
        return _FIXED[kind]
    if found := _TIMES.fullmatch(kind):
        sizes = {"interval": 16, "time": 12 if "with time zone" in kind else 8}
        return sizes.get(found[1], 8), 8
    if found := _BOUNDED.fullmatch(kind):
        first, second = int(found[2]), int(found[3] or 0)
        size = 1 + (_numeric_bytes(first, second) if found[1] == "numeric" else first * _BYTES_A_CHARACTER)
        if size <= LONGEST_INLINE:
            return size, 1  # so short a value needs no alignment
    # A compressed value is aligned, and may be as short as one that stays.
    return LONGEST_INLINE, _LONG_ALIGNMENT


def _numeric_bytes(precision: int, scale: int) -> int:
    """Return the bytes of a number without its length: four decimal digits take two."""
    before, after = max(precision - scale, 0), max(scale, 0)
    return 4 + 2 * ((before + 3) // 4 + (after + 3) // 4) - (2 if precision < 200 and after < 64 else 0)


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
