"""Up, down and up again on a target, by Monarch, by plain Alembic and by psql: always the same schema."""

import secrets
import subprocess
import sys
from dataclasses import replace

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.adopt import adopt
from monarch_dagster.migrations.runner import SCRIPT_LOCATION
from monarch_dagster.postgres.embedded import EmbeddedCluster, binaries
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.quoting import quote
from monarch_dagster_tests.migrations.support import PYPROJECT, Alembic, sql, write_chain, write_revision
from monarch_dagster_tests.support import Project, account

MODELS = """
class Note(Base):
    __tablename__ = "note"
    __table_args__ = (
        CheckConstraint("body <> '%'", name="body"),
        {"schema": "landing", "comment": "it's 100% {sure}: \\"really\\""},
    )
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    body: Mapped[str] = mapped_column(Text, server_default="50%: it's :fine", comment="50% of 'it'")
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("landing.note.id"), index=True)
"""


def other_target(project: Project, server: EmbeddedCluster) -> Project:
    """Return the same project on another empty database."""
    twin = replace(project, target=server.url(f"{project.target.database}_twin"))
    twin.write_models(MODELS)
    return twin


@pytest.fixture
def generated(project: Project) -> Project:
    project.write_models(MODELS)
    project.write_meta(account(Name={"type": "string", "length": 255}, Born={"type": "date"}))
    project.generate()
    return project


@pytest.mark.soak
def test_every_way_to_the_head_gives_one_dump_and_base_leaves_nothing(
    generated: Project, alembic: Alembic, server: EmbeddedCluster
) -> None:
    generated.apply()
    dump = generated.dump()
    assert "CREATE TABLE landing.note" in dump

    generated.revert("base")
    assert generated.facts().relations == {}
    generated.apply()
    assert generated.dump() == dump

    alembic.run("downgrade", "base")
    assert generated.facts().relations == {}
    alembic.run("upgrade", "head")
    assert generated.dump() == dump
    head = generated.chain().head
    assert head is not None
    assert head in alembic.run("current")
    assert head in alembic.run("history")

    # The local install: files alone, another empty database.
    twin = other_target(generated, server)
    script = twin.apply(dry_run=True).sql
    assert twin.execute("SELECT count(*) FROM pg_namespace WHERE nspname IN ('alembic', 'landing')")[0][0] == 0
    psql = [str(binaries() / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", str(twin.target.query["host"])]
    subprocess.run(
        [*psql, "-U", "postgres", str(twin.target.database)], input=script, text=True, check=True, capture_output=True
    )
    # What ran there is in no ledger; adopted, it is as if Monarch had run it.
    assert adopt(twin.chain(), twin.target, twin.shadows).after == head
    assert twin.dump() == dump
    assert twin.apply().applied == ()
    twin.revert("base")
    twin.apply()
    # What ran there is in no ledger; adopted, it is as if Monarch had run it.
    assert adopt(twin.chain(), twin.target, twin.shadows).after == head
    assert twin.dump() == dump


def test_editing_models_and_metadata_by_hand_does_just_that_and_reverting_undoes_just_that(generated: Project) -> None:
    first = generated.generate().head
    generated.apply()
    before = generated.facts()
    generated.write_models(
        MODELS
        + """
    author: Mapped[str | None] = mapped_column(String(80))

class Tag(Base):
    __tablename__ = "tag"
    __table_args__ = {"schema": "staging"}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
"""
    )
    generated.write_meta(
        account(Name={"type": "string", "length": 255}, Born={"type": "date"}, Tier__c={"type": "string", "length": 40})
    )
    proposal = generated.generate(message="by hand")
    assert {(change.relation, change.aspect) for change in proposal.changes} == {
        ("schema staging", "the schema"),
        ("table landing.note", "column author"),
        ("table salesforce.account", "column tier__c"),
        ("table staging.tag", "the table"),
    }
    generated.apply()
    after = generated.facts()
    changed = {name for name in after.relations if after.relations[name] != before.relations.get(name)}
    assert changed == {"schema staging", "table landing.note", "table salesforce.account", "table staging.tag"}
    generated.revert(str(first))
    assert generated.facts() == before


def test_plain_alembic_takes_the_lock_and_refuses_data_loss_without_a_name(project: Project, alembic: Alembic) -> None:
    write_chain(
        project,
        ("CREATE TABLE t (a int, b int)", "DROP TABLE t"),
        ("ALTER TABLE t DROP COLUMN a", "ALTER TABLE t ADD COLUMN a int"),
        ("ALTER TABLE t DROP COLUMN b", "ALTER TABLE t ADD COLUMN b int"),
    )
    alembic.run("upgrade", "r1")
    project.execute("INSERT INTO t VALUES (1, 2)")
    refused = alembic.run("upgrade", "head", code=255)
    assert "public.t.a: the column with 1 value" in refused
    assert "-x allow_data_loss=r2" in refused
    alembic.run("-x", "allow_data_loss=r2", "-x", "allow_data_loss=r3", "upgrade", "head")
    assert project.execute("SELECT version_num FROM alembic.alembic_version") == [("r3",)]


def test_plain_alembic_waits_for_the_lock_that_monarch_holds(project: Project, alembic: Alembic) -> None:
    from monarch_dagster.postgres.locks import APPLY_LOCK, LOCK_CLASS

    write_chain(project, ("CREATE TABLE t (a int)", "DROP TABLE t"))
    with connect(project.target, autocommit=True) as holder:
        holder.exec_driver_sql("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, APPLY_LOCK))
        command = [sys.executable, "-m", "alembic", "upgrade", "head"]
        with subprocess.Popen(command, cwd=project.root, env=project.environment(), stderr=subprocess.PIPE) as running:
            polls = "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'pg_try_advisory_lock' AND datname = %s"
            while not holder.exec_driver_sql(polls, (project.target.database,)).scalar_one():
                assert running.poll() is None
            assert holder.exec_driver_sql("SELECT to_regclass('t')").scalar_one() is None
            holder.exec_driver_sql("SELECT pg_advisory_unlock(%s, %s)", (LOCK_CLASS, APPLY_LOCK))
            assert running.wait(60) == 0
    assert project.execute("SELECT to_regclass('t')::text") == [("t",)]


def test_plain_alembic_refuses_to_read_other_revisions_than_monarch_does(project: Project, alembic: Alembic) -> None:
    (project.root / "elsewhere").mkdir()
    (project.root / "pyproject.toml").write_text(
        PYPROJECT.format(script_location=SCRIPT_LOCATION, versions="elsewhere")
    )
    write_revision(project.root / "elsewhere", "r1", None)
    assert "MONARCH_SCHEMA_DIR" in alembic.run("upgrade", "head", code=255)


def test_sql_of_an_upgrade_from_the_middle_starts_there(project: Project) -> None:
    write_chain(project, ("CREATE TABLE a ()", "DROP TABLE a"), ("CREATE TABLE b ()", "DROP TABLE b"))
    project.apply(to="r1")
    script = project.apply(dry_run=True).sql
    assert "CREATE TABLE b" in script
    assert "CREATE TABLE a" not in script
    project.execute("SELECT 1")
    assert project.execute("SELECT to_regclass('b')") == [(None,)]


def test_a_carried_function_and_trigger_are_no_change_to_propose(generated: Project) -> None:
    generated.generate(empty=True, message="touch")
    head = generated.chain().head
    path = next(generated.versions.glob(f"*{head}*"))
    body = "CREATE FUNCTION landing.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$"
    trigger = "CREATE TRIGGER touch BEFORE UPDATE ON landing.note FOR EACH ROW EXECUTE FUNCTION landing.touch()"
    text = path.read_text().replace("    pass", f"    {sql(body)}\n    {sql(trigger)}", 1)
    path.write_text(text.replace("    pass", f"    {sql('DROP FUNCTION landing.touch CASCADE')}"))
    assert generated.generate().revisions == ()
    generated.apply()
    assert "trigger touch" in generated.facts().relations["table landing.note"]
    generated.revert("base")
    assert generated.facts().relations == {}


def test_shadow_sql_brings_what_chain_and_models_need_and_is_not_part_of_the_chain(project: Project) -> None:
    project.write_models(
        """
class Note(Base):
    __tablename__ = "note"
    __table_args__ = {"schema": "landing"}
    id: Mapped[int] = mapped_column(Integer, primary_key=True, server_default=text("public.next_id()"))
"""
    )
    project.sources.schema_dir.mkdir()
    (project.sources.schema_dir / "shadow.sql").write_text(
        "CREATE FUNCTION public.next_id() RETURNS int LANGUAGE sql AS $$ SELECT 7 % 5 $$;"
    )
    assert project.generate().revisions
    assert project.generate().revisions == ()
    (project.sources.schema_dir / "shadow.sql").write_text("NONSENSE")
    with pytest.raises(MonarchError, match=r"shadow.sql failed on the shadow database: syntax error"):
        project.generate()


@pytest.mark.parametrize("name", ["analyst", 'It\'s "odd"'])
def test_a_role_in_shadow_sql_that_exists_is_told_with_the_form_that_works(project: Project, name: str) -> None:
    name += secrets.token_hex(4)
    project.sources.schema_dir.mkdir()
    path = project.sources.schema_dir / "shadow.sql"
    project.execute(f"CREATE ROLE {quote(name)}")
    try:
        path.write_text(f"CREATE ROLE {quote(name)};")
        with pytest.raises(MonarchError, match=r"shadow.sql failed .*already exists") as caught:
            project.generate()
        remedy = caught.value.remedy
        path.write_text(remedy[remedy.index("DO $$") :])
        assert project.generate().revisions
    finally:
        project.execute(f"DROP ROLE {quote(name)}")


def test_the_folder_of_revisions_keeps_no_trace_of_running_them(project: Project) -> None:
    write_chain(project, ("CREATE TABLE t ()", "DROP TABLE t"))
    project.apply()
    project.revert("base")
    assert [path.suffix for path in project.versions.iterdir()] == [".py"]
