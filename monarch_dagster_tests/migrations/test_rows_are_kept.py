"""Rows deleted and values nulled in tables that stay need a name as well (DESIGN rule 8), judged by effect."""

from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.support import sql, write_chain, write_revision
from monarch_dagster_tests.support import Project

TABLES = """
CREATE SCHEMA s;
CREATE TABLE s.c (id int PRIMARY KEY, a text, b int, twice int GENERATED ALWAYS AS (b * 2) STORED);
CREATE TABLE s.child (c int REFERENCES s.c ON DELETE CASCADE);
CREATE TABLE s.parts (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE s.low PARTITION OF s.parts FOR VALUES FROM (0) TO (10);
CREATE TABLE s.high PARTITION OF s.parts FOR VALUES FROM (10) TO (99);
CREATE TABLE s.base (v int);
CREATE TABLE s.heir () INHERITS (s.base);
CREATE TABLE s."a%s ""b" ("c%d" int, other int);
"""
ROWS = """
INSERT INTO s.c SELECT i, 'a' || i, nullif(i, 1) FROM generate_series(1, 20) i;
INSERT INTO s.child SELECT i FROM generate_series(1, 3) i;
INSERT INTO s.parts SELECT i, 'v' FROM generate_series(5, 14) i;
INSERT INTO s.base VALUES (1);
INSERT INTO s.heir VALUES (2), (3);
INSERT INTO s."a%%s ""b" VALUES (1, 2);
"""
HELD = """
SELECT (SELECT md5(string_agg(c::text, ',' ORDER BY id)) FROM s.c), (SELECT count(*) FROM s.child),
    (SELECT count(v) FROM s.parts), (SELECT count(v) FROM s.base), (SELECT count("c%%d") FROM s."a%%s ""b")
"""


@pytest.fixture(autouse=True)
def filled(project: Project) -> None:
    """Tables with rows, of which what is applied here is taken as proved."""
    project.trusting = True
    write_chain(project, (TABLES, "DROP SCHEMA s CASCADE"))
    project.apply()
    project.execute(ROWS)


def pending(project: Project, *statements: str) -> Path:
    """Have a revision pending that runs the statements; return the file in which it notes each time that it runs."""
    runs = project.root / "runs"
    note = f"with open({str(runs)!r}, 'a') as file:\n    file.write('.')\n"
    write_revision(project.versions, "r2", "r1", up=note + sql(*statements))
    return runs


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE s.c SET a = NULL", ["s.c.a: 20 values lost"]),
        ("UPDATE s.c SET b = NULL WHERE id < 4", ["s.c.b: 2 values lost"]),
        ("DELETE FROM s.c WHERE id > 2", ["s.c: 18 rows deleted", "s.child: 1 row deleted"]),
        ("DELETE FROM s.c WHERE id > 18; UPDATE s.c SET a = NULL WHERE id = 7", ["s.c: 2 rows deleted", "a: 1 value"]),
        ("TRUNCATE s.c CASCADE", ["s.c: 20 rows deleted", "s.child: 3 rows deleted"]),
        ("DO $$ BEGIN EXECUTE 'DELETE FROM ' || 's.child'; END $$", ["s.child: 3 rows deleted"]),
        ("WITH gone AS (DELETE FROM s.child RETURNING c) SELECT FROM gone", ["s.child: 3 rows deleted"]),
        ("ALTER TABLE s.c ALTER a TYPE varchar(99) USING NULL", ["s.c.a: 20 values lost"]),
        ("UPDATE s.c SET a = NULL; ALTER TABLE s.c RENAME a TO x; ALTER TABLE s.c RENAME TO d", ["s.c.a: 20 values"]),
        ("UPDATE s.parts SET v = NULL", ["s.parts.v: 10 values lost"]),
        ("DELETE FROM s.low", ["s.parts: 5 rows deleted"]),
        ("TRUNCATE s.parts", ["s.parts: 10 rows deleted"]),
        ("DELETE FROM s.base WHERE v > 1", ["s.heir: 2 rows deleted"]),
        ('UPDATE s."a%s ""b" SET "c%d" = NULL', ['s.a%s "b.c%d: 1 value lost']),
    ],
)
def test_rows_and_values_that_would_go_are_told_and_nothing_is_changed(
    project: Project, statement: str, told: list[str]
) -> None:
    runs = pending(project, statement)
    before = project.execute(HELD)
    with pytest.raises(
        MonarchError, match="Revision r2 would lose stored values; nothing of it was applied"
    ) as refusal:
        project.apply()
    lines = refusal.value.message.splitlines()[1:]
    assert len(lines) == len(told)
    assert all(words in line for line, words in zip(lines, told, strict=True)), lines
    assert "--allow-data-loss r2" in refusal.value.remedy
    assert project.execute(HELD) == before
    assert project.execute("SELECT version_num FROM alembic.alembic_version") == [("r1",)]
    assert runs.read_text() in (".", "..")


def test_it_runs_once_when_its_revision_is_named(project: Project) -> None:
    runs = pending(project, "UPDATE s.c SET a = NULL", "DELETE FROM s.child")
    assert project.apply(allow_data_loss=["r2"]).after == "r2"
    assert project.execute("SELECT (SELECT count(a) FROM s.c), (SELECT count(*) FROM s.child)") == [(0, 0)]
    assert runs.read_text() == "."


@pytest.mark.soak
@pytest.mark.parametrize(
    ("statement", "times"),
    [
        ("UPDATE s.c SET a = upper(a), b = b + 1", 2),
        ("UPDATE s.c SET b = 0 WHERE b IS NULL; INSERT INTO s.c VALUES (0)", 2),
        ("UPDATE s.parts SET k = 10 WHERE k = 5", 2),
        ("CREATE TABLE s.n (v int); INSERT INTO s.n VALUES (1); DELETE FROM s.n", 1),
        ("DELETE FROM s.c WHERE id > 99", 1),
        ("INSERT INTO s.c VALUES (21, 'a')", 1),
        ("ALTER TABLE s.c ADD d timestamptz DEFAULT clock_timestamp()", 2),
        ("ALTER TABLE s.c ADD d int; UPDATE s.c SET d = b; ALTER TABLE s.c RENAME TO e", 2),
        ("ALTER TABLE s.c ALTER twice DROP EXPRESSION, ALTER b TYPE bigint", 1),
        ("ALTER TABLE s.c ADD d int, ALTER a SET DEFAULT 'x'; CREATE INDEX ON s.c (a)", 1),
    ],
)
def test_what_keeps_rows_and_values_needs_no_name_and_runs_at_most_twice(
    project: Project, statement: str, times: int
) -> None:
    runs = pending(project, statement)
    assert project.apply().after == "r2"
    assert runs.read_text() == "." * times


@pytest.mark.parametrize(("using", "lost"), [("'a1'", "19 values"), ("nullif(a, 'a7')::s.label", "1 value")])
def test_a_column_of_a_new_type_and_name_is_told_by_the_name_that_it_had(
    project: Project, using: str, lost: str
) -> None:
    labels = ", ".join(f"'a{number}'" for number in range(1, 21))
    pending(
        project,
        f"CREATE TYPE s.label AS ENUM ({labels})",
        f"ALTER TABLE s.c ALTER a TYPE s.label USING {using}",
        "ALTER TABLE s.c RENAME a TO x",
        "ALTER TABLE s.c RENAME TO d",
    )
    with pytest.raises(MonarchError, match=rf":\n  s\.c\.a: {lost} lost in s.label\nWhat"):
        project.apply()


def test_a_data_fix_is_there_once_after_it_ran_twice(project: Project) -> None:
    pending(project, "UPDATE s.c SET b = b + 1")
    project.apply()
    assert project.execute("SELECT sum(b) FROM s.c") == [(sum(range(2, 21)) + 19,)]


def test_a_revision_is_judged_by_its_own_writes_only(project: Project) -> None:
    pending(project, "UPDATE s.c SET a = upper(a)")
    write_revision(project.versions, "r3", "r2", up=sql("ALTER TABLE s.c ADD d int"))
    write_revision(project.versions, "r4", "r3", up=sql("DELETE FROM s.child"))
    with pytest.raises(MonarchError, match=r"Revision r4 would lose stored values.*\n  s\.child: 3 rows deleted"):
        project.apply()
    assert project.execute("SELECT version_num FROM alembic.alembic_version") == [("r3",)]
