"""What a proof shows and what it refuses: with the relation, what was expected and found, and nothing changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.memo import Memo
from monarch_dagster.migrations.compose import Draft
from monarch_dagster.migrations.hazards import REWRITE
from monarch_dagster.migrations.prove import Proved, prove_drafts
from monarch_dagster.migrations.replay import chain_clone, chain_facts
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import Project

NOTES = "INSERT INTO landing.note (body) VALUES ('one'), ('two')"
INDEX = "CREATE INDEX by_hand ON landing.note (body)"


@pytest.fixture
def applied(project: Project) -> Project:
    """A project with its first revision applied, and two rows in its table."""
    project.generate()
    project.apply()
    project.execute(NOTES)
    return project


def by_hand(project: Project, up: str, back: str = "pass", doc: str = "by hand") -> Path:
    """Write a revision `hand` behind the head."""
    return write_revision(project.versions, "hand", project.chain().head, up=up, back=back, doc=doc)


def refusal(project: Project) -> MonarchError:
    """Applying is refused; the target, the files and the proofs are as they were."""

    def state() -> object:
        files = [path for folder in (project.versions, project.root / ".monarch") for path in folder.rglob("*")]
        rows = project.execute("SELECT id, body FROM landing.note ORDER BY id")
        version = project.execute("SELECT version_num FROM alembic.alembic_version")
        return project.facts(), rows, version, sorted((path, path.stat().st_mtime_ns) for path in files)

    before = state()
    with pytest.raises(MonarchError) as caught:
        project.apply()
    assert state() == before
    assert caught.value.remedy
    return caught.value


def test_a_downgrade_that_does_not_restore_is_refused(applied: Project) -> None:
    path = by_hand(applied, sql("CREATE FUNCTION landing.f() RETURNS int LANGUAGE sql AS 'SELECT 1'"))
    error = refusal(applied)
    assert f"{path.name} does not restore what was before; after its downgrade on a shadow" in error.message
    assert "function landing.f" in error.message
    assert "is extra (found: there)" in error.message
    assert path.name in error.remedy


def test_a_downgrade_that_takes_more_than_the_upgrade_gave_is_refused(applied: Project) -> None:
    by_hand(applied, "pass", sql("ALTER TABLE landing.note ALTER body DROP NOT NULL"))
    assert "table landing.note: column body is text, expected text NOT NULL" in refusal(applied).message


def test_a_second_upgrade_that_comes_to_something_else_is_refused(applied: Project) -> None:
    # A function is left behind where no facts are read, and the second run meets it.
    up = (
        "if op.get_bind().exec_driver_sql(\"SELECT to_regproc('public.been_here')\").scalar() is None:\n"
        f"    {sql('CREATE FUNCTION public.been_here() RETURNS int LANGUAGE sql RETURN 1')}\n"
        f"    {sql(INDEX)}\n"
        "else:\n"
        f"    {sql(INDEX.replace('(body)', '(body DESC)'))}"
    )
    path = by_hand(applied, up, sql("DROP INDEX landing.by_hand"))
    error = refusal(applied)
    assert f"{path.name} does not do all that the sources ask for; after its second upgrade" in error.message
    assert "table landing.note: index by_hand is CREATE INDEX by_hand ON landing.note USING btree (body DESC)" in (
        error.message
    )
    assert "expected CREATE INDEX by_hand ON landing.note USING btree (body)" in error.message


@pytest.mark.parametrize(
    ("up", "told"),
    [
        ("DELETE FROM landing.note", "rows none left"),
        ("TRUNCATE landing.note", "rows none left"),
        ("DELETE FROM landing.note WHERE ctid = (SELECT min(ctid) FROM landing.note)", "left"),
    ],
)
def test_a_revision_that_deletes_rows_of_a_table_it_keeps_is_refused(applied: Project, up: str, told: str) -> None:
    path = by_hand(applied, sql(up))
    error = refusal(applied)
    assert f"{path.name} loses rows or values of what it keeps; after its upgrade on a shadow" in error.message
    assert "landing.note: of " in error.message
    assert told in error.message


def test_rows_that_only_the_downgrade_deletes_are_missed_as_well(applied: Project) -> None:
    by_hand(applied, "pass", sql("DELETE FROM landing.note"))
    assert "after its downgrade on a shadow" in refusal(applied).message


def test_a_table_that_is_written_anew_must_be_declared_and_the_line_is_in_the_message(applied: Project) -> None:
    up, back = (sql(f"ALTER TABLE landing.note SET {how}") for how in ("UNLOGGED", "LOGGED"))
    path = by_hand(applied, up, back)
    # Declared in the model too, so that only the hazard is missing.
    models = (applied.root / "client_models.py").read_text()
    (applied.root / "client_models.py").write_text(
        models.replace('{"schema": "landing"}', '{"schema": "landing", "prefixes": ["UNLOGGED"]}')
    )
    error = refusal(applied)
    assert f"{path.name} writes tables anew" in error.message
    (line,) = (line.strip() for line in error.message.splitlines() if "Hazard: " in line)
    assert line.startswith(f"Hazard: {REWRITE} landing.note: ")
    path.write_text(path.read_text().replace("by hand\n", f"by hand\n\n{line}\n", 1))
    assert applied.apply().after == "hand"
    assert [item.kind for item in applied.chain().revisions[-1].hazards] == [REWRITE]
    assert applied.execute("SELECT count(*) FROM landing.note") == [(2,)]


@pytest.mark.parametrize(
    ("up", "back", "told"),
    [
        ("CREATE TABLE nowhere.t ()", "", "its upgrade"),
        ("SELECT 1", "DROP TABLE landing.nothing", "its downgrade"),
        ("CREATE TABLE IF NOT EXISTS public.once (); CREATE TABLE public.twice ()", "SELECT 1", "its second upgrade"),
    ],
)
def test_a_leg_that_does_not_run_on_a_shadow_is_named(applied: Project, up: str, back: str, told: str) -> None:
    path = by_hand(applied, sql(up), sql(back) if back else "pass")
    error = refusal(applied)
    assert f"{path.name} does not run on a shadow ({told})" in error.message
    assert "nothing was applied" in error.remedy


def test_a_function_that_is_missing_is_named(applied: Project) -> None:
    path = by_hand(applied, "pass")
    path.write_text(path.read_text().partition("def downgrade")[0])
    assert f"{path.name} does not run on a shadow (its downgrade). The revision has no function downgrade()" in (
        refusal(applied).message
    )


def test_the_first_of_two_revisions_is_not_applied_where_the_second_does_not_prove(applied: Project) -> None:
    first = applied.chain().head
    write_revision(applied.versions, "good", first, up=sql(INDEX), back=sql("DROP INDEX landing.by_hand"))
    write_revision(applied.versions, "bad", "good", up=sql("DELETE FROM landing.note"))
    assert "bad" in refusal(applied).message


def test_a_revision_that_cannot_be_taken_back_is_proved_upwards_applied_and_says_why(applied: Project) -> None:
    back = (
        "from monarch_dagster.errors import IrreversibleRevision\n"
        'raise IrreversibleRevision("The bodies were hashed.", remedy="Restore a backup.")'
    )
    by_hand(applied, sql("UPDATE landing.note SET body = md5(body)"), back)
    (hazard,) = applied.chain().revisions[-1].hazards
    assert (hazard.kind, hazard.object) == ("irreversible", "hand")
    assert applied.apply().unproved == ()
    assert applied.execute("SELECT max(length(body)) FROM landing.note") == [(32,)]
    first = str(applied.chain().revisions[0].revision)
    with pytest.raises(MonarchError, match=r"The bodies were hashed\.") as caught:
        applied.revert(first)
    assert caught.value.remedy == "Restore a backup."
    assert applied.execute("SELECT version_num FROM alembic.alembic_version") == [("hand",)]


def test_what_an_irreversible_revision_does_is_proved_all_the_same(applied: Project) -> None:
    back = 'from monarch_dagster.errors import IrreversibleRevision\nraise IrreversibleRevision("No.")'
    by_hand(applied, sql("DELETE FROM landing.note"), back)
    assert "loses rows" in refusal(applied).message


def test_a_data_fix_in_an_empty_revision_is_proved_and_applied(applied: Project) -> None:
    item = applied.generate(empty=True, message="trim bodies").revisions[0]
    fix = "UPDATE landing.note SET body = upper(body)"
    item.path.write_text(item.path.read_text().replace("    pass", f"    {sql(fix)}", 1))
    assert applied.apply().after == item.revision
    assert applied.execute("SELECT body FROM landing.note ORDER BY id") == [("ONE",), ("TWO",)]
    assert applied.generate().revisions == ()


INSERT = sql("INSERT INTO landing.note (body) VALUES ('seed')")


def test_rows_that_a_data_fix_puts_in_may_be_taken_out_by_its_downgrade(applied: Project) -> None:
    by_hand(applied, INSERT, sql("DELETE FROM landing.note WHERE body = 'seed'"))
    assert applied.apply().after == "hand"
    assert applied.execute("SELECT body FROM landing.note ORDER BY id") == [("one",), ("two",), ("seed",)]


def test_a_downgrade_that_takes_out_more_rows_than_its_data_fix_put_in_is_refused(applied: Project) -> None:
    by_hand(applied, INSERT, sql("DELETE FROM landing.note"))
    assert "rows none left" in refusal(applied).message


def drafted(project: Project, change: str) -> Draft:
    """Have a column proposed without writing it; return it as a draft whose text `change` was put into."""
    models = project.root / "client_models.py"
    models.write_text(models.read_text() + "    extra: Mapped[str | None] = mapped_column(Text)\n")
    item = project.generate(dry_run=True).revisions[0]
    with chain_clone(project.shadows, project.chain(), project.chain().head) as url:
        here = chain_facts(url)
    table = dict(here.relations["table landing.note"]) | {"column extra": "text"}
    end = replace(here, relations={**here.relations, "table landing.note": table})
    text = item.text.replace("def upgrade() -> None:\n", f"def upgrade() -> None:\n    {change}\n")
    return Draft(item.revision, item.down_revision, text, item.hazards, end, "proposal", 1, "")


def prove(project: Project, draft: Draft) -> list[Proved]:
    with chain_clone(project.shadows, project.chain(), project.chain().head) as url:
        return prove_drafts(url, [draft], chain_facts(url), Memo())


def test_generated_operations_that_do_what_they_are_to_do_are_proved(applied: Project) -> None:
    draft = drafted(applied, "pass")
    (proved,) = prove(applied, draft)
    assert "ALTER TABLE landing.note ADD COLUMN extra TEXT" in proved.upgrade_sql
    assert "ALTER TABLE landing.note DROP COLUMN extra" in proved.downgrade_sql
    assert proved.seconds > 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("return", r"table landing\.note: column extra is missing \(expected: text\)"),
        (sql("CREATE TABLE landing.more ()"), r"table landing\.more: the table is extra"),
        (sql("CREATE TABLE IF NOT EXISTS landing.more ()"), r"table landing\.more: the table is extra"),
        (sql("ALTER TABLE landing.note ALTER body TYPE varchar(90)"), r"column body is character varying\(90\)"),
        (sql("DELETE FROM landing.note"), r"(?s)loses rows or values.*landing\.note: of "),
        (sql("UPDATE landing.note SET body = ''"), r"landing\.note\.body: of .* lost or changed"),
        (sql("CREATE INDEX i ON landing.note (nothing)"), r'column "nothing" does not exist'),
    ],
    ids=[
        "misses it",
        "adds a table",
        "adds a table once",
        "changes a column",
        "deletes rows",
        "changes values",
        "does not run",
    ],
)
def test_generated_operations_that_do_anything_else_are_refused_by_name(
    applied: Project, change: str, told: str
) -> None:
    draft = drafted(applied, change)
    with pytest.raises(MonarchError, match=told) as caught:
        prove(applied, draft)
    assert caught.value.message.startswith("The generated revision ")
    assert "--empty" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (sql("CREATE TABLE IF NOT EXISTS landing.more ()"), r"table landing\.more: the table is extra"),
        (sql("DROP FUNCTION IF EXISTS landing.one()"), r"function landing\.one\(\): the function is missing"),
    ],
    ids=["adds a table", "drops a function"],
)
def test_what_a_downgrade_does_elsewhere_is_told_though_the_upgrade_leaves_it_alone(
    applied: Project, change: str, told: str
) -> None:
    function = sql("CREATE FUNCTION landing.one() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    write_revision(applied.versions, "func", applied.chain().head, up=function, back=sql("DROP FUNCTION landing.one()"))
    draft = drafted(applied, "pass")
    text = draft.text.replace("def downgrade() -> None:\n", f"def downgrade() -> None:\n    {change}\n")
    with pytest.raises(MonarchError, match=told):
        prove(applied, replace(draft, text=text))


def test_a_rewrite_that_generated_operations_do_not_tell_is_refused(applied: Project) -> None:
    draft = drafted(applied, sql("ALTER TABLE landing.note ALTER body TYPE text USING body || ''"))
    with pytest.raises(MonarchError, match=r"writes tables anew.*does not say"):
        prove(applied, draft)
