"""What leaves its transaction cannot be taken back: only what plainly loses nothing runs there without a name."""

import textwrap

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.autocommit import only_harmless
from monarch_dagster_tests.migrations.support import sql, write_chain, write_revision
from monarch_dagster_tests.support import Project

BLOCK = "with op.get_context().autocommit_block():\n"
INVALID = "IF EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass('public.i') AND NOT indisvalid) THEN"
BUILD = "CREATE INDEX CONCURRENTLY i ON t (a)"


@pytest.fixture(autouse=True)
def filled(project: Project) -> None:
    """A table with a row, of which what is applied here is taken as proved."""
    project.trusting = True
    write_chain(
        project, ("CREATE TYPE mood AS ENUM ('sad'); CREATE TABLE t (a int, b int, CHECK (a > 0) NOT VALID)", "pass")
    )
    project.apply()
    project.execute("INSERT INTO t VALUES (1)")


def block(*lines: str) -> str:
    """Return Python that does this in an autocommit block."""
    return BLOCK + textwrap.indent("\n".join(lines), "    ")


def pending(project: Project, up: str, back: str = "pass", helpers: str = "") -> None:
    """Have a revision pending whose functions are these."""
    path = write_revision(project.versions, "r2", "r1", up=up, back=back)
    path.write_text(path.read_text() + helpers)


@pytest.mark.parametrize(
    ("up", "told"),
    [
        (block("op.drop_column('t', 'a')"), "op.drop_column('t', 'a')"),
        (block(sql("DROP TABLE t")), "op.execute('DROP TABLE t')"),
        (block(sql("CREATE INDEX i ON t (a); DELETE FROM t")), "DELETE"),
        (block(sql("ALTER TABLE t VALIDATE CONSTRAINT t_a_check, DROP COLUMN a")), "DROP COLUMN"),
        (block(sql("DO $$ BEGIN DELETE FROM t; END $$")), "DELETE"),
        (block(sql(f"DO $$ BEGIN {INVALID} DELETE FROM t; END IF; END $$")), "DELETE"),
        (block("op.execute('DELETE ' + 'FROM t')"), "DELETE"),
        (block("op.get_bind().exec_driver_sql('DELETE FROM t')"), "DELETE"),
        (block("op.get_context().connection.exec_driver_sql('DELETE FROM t')"), "DELETE"),
        (f"{block(sql(BUILD))}\nop.drop_column('t', 'a')", "op.drop_column"),
        (f"block = op.get_context().autocommit_block\nwith block():\n    {sql('DROP TABLE t')}", "block()"),
    ],
)
def test_what_may_lose_values_is_refused_outside_of_a_transaction(project: Project, up: str, told: str) -> None:
    pending(project, up)
    with pytest.raises(MonarchError, match=r"leaves its transaction.* cannot be judged") as refusal:
        project.apply()
    assert told in refusal.value.message
    assert "in a transaction" in refusal.value.remedy
    assert "--allow-data-loss r2 (plain alembic: -x allow_data_loss=r2)" in refusal.value.remedy
    assert project.execute("SELECT a FROM t") == [(1,)]
    assert project.execute("SELECT to_regclass('i'), version_num FROM alembic.alembic_version") == [(None, "r1")]


def test_it_runs_when_its_revision_is_named(project: Project) -> None:
    pending(project, block("op.drop_column('t', 'a')"))
    assert project.apply(allow_data_loss=["r2"]).after == "r2"
    assert project.execute("SELECT * FROM t") == [(None,)]


@pytest.mark.parametrize(
    "up",
    [
        block("op.create_index(op.f('i'), 't', [sa.text('a')], postgresql_concurrently=True)"),
        block(
            sql(f"DO $$ BEGIN {INVALID}\n    DROP INDEX public.i;\nEND IF; END $$"),
            sql(BUILD),
            sql(f"DO $$ BEGIN {INVALID}\n    RAISE USING MESSAGE = 'the index public.i is not valid';\nEND IF; END $$"),
        ),
        block(f"op.execute(sa.text({BUILD!r}))", "op.execute(sa.DDL('reindex index ' 'concurrently i'))"),
        block(sql("-- DROP TABLE t; as it says\nALTER TYPE mood ADD VALUE 'fine; or so'")),
        block(sql("ALTER TABLE t VALIDATE CONSTRAINT t_a_check", "COMMENT ON TABLE t IS 'DROP'", "ANALYZE t")),
        block(sql("SET statement_timeout = 0", BUILD, "DROP INDEX CONCURRENTLY i", "RESET statement_timeout")),
    ],
)
def test_indexes_enum_labels_and_validations_need_no_name(project: Project, up: str) -> None:
    pending(project, up)
    assert project.apply().after == "r2"


def test_a_function_that_stays_in_its_transaction_is_judged_by_its_effect(project: Project) -> None:
    pending(project, block(sql(BUILD)), "op.drop_index('i')\nop.execute('ALTER TABLE t DROP COLUMN a')")
    project.apply()
    with pytest.raises(MonarchError, match=r"public\.t\.a: the column with 1 value"):
        project.revert("r1")
    assert project.execute("SELECT a, to_regclass('i')::text FROM t") == [(1, "i")]
    project.revert("r1", allow_data_loss=["r2"])
    assert project.execute("SELECT version_num FROM alembic.alembic_version") == [("r1",)]


def test_a_helper_that_leaves_the_transaction_is_judged_with_the_function_that_calls_it(project: Project) -> None:
    helper = "\n\ndef go() -> None:\n" + textwrap.indent(block("op.drop_column('t', 'a')"), "    ")
    pending(project, "go()", helpers=helper)
    with pytest.raises(MonarchError, match="leaves its transaction"):
        project.apply()
    pending(project, "go()", helpers=helper.replace("op.drop_column('t', 'a')", sql(BUILD)))
    assert project.apply().after == "r2"


@pytest.mark.parametrize(
    "up",
    [
        "with getattr(op.get_context(), 'autocommit' + '_block')():\n    op.drop_column('t', 'a')",
        "op.drop_column('t', 'a')\nop.get_bind().commit()",
    ],
)
def test_a_commit_that_the_code_does_not_show_is_refused_when_it_comes(project: Project, up: str) -> None:
    pending(project, up)
    with pytest.raises(MonarchError, match="leaves its transaction"):
        project.apply()
    assert project.execute("SELECT a, version_num FROM t, alembic.alembic_version") == [(1, "r1")]


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("/* first */ create unique index i on t (a) where b = E'\\';'", True),
        ("COMMENT ON TABLE t IS E'\\''; DROP TABLE t; --'", False),
        ("CREATE INDEX i ON t /* /* */ ' */ (a); DROP TABLE t; --'", False),
        ("REINDEX TABLE t;\n", True),
        ("SETTLE t", False),
        ("ALTER TYPE mood RENAME VALUE 'a' TO 'b'", False),
        ("DO $$ BEGIN PERFORM 1; END $$", False),
    ],
)
def test_each_statement_of_a_text_counts_and_no_word_that_is_quoted(text: str, harmless: bool) -> None:
    assert only_harmless(text) is harmless
