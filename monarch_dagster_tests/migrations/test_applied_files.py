"""Files of revisions that a target has applied: gone, edited, generated anew, or in another folder."""

from __future__ import annotations

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.adopt import adopt
from monarch_dagster.migrations.beside import files_to_mend
from monarch_dagster_tests.migrations.standing import change_comment, delete, failing, problems
from monarch_dagster_tests.support import Project


def test_nothing_is_taken_back_for_a_schema_folder_that_is_not_there(
    project: Project, applied: tuple[str, str]
) -> None:
    project.sources.schema_dir.rename(project.root / "elsewhere")
    with pytest.raises(MonarchError, match=r"The schema folder .* does not exist") as caught:
        project.revert("base")
    assert "MONARCH_SCHEMA_DIR" in caught.value.remedy
    assert project.facts().tables() == {"landing.note", "landing.memo"}


def test_who_generates_is_told_of_applied_files_that_are_to_be_mended_first(
    project: Project, applied: tuple[str, str]
) -> None:
    assert files_to_mend(project.chain(), project.target) == ""
    delete(1)(project)
    assert f"no file in {project.versions} has: {applied[1]}" in files_to_mend(project.chain(), project.target)
    assert files_to_mend(project.chain(), project.target.set(database="none")) == ""


def test_a_deleted_revision_that_is_generated_anew_under_another_name_is_the_applied_one(
    project: Project, applied: tuple[str, str]
) -> None:
    delete(1)(project)
    assert project.generate(message="another name").head == applied[1]
    assert failing(project) == {}


def test_adopting_clears_what_only_reads_differently(project: Project, applied: tuple[str, str]) -> None:
    change_comment(project)
    assert failing(project).keys() == {"applied_files_unchanged"}
    adopt(project.chain(), project.target, project.shadows)
    assert failing(project) == {}


def test_an_applied_file_that_is_not_python_is_there_all_the_same(project: Project, applied: tuple[str, str]) -> None:
    path = project.chain().revisions[1].path
    path.write_text(path.read_text() + "def\n")
    found = failing(project)
    assert "is not valid Python" in found["revision_chain_unbroken"]
    assert not any("no file" in text or "revert" in text for text in (*found.values(), problems(project)))


def test_a_deleted_applied_revision_is_taken_back_by_the_text_in_the_ledger(
    project: Project, applied: tuple[str, str]
) -> None:
    first, second = applied
    delete(1)(project)
    result = project.revert(first)
    assert result.after == first
    assert project.facts().tables() == {"landing.note"}
    assert failing(project).keys() == {"sources_covered"}
    # A script may name again what it has taken back.
    for names in ([second], [f"{first}:{second}"]):
        assert project.revert(first, allow_data_loss=names).applied == ()
    with pytest.raises(MonarchError, match="no revision 'typo'"):
        project.revert(first, allow_data_loss=["typo"])


@pytest.mark.parametrize("name", ["-1", "typo", "''"])
def test_a_name_that_is_none_of_the_applied_revisions_is_told_with_those_that_are(
    project: Project, applied: tuple[str, str], name: str
) -> None:
    with pytest.raises(MonarchError, match=f"it has {applied[0]}, {applied[1]}"):
        project.revert(name)
    with pytest.raises(MonarchError, match="There is no revision") as caught:
        project.apply(to=name)
    assert "by its id, or the start of it" in caught.value.remedy
