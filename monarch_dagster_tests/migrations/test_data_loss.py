"""What counts as losing stored values (DESIGN rule 8), judged by effect, whoever wrote the statement and however."""

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.support import sql, write_chain, write_revision
from monarch_dagster_tests.support import Project

TABLE = ("CREATE TABLE t (a varchar(20), n numeric(10,2), m int)", "DROP TABLE t")
FULL = "INSERT INTO t VALUES ('abc', 1.50, 7), ('abcdef', 1.25, 8), (NULL, NULL, NULL)"


@pytest.fixture(autouse=True)
def trusted(project: Project) -> None:
    """What is applied here is taken as proved."""
    project.trusting = True


def refusal(project: Project, **options: object) -> str:
    with pytest.raises(MonarchError) as caught:
        project.apply(**options)
    assert "nothing of it was applied" in caught.value.message
    assert "--allow-data-loss r2" in caught.value.remedy
    assert project.execute("SELECT version_num FROM alembic.alembic_version") == [("r1",)]
    return caught.value.message


def prepared(project: Project, change: str, rows: str = FULL) -> None:
    """Apply a table with rows; what is pending then is `change`."""
    write_chain(project, TABLE, (change, "SELECT 1"))
    project.apply(to="r1")
    if rows:
        project.execute(rows)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (
            "ALTER TABLE t DROP COLUMN a, DROP COLUMN m",
            ["public.t.a: the column with 2 values", "public.t.m: the column with 2 values"],
        ),
        ("DROP TABLE t", ["public.t: the table with 3 rows"]),
        ("DO $$ BEGIN EXECUTE 'DROP TABLE ' || 't'; END $$", ["public.t: the table with 3 rows"]),
        (
            "ALTER TABLE t ALTER a TYPE varchar(4) USING left(a, 4)",
            ["public.t.a: 1 value lost in character varying(4)"],
        ),
        ("ALTER TABLE t ALTER n TYPE numeric(10,1)", ["public.t.n: 1 value lost in numeric(10,1)"]),
        ("ALTER TABLE t ALTER n TYPE integer", ["public.t.n: 2 values lost in integer"]),
        ("ALTER TABLE t ALTER a TYPE boolean USING true", ["public.t.a: 2 values lost in boolean"]),
        ("ALTER TABLE t RENAME TO old; CREATE TABLE t (a int); DROP TABLE old", ["public.t: the table with 3 rows"]),
        ("DROP SCHEMA public CASCADE", ["public.t: the table with 3 rows"]),
    ],
)
def test_a_step_that_would_lose_values_is_refused_with_the_count_of_each(
    project: Project, change: str, told: list[str]
) -> None:
    prepared(project, change)
    message = refusal(project)
    assert [line.strip() for line in message.splitlines()[1:]] == told
    assert project.execute("SELECT count(*) FROM t") == [(3,)]


@pytest.mark.parametrize("name", ["r2", "r", "r1:r2", "base:head", "head"])
def test_it_runs_when_its_revision_is_named(project: Project, name: str) -> None:
    prepared(project, "ALTER TABLE t DROP COLUMN a")
    if name == "r":
        with pytest.raises(MonarchError, match="could be any of r1, r2"):
            project.apply(allow_data_loss=[name])
        return
    assert project.apply(allow_data_loss=[name]).after == "r2"


def test_the_name_of_another_revision_does_not_help(project: Project) -> None:
    prepared(project, "ALTER TABLE t DROP COLUMN a")
    refusal(project, allow_data_loss=["r1", "base:r1"])


@pytest.mark.parametrize(
    ("change", "rows"),
    [
        ("DROP TABLE t", ""),
        ("ALTER TABLE t DROP COLUMN a", "INSERT INTO t (m) VALUES (1), (2)"),
        ("ALTER TABLE t ALTER a TYPE varchar(6)", FULL),
        ("ALTER TABLE t ALTER a TYPE text", FULL),
        ("ALTER TABLE t ALTER n TYPE numeric(18,4)", FULL),
        ("ALTER TABLE t ALTER n TYPE double precision", FULL),
        ("ALTER TABLE t ALTER m TYPE bigint", FULL),
        ("ALTER TABLE t ALTER m TYPE varchar(5)", FULL),
        ("ALTER TABLE t RENAME COLUMN a TO b", FULL),
        ("ALTER TABLE t RENAME TO u", FULL),
        ("CREATE MATERIALIZED VIEW v AS SELECT 1; DROP MATERIALIZED VIEW v", FULL),
    ],
)
def test_what_loses_nothing_needs_no_name(project: Project, change: str, rows: str) -> None:
    prepared(project, change, rows)
    assert project.apply().after == "r2"


def test_names_with_quotes_and_percent_signs_are_judged_as_well(project: Project) -> None:
    table = 'CREATE TABLE "a%s ""b" ("c%d" int, other int)'
    write_chain(project, (table, "SELECT 1"), ('ALTER TABLE "a%s ""b" DROP "c%d"', "SELECT 1"))
    project.apply(to="r1")
    project.execute('INSERT INTO "a%%s ""b" VALUES (%s)', 1)
    assert 'public.a%s "b.c%d: the column with 1 value' in refusal(project)


def test_revisions_before_the_refused_one_stay_and_it_goes_on_from_there(project: Project) -> None:
    write_chain(project, TABLE, ("ALTER TABLE t ADD x int", ""), ("ALTER TABLE t DROP a", ""), ("SELECT 1", ""))
    project.apply(to="r1")
    project.execute(FULL)
    with pytest.raises(MonarchError, match="Revision r3 would lose stored values"):
        project.apply()
    assert project.execute("SELECT version_num FROM alembic.alembic_version") == [("r2",)]
    assert [item.revision for item in project.apply(allow_data_loss=["r3"]).applied] == ["r3", "r4"]


def test_speaking_of_an_autocommit_block_opens_no_way_around_the_guard(project: Project) -> None:
    prepared(project, "SELECT 1")
    write_revision(
        project.versions, "r2", "r1", up=f"# with op.get_context().autocommit_block():\n{sql('DROP TABLE t')}"
    )
    assert "public.t: the table with 3 rows" in refusal(project)


def test_a_concurrent_index_build_runs_in_its_autocommit_block(project: Project) -> None:
    prepared(project, "SELECT 1")
    build = 'with op.get_context().autocommit_block():\n    op.execute("CREATE INDEX CONCURRENTLY i ON t (a)")'
    write_revision(project.versions, "r2", "r1", up=build)
    assert project.apply().after == "r2"
    assert project.execute("SELECT to_regclass('i')::text") == [("i",)]
