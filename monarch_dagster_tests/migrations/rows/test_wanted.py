"""Rows are chosen so that they outlive the change at hand: what is wanted counts as well as what is there."""

from typing import Any

import pytest
from sqlalchemy import Connection

from monarch_dagster.migrations.rows import fill, lost, take
from monarch_dagster.postgres.engines import run_script
from monarch_dagster.schema.facts import Facts, read_facts

CHANGES = {
    "text to a number": ("a text", "ALTER a TYPE numeric(18,2) USING a::numeric(18,2)"),
    "text to a small number": ("a text", "ALTER a TYPE numeric(3,3) USING a::numeric(3,3)"),
    "text to a date": ("a text NOT NULL", "ALTER a TYPE date USING a::date"),
    "text to a time stamp": ("a varchar(40)", "ALTER a TYPE timestamptz USING a::timestamptz"),
    "text to boolean": ("a text", "ALTER a TYPE boolean USING a::boolean"),
    "text to uuid": ("a text NOT NULL UNIQUE", "ALTER a TYPE uuid USING a::uuid"),
    "text to json": ("a text", "ALTER a TYPE jsonb USING a::jsonb"),
    "text to an enum": ("a text DEFAULT 'new'", "ALTER a DROP DEFAULT, ALTER a TYPE s.mood USING a::s.mood"),
    "text to an array": ("a text", "ALTER a TYPE text[] USING a::text[]"),
    "text to a domain": ("a text", "ALTER a TYPE s.day USING a::s.day"),
    "an enum to one with fewer labels": ("a s.wide NOT NULL", "ALTER a TYPE s.mood USING a::text::s.mood"),
    "a number to a smaller one": ("a numeric(18,2)", "ALTER a TYPE numeric(3,3)"),
    "a shorter varchar": ("a varchar(40) CHECK (a IN ('a long one', 'ab'))", "ALTER a TYPE varchar(3)"),
    "not null": (
        "a text, b date DEFAULT NULL, c s.mood",
        "ALTER a SET NOT NULL, ALTER b SET NOT NULL, ALTER c SET NOT NULL",
    ),
    "a primary key": ("a text, b integer", "ADD PRIMARY KEY (b, a)"),
    "unique": (
        "a text NOT NULL, b boolean NOT NULL",
        "ADD UNIQUE (a), ADD CONSTRAINT x UNIQUE NULLS NOT DISTINCT (b)",
    ),
    "a check": (
        "a text, b integer NOT NULL",
        "ADD CHECK (a IN ('open', 'done') AND a IS NOT NULL), ADD CHECK (b >= 1000)",
    ),
    "a check that is replaced": (
        "a text NOT NULL CONSTRAINT x CHECK (a IN ('one', 'two'))",
        "DROP CONSTRAINT x, ADD CONSTRAINT x CHECK (a IN ('two', 'three'))",
    ),
    "a foreign key": ("a integer NOT NULL, b text", "ADD FOREIGN KEY (a) REFERENCES s.other (id)"),
    "a foreign key to what is to come": ("a integer", "ADD FOREIGN KEY (a) REFERENCES s.new (id)"),
    "several at once": (
        "a text, b text",
        "ALTER a TYPE integer USING a::integer, ALTER a SET NOT NULL, ADD UNIQUE (a), ALTER b TYPE varchar(4), "
        "ADD CHECK (b IN ('x', 'y'))",
    ),
}
TYPES = """
CREATE SCHEMA s; CREATE TYPE s.mood AS ENUM ('new', 'worn'); CREATE DOMAIN s.day AS date CHECK (VALUE > '1999-01-01');
CREATE TYPE s.wide AS ENUM ('gone', 'worn'); CREATE TABLE s.other (id integer PRIMARY KEY CHECK (id > 70));
"""


def wanted(database: Connection, script: str) -> Facts:
    """Return the facts that the script comes to, without leaving anything behind."""
    with database.begin_nested() as savepoint:
        run_script(database, script)
        facts = read_facts(database, ["s"])
        savepoint.rollback()
    return facts


@pytest.mark.parametrize(("columns", "change"), CHANGES.values(), ids=CHANGES)
def test_rows_outlive_the_change(database: Connection, columns: str, change: str) -> None:
    run_script(database, f"{TYPES} CREATE TABLE s.t ({columns})")
    alter = f"CREATE TABLE s.new (id integer PRIMARY KEY); ALTER TABLE s.t {change}"
    assert fill(database, ["s.t"], wanted(database, alter)).rows["s.t"] == 2
    database.commit()
    before = take(database, ["s.t"])
    run_script(database, alter)
    assert lost(before, take(database, ["s.t"])) == []
    number_of_values = [len(column.values) for table in before.values() for column in table.columns.values()]
    assert all(number_of_values) or "s.new" in change


def test_an_index_that_becomes_unique_counts_too(database: Connection) -> None:
    run_script(database, "CREATE SCHEMA s; CREATE TABLE s.t (a text NOT NULL, b text NOT NULL)")
    after = "CREATE UNIQUE INDEX i ON s.t (lower(a)) INCLUDE (b) WHERE b IS NOT NULL"
    fill(database, ["s.t"], wanted(database, after))
    run_script(database, after)


def test_a_change_that_cannot_be_met_leaves_rows_that_the_table_takes_now(database: Connection) -> None:
    run_script(database, "CREATE SCHEMA s; CREATE TABLE s.t (a integer NOT NULL CHECK (a = 5))")
    facts = wanted(database, "ALTER TABLE s.t ADD CONSTRAINT x CHECK (a = 6), ADD UNIQUE (a)")
    result = fill(database, ["s.t"], facts)
    assert result.rows["s.t"] >= 1
    rows: list[Any] = run_script(database, "SELECT DISTINCT a FROM s.t").scalars().all()
    assert rows == [5]


def test_a_table_that_is_to_go_gets_rows_as_well(database: Connection) -> None:
    run_script(database, "CREATE SCHEMA s; CREATE TABLE s.t (a text)")
    assert fill(database, ["s.t"], wanted(database, "DROP TABLE s.t")).rows == {"s.t": 2}
