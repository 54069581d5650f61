"""What is claimed of conversions and defaults, asked of the server."""

from __future__ import annotations

from typing import Final

import pytest
from sqlalchemy import exc

from monarch_dagster.migrations.planning.conversions import converts, is_constant, using
from monarch_dagster.postgres.types import keeps_values
from monarch_dagster_tests.migrations.planning.support import Workbench

# A value of each type, as PostgreSQL prints it; "1" where the type has it, so that many can be converted.
VALUES: Final = {
    "smallint": "1",
    "integer": "1",
    "bigint": "1",
    "numeric": "1",
    "numeric(10,2)": "1.00",
    "numeric(12,2)": "1.00",
    "numeric(12,3)": "1.000",
    "numeric(8,2)": "1.00",
    "real": "1",
    "double precision": "1",
    "text": "1",
    "character varying": "1",
    "character varying(10)": "1",
    "character varying(40)": "1",
    "character(5)": "1",
    "boolean": "true",
    "date": "2024-02-29",
    "timestamp without time zone": "2024-02-29 00:00:00",
    "timestamp(3) without time zone": "2024-02-29 00:00:00",
    "timestamp with time zone": "2024-02-29 00:00:00+00",
    "time without time zone": "01:02:03",
    "time with time zone": "01:02:03+00",
    "interval": "01:02:03",
    "interval(3)": "01:02:03",
    "json": "1",
    "jsonb": "1",
    "uuid": "0f8fad5b-d9cb-469f-a165-70867728950e",
    "bytea": "\\x31",
    "inet": "10.0.0.0/8",
    "cidr": "10.0.0.0/8",
    "bit(3)": "101",
    "bit varying(3)": "101",
    "money": "$1.00",
    "integer[]": "{1}",
    "text[]": "{1}",
    "character varying(10)[]": "{1}",
    "numeric(10,2)[]": "{1.00}",
}
# What most models are made of: between these nothing is said that PostgreSQL knows by itself.
PLAIN: Final = ("smallint", "integer", "bigint", "numeric(10,2)", "double precision", "text", "character varying(40)")
# Defaults as a person writes them, each with the type of its column.
CONSTANTS: Final = [
    ("7", "integer"),
    ("-7", "bigint"),
    ("1.5", "numeric"),
    ("'it''s ||'", "text"),
    ("''", "varchar(10)"),
    ("true", "boolean"),
    ("NULL", "text"),
    ("now()", "timestamptz"),
    ("CURRENT_DATE", "date"),
    ("LOCALTIMESTAMP", "timestamp"),
    ("CURRENT_USER", "name"),
    ("'{}'", "jsonb"),
    ("'{a,b}'", "text[]"),
    ("'1 day'", "interval"),
]
VOLATILE: Final = [
    ("gen_random_uuid()", "uuid"),
    ("random()", "float8"),
    ("clock_timestamp()", "timestamptz"),
    ("timeofday()", "text"),
    ("nextval('q')", "bigint"),
    ("'a' || random()::text", "text"),
    ("('a' || clock_timestamp()::text) || 'b'", "text"),
    ("ARRAY[random()::text, 'x']", "text[]"),
    ("CASE WHEN true THEN random() ELSE 1 END", "float8"),
]


def make(bench: Workbench, kind: str, value: str | None) -> bool:
    """Make a table with one column and one row; say whether the column holds the value just as it is written."""
    bench.run(f"SET LOCAL timezone = 'UTC'; DROP TABLE IF EXISTS t; CREATE TABLE t (a {kind})")
    try:
        with bench.connection.begin_nested():
            bench.connection.exec_driver_sql(f"INSERT INTO t VALUES (%s::text::{kind})", (value,))
    except exc.DBAPIError:
        return False
    return shown(bench) == value


def shown(bench: Workbench) -> str:
    return str(bench.connection.exec_driver_sql("SELECT a::text FROM t").scalar_one())


def file(bench: Workbench) -> int:
    return int(bench.connection.exec_driver_sql("SELECT pg_relation_filenode('t')").scalar_one())


def alter(bench: Workbench, kind: str, expression: str) -> None:
    bench.run(f"ALTER TABLE t ALTER COLUMN a TYPE {kind}{f' USING {expression}' if expression else ''}")


def wraps(old: str, new: str) -> bool:
    """Say whether a value becomes the one element of an array, is taken from one, or becomes a text within JSON."""
    as_text = old.endswith("[]") and new.startswith(("text", "character"))
    return (old.endswith("[]") != new.endswith("[]") and not as_text) or (old[:3] == "bit" and new[:4] == "json")


@pytest.mark.soak
@pytest.mark.parametrize("old", VALUES)
def test_what_is_claimed_to_convert_by_itself_does(bench: Workbench, old: str) -> None:
    for new in VALUES:
        with bench.trying():
            make(bench, old, None)
            try:
                alter(bench, new, "")
                automatic = True
            except exc.DBAPIError as error:
                assert "cannot be cast automatically" in str(error)
                automatic = False
        assert automatic or not converts(old, new), new
        if automatic and old in PLAIN and new in PLAIN:
            assert using("a", old, new) == "", new


@pytest.mark.soak
@pytest.mark.parametrize("old", VALUES)
def test_what_is_said_to_convert_runs_and_gives_the_same_value(bench: Workbench, old: str) -> None:
    compared = set()
    for new in VALUES:
        with bench.trying():
            make(bench, old, None)
            alter(bench, new, using("a", old, new))
        for value in {VALUES[old], VALUES[new]}:
            with bench.trying():
                if not wraps(old, new) and make(bench, new, value) and make(bench, old, value):
                    alter(bench, new, using("a", old, new))
                    assert shown(bench).strip() == value, new
                    compared.add(new)
    assert {old, "text"} <= compared


@pytest.mark.parametrize(
    ("old", "value", "new", "becomes"),
    [
        ("boolean", "true", "integer", "1"),
        ("boolean", "false", "numeric(10,2)", "0.00"),
        ("integer", "2", "boolean", "true"),
        ("smallint", "0", "boolean", "false"),
        ("integer", "1", "integer[]", "{1}"),
        ("character varying(10)", "{a,b}", "text[]", "{a,b}"),
        ("integer[]", "{4,5}", "integer", "4"),
        ("text[]", "{4,5}", "numeric(10,2)", "4.00"),
        ("boolean", "true", "numeric(10,2)[]", "{1.00}"),
        ("integer[]", "{4,5}", "text", "{4,5}"),
        ("date", "2024-02-29", "timestamp without time zone", "2024-02-29 00:00:00"),
        ("jsonb", '{"a": 1}', "text", '{"a": 1}'),
        ("numeric(10,2)", "0.50", "boolean", "true"),
        ("date", "2024-02-29", "jsonb", '"2024-02-29"'),
        ("jsonb", '"2024-02-29"', "date", "2024-02-29"),
        ("jsonb", '"a"', "text", '"a"'),
        ("timestamp with time zone", "2024-02-29 23:30:00+00", "date", "2024-02-29"),
        ("uuid", "0f8fad5b-d9cb-469f-a165-70867728950e", "bytea", "\\x0f8fad5bd9cb469fa16570867728950e"),
        ("bytea", "\\x0f8fad5bd9cb469fa16570867728950e", "uuid", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ],
)
def test_a_value_becomes_what_one_expects(bench: Workbench, old: str, value: str, new: str, becomes: str) -> None:
    assert make(bench, old, value)
    alter(bench, new, using("a", old, new))
    assert shown(bench) == becomes


def test_a_column_with_a_tricky_name_is_converted_as_well(bench: Workbench) -> None:
    name = '"a ""b"", (c)::text"'
    bench.run(f"CREATE TABLE t ({name} text); INSERT INTO t VALUES ('7')")
    bench.run(f"ALTER TABLE t ALTER {name} TYPE integer USING {using(name, 'text', 'integer')}")
    assert bench.connection.exec_driver_sql(f"SELECT {name} + 1 FROM t").scalar_one() == 8


@pytest.mark.parametrize("old", VALUES)
def test_a_change_that_is_said_to_keep_values_does_not_write_the_table_anew(bench: Workbench, old: str) -> None:
    for new in VALUES:
        if not keeps_values(old, new):
            continue
        with bench.trying():
            assert make(bench, old, VALUES[old])
            before = file(bench)
            alter(bench, new, "")
            assert (file(bench), shown(bench)) == (before, VALUES[old]), new


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("character varying(10)", "character varying(40)"),
        ("character varying(10)", "text"),
        ("text", "character varying"),
        ("numeric(10,2)", "numeric(12,2)"),
        ("numeric(10,2)", "numeric"),
        ("timestamp(3) without time zone", "timestamp without time zone"),
        ("interval(3)", "interval"),
        ("cidr", "inet"),
    ],
)
def test_what_only_grows_is_no_hazard(old: str, new: str) -> None:
    assert keeps_values(old, new)
    assert not keeps_values(new, old) or "text" in (old, new)


def added(bench: Workbench, default: str, kind: str) -> tuple[str, bool]:
    """Add a column with a default to a table with a row; return the default as it is printed, and whether it wrote."""
    bench.run("CREATE SEQUENCE IF NOT EXISTS q; CREATE TABLE t (id int); INSERT INTO t VALUES (1)")
    before = file(bench)
    bench.run(f"ALTER TABLE t ADD a {kind} DEFAULT {default}")
    query = "SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef WHERE adrelid = 't'::regclass"
    return str(bench.connection.exec_driver_sql(query).scalar() or "NULL"), file(bench) != before


@pytest.mark.parametrize(("default", "kind"), CONSTANTS)
def test_a_constant_default_is_known_as_such_and_writes_nothing(bench: Workbench, default: str, kind: str) -> None:
    printed, wrote = added(bench, default, kind)
    assert is_constant(printed)
    assert not wrote


@pytest.mark.parametrize(("default", "kind"), VOLATILE)
def test_a_default_that_writes_the_table_anew_is_never_taken_for_a_constant(
    bench: Workbench, default: str, kind: str
) -> None:
    printed, wrote = added(bench, default, kind)
    assert wrote
    assert not is_constant(printed)
