"""What a header tells beyond the upgrade's own tables: downgrades, referred tables, functions; and what people say."""

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.support import sql
from monarch_dagster_tests.support import SMALL_MODELS, Project

RENAMED = '{"schema": "landing", "info": {"renamed_from": "note"}}'
CHILD = """
class Child(Base):
    __tablename__ = "child"
    __table_args__ = {"schema": "landing"}
    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    note_id: Mapped[int] = mapped_column(ForeignKey("landing.note.id"))
"""


@pytest.fixture
def applied(project: Project) -> Project:
    project.generate()
    project.apply()
    return project


def hazards(project: Project) -> set[str]:
    """Have a change proposed; return its hazards."""
    proposal = project.generate()
    assert project.generate().revisions == ()
    return {str(hazard) for item in proposal.revisions for hazard in item.hazards}


def test_a_table_that_is_renamed_and_written_anew_is_declared_by_its_new_name(applied: Project) -> None:
    applied.execute("INSERT INTO landing.note (body) VALUES ('7')")
    renamed = SMALL_MODELS.replace('"note"', '"memo"').replace('{"schema": "landing"}', RENAMED)
    applied.write_models(renamed.replace("mapped_column(Text)", "mapped_column(Integer)"))
    assert {
        "rewrite landing.memo.body: from text to integer",
        "conversion landing.memo.body: retyped from text to integer; values that do not fit stop it",
    } <= hazards(applied)
    applied.apply()
    assert applied.execute("SELECT body FROM landing.memo") == [(7,)]


def test_a_required_column_that_is_dropped_cannot_come_back_to_rows(applied: Project) -> None:
    applied.write_models(SMALL_MODELS.replace("    body: Mapped[str] = mapped_column(Text)\n", ""))
    told = hazards(applied)
    assert "data_loss landing.note.body: the column is dropped with its values" in told
    assert any(item.startswith("irreversible landing.note.body: it is NOT NULL") for item in told)


def test_dropping_a_table_locks_those_that_it_refers_to(applied: Project) -> None:
    applied.write_models(SMALL_MODELS + CHILD)
    applied.generate()
    applied.write_models(SMALL_MODELS)
    assert "lock landing.note: ACCESS EXCLUSIVE briefly; readers and writers wait" in hazards(applied)


def test_a_function_that_says_a_name_which_is_renamed_is_named(applied: Project) -> None:
    item = applied.generate(empty=True, message="touch").revisions[0]
    body = "BEGIN NEW.body := ''; RETURN NEW; END"
    up = f"CREATE FUNCTION landing.touch() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$"
    text = item.path.read_text().replace("    pass", f"    {sql(up)}", 1)
    item.path.write_text(text.replace("    pass", f"    {sql('DROP FUNCTION landing.touch()')}", 1))
    applied.write_models(
        SMALL_MODELS.replace(
            "body: Mapped[str] = mapped_column(Text)",
            'told: Mapped[str] = mapped_column(Text, info={"renamed_from": "body"})',
        )
    )
    assert "carried landing.touch(): its text says body, which is renamed" in hazards(applied)


def test_rows_that_a_person_deletes_on_purpose_are_said_in_the_header_and_named_at_the_run(applied: Project) -> None:
    applied.execute("INSERT INTO landing.note (body) VALUES ('a'), ('a')")
    item = applied.generate(empty=True, message="thin out").revisions[0]
    path = item.path
    path.write_text(path.read_text().replace("    pass", f"    {sql('DELETE FROM landing.note')}", 1))
    with pytest.raises(MonarchError, match=r"Hazard: data_loss landing\.note: why"):
        applied.apply()
    path.write_text(path.read_text().replace("Hazard: none", "Hazard: data_loss landing.note: doubles"))
    with pytest.raises(MonarchError, match=r"landing\.note: 2 rows"):
        applied.apply()
    assert applied.execute("SELECT count(*) FROM landing.note") == [(2,)]
    applied.apply(allow_data_loss=[item.revision])
    assert applied.execute("SELECT count(*) FROM landing.note") == [(0,)]


def test_a_row_without_a_value_stops_not_null_and_the_error_says_which_column_to_fill(applied: Project) -> None:
    optional = SMALL_MODELS + "    title: Mapped[str | None] = mapped_column(Text)\n"
    applied.write_models(optional)
    applied.generate()
    applied.apply()
    applied.execute("INSERT INTO landing.note (body) VALUES ('x')")
    applied.write_models(optional.replace("Mapped[str | None]", "Mapped[str]"))
    applied.generate()
    with pytest.raises(MonarchError) as caught:
        applied.apply()
    assert "Give title a value in the rows of landing.note where it is null" in caught.value.remedy
    applied.execute("UPDATE landing.note SET title = 'x'")
    applied.apply()
    assert applied.facts().relations["table landing.note"]["column title"] == "text NOT NULL"
    assert not any("monarch_" in aspect for aspect in applied.facts().relations["table landing.note"])


def test_the_revisions_of_a_proposal_are_listed_in_their_order(applied: Project) -> None:
    applied.write_models(SMALL_MODELS + "    code: Mapped[str | None] = mapped_column(Text, unique=True)\n")
    proposal = applied.generate(message="many")
    names = [item.path.name for item in proposal.revisions]
    assert len(names) > 1
    assert names == sorted(names)
