"""A generated revision is sent as its transcript, in few round trips, and does what Alembic makes of its file."""

from __future__ import annotations

import zlib

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.memo import Memo
from monarch_dagster.migrations import transcribe
from monarch_dagster.migrations.apply import apply_revisions
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.transcribe import transcript
from monarch_dagster.migrations.transcript import BATCH_LENGTH, PARAGRAPHS, Transcript, batches
from monarch_dagster_tests.migrations.support import Alembic
from monarch_dagster_tests.support import SMALL_MODELS, Project, account

MANY = "".join(
    f"""
class Note{number}(Base):
    __tablename__ = "note{number}"
    __table_args__ = {{"schema": "landing", "comment": "50% of :x and 'y'"}}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    body = mapped_column(Text, index=True, server_default="a;\\n--b")
"""
    for number in range(PARAGRAPHS + 5)
)

LETTERS = "Enum('a', 'b', name='letter', schema='landing')"
ALIKE = "from sqlalchemy.dialects import postgresql\n" + "".join(
    f"""
class Typed{number}(Base):
    __tablename__ = "typed{number}"
    __table_args__ = {{"schema": "landing"}}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    letter = mapped_column({LETTERS})
    letters = mapped_column(postgresql.ARRAY({LETTERS}))
    texts = mapped_column(postgresql.ARRAY(String(3)), server_default="{{}}")
    price = mapped_column(Numeric(5, 2))
    at = mapped_column(postgresql.TIMESTAMP(timezone=True, precision=3))
    done = mapped_column(Boolean, server_default=text("false"))
"""
    for number in range(3)
)


def has_transcript(project: Project) -> bool:
    (*_, item) = project.chain().revisions
    return transcript(item, item.path.read_text(), Memo()) is not None


@pytest.mark.parametrize(
    "models", [SMALL_MODELS, MANY, ALIKE], ids=["one table", "more than run at a time", "types that are alike"]
)
def test_what_is_sent_comes_to_what_alembic_makes_of_the_file(project: Project, alembic: Alembic, models: str) -> None:
    project.write_models(models)
    project.write_meta(account(Code__c={"type": "string", "length": 40, "externalId": True, "unique": True}))
    project.generate()
    assert has_transcript(project)
    project.apply()
    sent = project.dump()
    project.revert("base")
    alembic.run("upgrade", "head")
    assert project.dump() == sent
    alembic.run("downgrade", "base")
    project.apply()
    assert project.dump() == sent


def test_the_ledger_has_the_statements_and_the_file(project: Project) -> None:
    project.generate()
    project.apply()
    (row,) = project.execute("SELECT sql, body FROM alembic.revision_ledger")
    assert "CREATE TABLE landing.note" in zlib.decompress(row.sql).decode()
    assert "op.create_table" in zlib.decompress(row.body).decode()


def test_what_a_person_edited_has_none_and_runs_as_it_is_written(project: Project) -> None:
    (revision,) = project.generate().revisions
    text = revision.path.read_text()
    revision.path.write_text(
        text.replace("    op.create_table(", "    assert op.get_bind().info is not None\n    op.create_table(", 1)
    )
    assert not has_transcript(project)
    project.apply()
    assert read_target(project.target).version == revision.revision


def test_a_tab_for_which_alembic_writes_spaces_stays_one(project: Project) -> None:
    project.write_models(SMALL_MODELS.replace("mapped_column(Text)", 'mapped_column(Text, comment="a\\tb")'))
    project.generate()
    assert not has_transcript(project)
    project.apply()
    ((comment,),) = project.execute("SELECT col_description('landing.note'::regclass, 2)")
    assert comment == "a\tb"


def test_what_runs_outside_of_a_transaction_has_none(project: Project) -> None:
    project.generate()
    project.write_models(SMALL_MODELS.replace("mapped_column(Text)", "mapped_column(Text, index=True)"))
    project.generate()
    assert "autocommit_block" in project.chain().revisions[-1].path.read_text()
    assert not has_transcript(project)


def test_an_error_names_the_statement_as_alembic_would(project: Project, alembic: Alembic) -> None:
    project.write_models(MANY)
    project.generate()
    project.execute("CREATE SCHEMA landing")
    project.execute("CREATE TABLE landing.note7 ()")
    with pytest.raises(MonarchError, match=r'relation "note7" already exists') as caught:
        project.apply()
    assert "in: CREATE TABLE landing.note7 (" in str(caught.value)
    assert 'relation "note7" already exists' in alembic.run("upgrade", "head", code=255)


def test_a_file_that_changed_since_it_was_read_is_refused(project: Project) -> None:
    (revision,) = project.generate().revisions
    chain = project.chain()
    revision.path.write_text(revision.path.read_text() + "# later\n")
    with pytest.raises(MonarchError, match="was changed"):
        apply_revisions(chain, project.target, project.prover)
    assert read_target(project.target).version is None


def test_a_kept_one_is_not_found_out_again(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.generate()
    (item,) = project.chain().revisions
    text, memo = item.path.read_text(), Memo(project.root / "memo")
    first = transcript(item, text, memo)
    monkeypatch.setattr(transcribe.runner, "statements", None)
    assert transcript(item, text, memo) == first


def test_tables_come_in_few_round_trips_and_what_may_wait_in_its_own() -> None:
    creating = [f"CREATE TABLE t{number} ()" for number in range(50)]
    statements = [
        *creating,
        "ALTER TABLE u ADD COLUMN a text",
        "ALTER TABLE v ADD COLUMN a text",
        "COMMENT ON TABLE u IS ''",
    ]
    assert list(batches(statements, together=False)) == [creating, *([item] for item in statements[50:])]
    assert list(batches(statements, together=True)) == [statements]
    assert list(batches([], together=True)) == []
    long = ["CREATE TABLE " + "x" * BATCH_LENGTH] * 3
    assert list(batches(long, together=False)) == [[item] for item in long]


@pytest.mark.parametrize(
    ("statements", "made"),
    [
        (["CREATE SCHEMA IF NOT EXISTS s", "CREATE TABLE s.t (\n\ta INTEGER\n)"], {"table s.t"}),
        (['CREATE TABLE "S"."a ""b" (\n\ta INTEGER\n)'], {'table S.a "b'}),
        (
            ["CREATE TABLE s.t (a int)", "CREATE UNIQUE INDEX i ON s.t (a)", "COMMENT ON TABLE s.t IS 'x'"],
            {"table s.t"},
        ),
        (["CREATE TABLE s.t (a int)", "COMMENT ON COLUMN s.t.a IS 'x'"], {"table s.t"}),
        (["CREATE TABLE s.t (a int)", "CREATE INDEX i ON s.other (a)"], None),
        (["CREATE TABLE s.t (a int)", "COMMENT ON COLUMN s.other.a IS 'x'"], None),
        (["CREATE TABLE s.t PARTITION OF s.other DEFAULT"], None),
        (["CREATE TABLE s.t (a int)", "ALTER TABLE s.other ADD COLUMN a int"], None),
        (["CREATE TABLE t (a int)"], None),
        (["DROP TABLE s.t"], None),
    ],
)
def test_what_makes_tables_and_nothing_else_says_which(statements: list[str], made: set[str] | None) -> None:
    assert Transcript("", tuple(statements), ()).makes(is_upgrade=True) == made
    assert Transcript("", (), tuple(statements)).makes(is_upgrade=False) == made


def test_what_an_event_trigger_makes_of_it_is_recorded_too(project: Project) -> None:
    project.execute(
        """
        CREATE SCHEMA landing;
        CREATE FUNCTION public.more() RETURNS event_trigger LANGUAGE plpgsql AS
            $$ BEGIN
                IF to_regclass('landing.note') IS NOT NULL AND to_regclass('landing.audit') IS NULL THEN
                    CREATE TABLE landing.audit (a int);
                END IF;
            END $$;
        CREATE EVENT TRIGGER more ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.more();
        """
    )
    project.generate()
    project.apply()
    recorded = {row.relation for row in project.execute("SELECT relation FROM alembic.facts_hash")}
    assert {"table landing.note", "table landing.audit"} <= recorded
