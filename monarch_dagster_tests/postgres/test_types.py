"""What becomes of a column's values in another type; what is claimed of numbers is asked of the server."""

from __future__ import annotations

import pytest
from sqlalchemy import exc

from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.types import change_of

# The longest values of each type.
LONGEST = {
    "smallint": "-32768",
    "integer": "-2147483648",
    "bigint": "-9223372036854775808",
    "real": "0.1",
    "double precision": "0.1",
    "numeric": f"{'9' * 40}.{'9' * 40}",
    "numeric(4)": "9999",
    "numeric(9,0)": "999999999",
    "numeric(15,0)": "9" * 15,
    "numeric(16,2)": f"{'9' * 14}.99",
    "numeric(18,2)": f"{'9' * 16}.99",
    "numeric(18,4)": f"{'9' * 14}.9999",
    "numeric(2,4)": "0.0099",
    "numeric(3,-2)": "99900",
}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("varchar(40)", "character varying(40)", "same"),
        ("numeric(18)", "numeric(18, 0)", "same"),
        ("timestamptz", "timestamp with time zone", "same"),
        ("varchar(40)", "varchar(80)", "widened"),
        ("varchar(40)", "text", "widened"),
        ("integer", "bigint", "widened"),
        ("integer", "numeric(18,0)", "widened"),
        ("numeric(16,2)", "numeric(18,4)", "widened"),
        ("timestamp(3)", "timestamp", "widened"),
        ("varchar(40)[]", "text[]", "widened"),
        ("text", "varchar(255)", "narrowed"),
        ("varchar(80)", "varchar(40)", "narrowed"),
        ("numeric(18,2)", "numeric(18,4)", "narrowed"),
        ("numeric(18,2)", "integer", "narrowed"),
        ("numeric(18,2)", "double precision", "narrowed"),
        ("double precision", "numeric(18,2)", "narrowed"),
        ("integer", "numeric(8,0)", "narrowed"),
        ("text", "boolean", "retyped"),
        ("boolean", "text", "retyped"),
        ("numeric(18,2)", "text", "retyped"),
        ("date", "timestamptz", "retyped"),
        ("timestamptz", "date", "retyped"),
        ("text", "text[]", "retyped"),
        ("mood", "text", "retyped"),
    ],
)
def test_a_change_of_type_has_a_class(old: str, new: str, expected: str) -> None:
    assert change_of(old, new) == expected


def test_what_is_called_widened_keeps_the_longest_number_with_all_its_digits(server: EmbeddedCluster) -> None:
    pairs = [(old, new) for old in LONGEST for new in LONGEST if change_of(old, new) in ("same", "widened")]
    assert len(pairs) > 30
    with connect(server.url("postgres")) as connection:
        for old, new in pairs:
            value = f"'{LONGEST[old]}'::{old}"
            kept = connection.exec_driver_sql(f"SELECT {value}::{new}::{old} = {value}").scalar_one()
            assert kept, (old, new)


def test_what_is_called_narrowed_cuts_or_refuses_a_number(server: EmbeddedCluster) -> None:
    numbers = [name for name in LONGEST if name not in ("real", "double precision")]
    pairs = [(old, new) for old in numbers for new in numbers if change_of(old, new) == "narrowed"]
    with connect(server.url("postgres"), autocommit=True) as connection:
        for old, new in pairs:
            value = f"'{LONGEST[old]}'::{old}"
            try:
                kept = connection.exec_driver_sql(f"SELECT {value}::{new} = {value}").scalar_one()
            except exc.DataError:  # it does not fit at all
                kept = False
            assert not kept, (old, new)
