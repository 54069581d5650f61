"""Sources, chain, servers broken between two generations: a right answer or a named error, never a wrong revision."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.broken import MORE, applies, refused
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import Project


def test_a_file_deleted_in_the_middle_is_named(grown: Project) -> None:
    _, second, third = grown.chain().revisions
    second.path.unlink()
    error = refused(grown, f"revises {second.revision}, but no file")
    assert str(third.path) in error.message
    with pytest.raises(MonarchError, match=f"revises {second.revision}"):
        grown.apply()


def test_the_first_file_deleted_is_named(grown: Project) -> None:
    first = grown.chain().revisions[0]
    first.path.unlink()
    refused(grown, f"revises {first.revision}, but no file")


def test_the_last_file_deleted_is_generated_again_as_it_was(grown: Project) -> None:
    last = grown.chain().revisions[-1]
    text = last.path.read_text()
    grown.apply()
    last.path.unlink()
    (again,) = grown.generate(message="three").revisions
    assert (again.revision, again.text) == (last.revision, text)
    # The target holds it already.
    assert grown.apply().applied == ()


def test_the_last_file_deleted_and_another_one_generated_leaves_a_target_that_is_refused(grown: Project) -> None:
    grown.apply()
    last = grown.chain().revisions[-1]
    last.path.unlink()
    grown.write_models(MORE.replace("extra", "other"))
    grown.generate()
    with pytest.raises(MonarchError, match=f"1 revision applied that no file in .* has: {last.revision}"):
        grown.apply()


def test_a_last_file_by_hand_that_is_deleted_is_nothing_to_generate(grown: Project) -> None:
    path = write_revision(grown.versions, "hand", grown.chain().head, up=sql("CREATE SEQUENCE public.q"), back="pass")
    path.unlink()
    assert grown.generate().revisions == ()


def test_all_files_deleted_is_an_empty_chain_and_all_is_generated(grown: Project) -> None:
    shutil.rmtree(grown.versions)
    assert len(grown.generate().revisions) == 1
    applies(grown)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda project: project.write_models(""), "declare no table"),
        (lambda project: (project.root / "client_models.py").write_text(""), "declare no table"),
        (lambda project: (project.root / "client_models.py").unlink(), "client_models"),
        (lambda project: project.write_models("class Note(Base"), "SyntaxError"),
        (lambda project: project.sources.object_meta_path.unlink(), r"There is no .*object_meta\.json"),
        (lambda project: project.sources.object_meta_path.write_text("{}"), r"object_meta\.json"),
        (lambda project: project.sources.object_meta_path.write_text(""), r"object_meta\.json"),
        (lambda project: project.sources.object_meta_path.write_text('{"objects": {"Acc'), r"object_meta\.json"),
        (lambda project: project.sources.object_meta_path.write_bytes(b"\xff\xfe{}"), r"object_meta\.json"),
    ],
    ids=[
        "a model emptied",
        "an empty models file",
        "no models file",
        "half a models file",
        "no object_meta.json",
        "an object without keys",
        "an empty file",
        "half a file",
        "not UTF-8",
    ],
)
def test_a_source_that_is_not_there_drops_nothing(
    grown: Project, spoil: Callable[[Project], object], told: str
) -> None:
    spoil(grown)
    refused(grown, told)


def test_the_last_object_taken_out_by_a_person_is_dropped_with_a_hazard(grown: Project) -> None:
    grown.write_meta({})
    (item,) = grown.generate().revisions
    assert "data_loss salesforce.account: the table is dropped" in item.text


def test_a_table_that_a_person_takes_out_of_the_model_is_dropped_with_a_hazard(grown: Project) -> None:
    grown.write_models(
        'Table("other", Base.metadata, Column("id", Integer, primary_key=True), schema="landing")\n',
    )
    hazards = [str(hazard) for item in grown.generate().revisions for hazard in item.hazards]
    assert any(hazard.startswith("data_loss landing.note: the table is dropped") for hazard in hazards)


def edit(project: Project, number: int, old: str, new: str) -> Path:
    path = project.chain().revisions[number].path
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_revision_edited_without_effect_changes_nothing(grown: Project) -> None:
    edit(grown, 0, "def upgrade() -> None:\n", "def upgrade() -> None:\n    # Read twice.\n")
    assert grown.generate().revisions == ()
    applies(grown)


def test_what_an_edited_revision_does_otherwise_is_told_by_the_next(grown: Project) -> None:
    edit(grown, 1, "length=80", "length=70")
    (item,) = grown.generate().revisions
    assert "VARCHAR(80)" in item.upgrade_sql
    assert grown.generate().revisions == ()


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ("def upgrade() -> None:\n    raise RuntimeError('not yet')\n", "RuntimeError: not yet"),
        ("def upgrade() -> None:\n    op.drop_table('nothing')\n", 'table "nothing" does not exist'),
        ("def upgrade( -> None:\n", "is not valid Python"),
        ("def upgraded() -> None:\n", "chain cannot be replayed"),
    ],
)
def test_an_edited_revision_that_does_not_run_is_named(grown: Project, new: str, told: str) -> None:
    edit(grown, 1, "def upgrade() -> None:\n", new)
    refused(grown, told)


def test_an_edited_down_revision_is_two_heads_or_a_ring(grown: Project) -> None:
    first, second, third = grown.chain().revisions
    edit(grown, 2, f"down_revision = '{second.revision}'", f"down_revision = '{first.revision}'")
    refused(grown, "2 heads")
    third.path.write_text(third.path.read_text().replace(f"'{first.revision}'", f"'{third.revision}'"))
    refused(grown, "lead back to themselves")


@pytest.mark.parametrize("name", ["notes.txt", ".draft.py", "__init__.py"])
def test_a_stray_file_that_is_no_revision_says_nothing(grown: Project, name: str) -> None:
    (grown.versions / name).write_text("whatever {")
    assert grown.generate().revisions == ()
    (grown.versions / "__pycache__").mkdir()
    assert grown.generate().revisions == ()


def test_a_stray_file_that_looks_like_a_revision_is_named(grown: Project) -> None:
    path = grown.versions / "helpers.py"
    path.write_text("import os\n")
    refused(grown, r"helpers\.py does not say its revision")
    path.unlink()
    first = grown.chain().revisions[0]
    path.write_bytes(first.path.read_bytes())
    refused(grown, rf"{first.revision} stands in 2 files: .*helpers\.py")
