"""What a revision did to rows: losses and rewrites are seen, a rename is neither."""

import pytest
from sqlalchemy import Connection

from monarch_dagster.migrations.rows import Snapshot, lost, rewritten, take
from monarch_dagster.postgres.engines import run_script

NAMES = ["s.t", "s.u", "s.renamed", "s.p", "s.p1", "s.gone"]
START = """
CREATE SCHEMA s;
CREATE TABLE s.t (
    id integer PRIMARY KEY, name text, note varchar(40), long text GENERATED ALWAYS AS (name || name) STORED
);
INSERT INTO s.t VALUES (1, '1', 'x'), (2, 'b', NULL), (3, 'b', 'y');
CREATE TABLE s.u (id integer);
INSERT INTO s.u VALUES (1), (2);
CREATE TABLE s.p (id integer) PARTITION BY LIST (id);
CREATE TABLE s.p1 PARTITION OF s.p DEFAULT;
INSERT INTO s.p VALUES (1);
"""


def change(database: Connection, script: str) -> tuple[Snapshot, Snapshot]:
    """Return what there is before and after the script."""
    run_script(database, START)
    before = take(database, NAMES)
    run_script(database, script)
    return before, take(database, NAMES)


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("DELETE FROM s.t WHERE id = 1", ["s.t: of 3 rows 2 left"]),
        ("TRUNCATE s.u", ["s.u: of 2 rows none left"]),
        ("DELETE FROM s.p", ["s.p: of 1 row none left", "s.p1: of 1 row none left"]),
        ("UPDATE s.t SET name = 'c' WHERE id = 3", ["s.t.name: of 3 values 1 lost or changed"]),
        ("UPDATE s.t SET name = NULL", ["s.t.name: of 3 values 3 lost or changed"]),
        ("ALTER TABLE s.t DROP long, ALTER name TYPE varchar(5) USING nullif(name, '1')",
         ["s.t.name: of 3 values 1 lost in the change from text to character varying(5)"]),
        ("ALTER TABLE s.t ALTER note TYPE integer USING NULL",
         ["s.t.note: of 2 values 2 lost in the change from character varying(40) to integer"]),
        ("ALTER TABLE s.t RENAME name TO title; UPDATE s.t SET title = 'z' WHERE id = 1",
         ["s.t.name: of 3 values 1 lost or changed"]),
    ],
)  # fmt: skip
def test_each_loss_is_a_line(database: Connection, script: str, lines: list[str]) -> None:
    assert lost(*change(database, script)) == lines


@pytest.mark.parametrize(
    "script",
    [
        "ALTER TABLE s.t RENAME TO renamed; ALTER TABLE s.renamed RENAME name TO title",
        "ALTER TABLE s.t RENAME name TO old; ALTER TABLE s.t ADD name text",
        "ALTER TABLE s.t DROP name CASCADE",
        "DROP TABLE s.t",
        "DROP TABLE s.u; CREATE TABLE s.u (id integer)",
        "ALTER TABLE s.t ALTER note TYPE text, ALTER id TYPE bigint",
        "INSERT INTO s.u VALUES (1)",
        "UPDATE s.t SET note = 'unknown' WHERE note IS NULL; ALTER TABLE s.t ALTER note SET NOT NULL",
        "UPDATE s.t SET name = CASE id WHEN 1 THEN 'b' WHEN 2 THEN '1' ELSE name END",
        "ALTER TABLE s.t ALTER long SET EXPRESSION AS (upper(name))",
    ],
)
def test_renames_drops_and_what_keeps_every_value_are_no_loss(database: Connection, script: str) -> None:
    assert lost(*change(database, script)) == []


@pytest.mark.parametrize(
    ("script", "tables"),
    [
        ("ALTER TABLE s.t ALTER id TYPE bigint; ALTER TABLE s.t RENAME TO renamed", {"s.renamed"}),
        ("ALTER TABLE s.u ADD x timestamptz DEFAULT clock_timestamp()", {"s.u"}),
        ("ALTER TABLE s.u SET UNLOGGED", {"s.u"}),
        ("ALTER TABLE s.p ADD x timestamptz DEFAULT clock_timestamp()", {"s.p1"}),
        ("ALTER TABLE s.t ALTER note TYPE text, ADD y text DEFAULT 'y'; ALTER TABLE s.t RENAME name TO title", set()),
        ("ALTER TABLE s.u RENAME TO renamed; ALTER TABLE s.t SET SCHEMA public", set()),
        ("DROP TABLE s.u; CREATE TABLE s.u (id integer)", set()),
        ("CREATE INDEX ON s.t (name); DELETE FROM s.t", set()),
    ],
)
def test_a_rewrite_is_seen_by_the_tables_file(database: Connection, script: str, tables: set[str]) -> None:
    assert rewritten(*change(database, script)) == tables


def test_a_table_that_does_not_exist_is_left_out(database: Connection) -> None:
    before, _ = change(database, "SELECT 1")
    assert sorted(table.name for table in before.values()) == ["s.p", "s.p1", "s.t", "s.u"]
    t = next(table for table in before.values() if table.name == "s.t")
    assert (t.rows, [column.values for column in t.columns.values()]) == (
        3,
        [("1", "2", "3"), ("1", "b", "b"), ("x", "y"), ("11", "bb", "bb")],
    )
