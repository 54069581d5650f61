"""Edits by hand: what a model could declare is refused, what none can is carried (DESIGN section 5)."""

from __future__ import annotations

import secrets

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.checks import sources_covered
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.status import read_status
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import SMALL_MODELS, Project


@pytest.mark.parametrize(
    ("statement", "back", "told"),
    [
        (
            "ALTER TABLE landing.note ADD extra int",
            "ALTER TABLE landing.note DROP extra",
            "column extra is in no model",
        ),
        (
            "ALTER TABLE landing.note ALTER body DROP NOT NULL",
            "ALTER TABLE landing.note ALTER body SET NOT NULL",
            "column body is text, the model declares text NOT NULL",
        ),
        ("CREATE INDEX i ON landing.note (body)", "DROP INDEX landing.i", "index i is in no model"),
        ("CREATE TABLE landing.more ()", "DROP TABLE landing.more", "table landing.more: the table is in no model"),
    ],
    ids=["a column", "a null", "an index", "a table"],
)
def test_what_a_model_could_declare_and_does_not_is_refused_with_file_and_relation(
    project: Project, statement: str, back: str, told: str
) -> None:
    item = project.generate().revisions[0]
    text = item.path.read_text()
    edited = text.replace("\n\n\ndef downgrade", f"\n    {sql(statement)}\n\n\ndef downgrade")
    item.path.write_text(edited.replace("def downgrade() -> None:\n", f"def downgrade() -> None:\n    {sql(back)}\n"))
    with pytest.raises(MonarchError) as caught:
        project.apply()
    assert f"{item.path.name}: table landing." in caught.value.message
    assert told in caught.value.message
    assert "Declare it in the model" in caught.value.remedy
    assert project.facts().relations == {}


def test_what_a_revision_does_and_the_sources_do_not_say_is_to_be_declared_and_not_generated(project: Project) -> None:
    first = project.generate().head
    write_revision(
        project.versions,
        "hand",
        first,
        up=sql("ALTER TABLE landing.note ADD extra int"),
        back=sql("ALTER TABLE landing.note DROP extra"),
    )
    situation = Situation(project.prover, None)
    found = sources_covered(situation)
    assert found.stored == "revisions ahead of the sources"
    assert "2025_01_01_0000-hand_.py: table landing.note: column extra is integer, declared nowhere" in found.remedy
    assert "Declare it in the models" in found.remedy
    status = read_status(project.sources, lambda: project.shadows, project.target)
    assert (status.sources_covered, len(status.undeclared)) == (False, 1)
    assert "column extra" in project.generate(dry_run=True).warnings[-1]
    # What the models say and no revision does yet is the other way round.
    project.write_models(SMALL_MODELS + "    extra: Mapped[int | None]\n    more: Mapped[int | None]\n")
    assert sources_covered(situation).stored == "sources ahead of the revisions"


def test_what_is_declared_as_well_is_no_contradiction(project: Project) -> None:
    project.generate()
    models = SMALL_MODELS + "    extra: Mapped[int | None] = mapped_column(Integer)\n"
    statements = (sql("ALTER TABLE landing.note ADD extra int"), sql("ALTER TABLE landing.note DROP extra"))
    write_revision(project.versions, "hand", project.chain().head, up=statements[0], back=statements[1])
    project.write_models(models)
    project.apply()
    assert project.generate().revisions == ()


def test_what_no_model_can_declare_is_carried_also_through_later_revisions_of_its_table(project: Project) -> None:
    first = project.generate().head
    up = sql(
        "CREATE FUNCTION landing.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        "CREATE TRIGGER touch BEFORE UPDATE ON landing.note FOR EACH ROW EXECUTE FUNCTION landing.touch()",
        "CREATE POLICY own ON landing.note USING (id > 0)",
        "ALTER TABLE landing.note ENABLE ROW LEVEL SECURITY",
        "CREATE STATISTICS landing.stats ON id, body FROM landing.note",
    )
    back = sql(
        "DROP STATISTICS landing.stats",
        "ALTER TABLE landing.note DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own ON landing.note",
        "DROP FUNCTION landing.touch CASCADE",
    )
    write_revision(project.versions, "hand", first, up=up, back=back)
    project.apply()
    attached = {"trigger touch", "policy own", "row security", "statistics stats"}
    assert attached <= project.facts().relations["table landing.note"].keys()
    assert project.generate().revisions == ()
    project.write_models(SMALL_MODELS.replace("mapped_column(Text)", "mapped_column(String(80), index=True)"))
    assert project.generate().revisions
    project.apply()
    table = project.facts().relations["table landing.note"]
    assert attached <= table.keys()
    assert table["column body"] == "character varying(80) NOT NULL"
    assert "function landing.touch()" in project.facts().relations
    assert project.generate().revisions == ()
    project.revert(str(first))
    assert not attached & project.facts().relations["table landing.note"].keys()


def test_where_a_carried_object_is_in_the_way_the_error_names_it(project: Project) -> None:
    policy = ("CREATE POLICY own ON landing.note USING (body <> 'hidden')", "DROP POLICY own ON landing.note")
    write_revision(project.versions, "hand", project.generate().head, up=sql(policy[0]), back=sql(policy[1]))
    project.write_models(SMALL_MODELS.replace("(Text)", "(String(80))"))
    with pytest.raises(MonarchError, match=r"policy own on table landing\.note depends on column"):
        project.generate()
    assert project.chain().head == "hand"


def test_a_grant_finds_its_role_in_shadow_sql(project: Project) -> None:
    role = f"reader_{secrets.token_hex(4)}"
    grant = (f"GRANT SELECT ON landing.note TO {role}", f"REVOKE ALL ON landing.note FROM {role}")
    first = project.generate().head
    write_revision(project.versions, "hand", first, up=sql(grant[0]), back=sql(grant[1]))
    with pytest.raises(MonarchError, match=f'does not run on a shadow.*role "{role}" does not exist'):
        project.apply()
    exists = f"SELECT FROM pg_roles WHERE rolname = '{role}'"
    (project.sources.schema_dir / "shadow.sql").write_text(
        f"DO $$ BEGIN IF NOT EXISTS ({exists}) THEN CREATE ROLE {role}; END IF; END $$"
    )
    # Roles are shared by the databases of the server, which here is the target's too.
    assert project.apply().after == "hand"
    assert project.execute(f"SELECT has_table_privilege('{role}', 'landing.note', 'SELECT')") == [(True,)]
    assert project.generate().revisions == ()
    project.revert(str(first))
