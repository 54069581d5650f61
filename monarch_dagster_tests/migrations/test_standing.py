"""What can be wrong with a target is told apart, by status and check alike, each with what to do."""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.standing import change_code, change_comment, delete, failing, problems
from monarch_dagster_tests.migrations.support import Alembic, sql, write_revision
from monarch_dagster_tests.support import Project


def test_nothing_is_wrong_after_an_apply(project: Project, applied: tuple[str, str]) -> None:
    assert failing(project) == {}
    assert problems(project) == ""


def branch(project: Project) -> None:
    write_revision(project.versions, "other", project.chain().revisions[0].revision, up=sql("SELECT 1"))


def twin(project: Project) -> None:
    path = project.chain().revisions[1].path
    (path.parent / "twin.py").write_text(path.read_text())


def execute(statement: str) -> Callable[[Project], object]:
    return lambda project: project.execute(statement.format(first=project.chain().revisions[0].revision))


@dataclass
class Case:
    """What is done to a target at the second revision, and which checks say what of it."""

    does: Callable[[Project], object]
    checks: dict[str, str]
    told: str
    applies: bool = False


CASES = {
    "the version was updated": Case(
        execute("UPDATE alembic.alembic_version SET version_num = '{first}'"),
        {
            "ledger_agrees": "ERROR {first} | .* says in alembic.alembic_version that it is at {first}, but its "
            "ledger ends at {second}.*monarch adopt",
            "alembic_version_at_head": "WARN {first} | .*monarch adopt",
        },
        "its ledger ends at {second}",
    ),
    "the version is one that nobody knows": Case(
        execute("UPDATE alembic.alembic_version SET version_num = 'deadbeef'"),
        {
            "ledger_agrees": "ERROR deadbeef | .*ledger ends at {second}.*monarch adopt",
            "alembic_version_at_head": "WARN deadbeef |",
            "alembic_version_precedes_next": "ERROR deadbeef | .*monarch adopt",
        },
        "is at deadbeef",
    ),
    "the version was deleted": Case(
        execute("DELETE FROM alembic.alembic_version"),
        {
            "ledger_agrees": "ERROR base | .*ledger ends at {second}",
            "alembic_version_at_head": "WARN base | .*monarch adopt",
        },
        "is at base, but its ledger ends at {second}",
    ),
    "there are two versions": Case(
        execute("INSERT INTO alembic.alembic_version VALUES ('{first}')"),
        {
            "ledger_agrees": "ERROR .* and .* | .*holds 2 rows.*monarch adopt",
            "alembic_version_at_head": "WARN .* and .* |",
            "alembic_version_precedes_next": "ERROR .* and .* | .*monarch adopt",
        },
        "holds 2 rows",
    ),
    "there is no ledger": Case(
        execute("DROP TABLE alembic.revision_ledger; DROP TABLE alembic.facts_hash"),
        {"ledger_agrees": "ERROR {second} | .*its ledger says nothing.*monarch adopt"},
        "its ledger says nothing",
    ),
    "a column was added by hand": Case(
        execute("ALTER TABLE landing.note ADD by_hand int"),
        {"no_drift": "WARN table landing.note: column by_hand is extra .* | .*monarch adopt"},
        "column by_hand is extra",
        applies=True,
    ),
    "a column was changed by hand": Case(
        execute("ALTER TABLE landing.note ALTER body DROP NOT NULL"),
        {"no_drift": "ERROR table landing.note: column body is text, expected text NOT NULL | "},
        "column body is text",
        applies=True,
    ),
    "a table was dropped by hand": Case(
        execute("DROP TABLE landing.memo"),
        {"no_drift": "ERROR table landing.memo: the table is missing .* | "},
        "the table is missing",
        applies=True,
    ),
    "an applied file was changed": Case(
        change_code,
        {"applied_files_unchanged": "ERROR .*changed after it was applied .*what it does was edited | .*git log"},
        "what it does was edited",
    ),
    "a comment in an applied file was changed": Case(
        change_comment,
        {"applied_files_unchanged": "WARN .*changed after it was applied .*its comments or its header were edited |"},
        "its comments or its header were edited",
        applies=True,
    ),
    "the last file was deleted": Case(
        delete(1),
        {
            "ledger_agrees": "ERROR {second} | .*1 revision applied that no file in .* has: {second}.*"
            "monarch revert --to {first}",
            "alembic_version_at_head": "WARN {second} |",
            "alembic_version_precedes_next": "ERROR {second} | .*Bring the file back with git",
            "sources_covered": "WARN not what the target.*| .*no file (?!.*generate)",
        },
        "no file in .* has: {second}",
    ),
    "a file in between was deleted": Case(
        delete(0),
        {
            "revision_chain_unbroken": "ERROR .*revises {first}, but no file .* has that revision. | Bring the missing "
            "file back with git",
            "sources_covered": "ERROR could not be checked",
            "revisions_proved": "ERROR could not be checked",
            "tables_within_limits": "ERROR could not be checked",
            "ledger_agrees": "ERROR {second} | .*no file in .* has: {first}",
            "alembic_version_at_head": "WARN {second} | Bring the missing file back",
            "alembic_version_precedes_next": "ERROR {second} | Bring the missing file back",
        },
        "no file in .* has: {first}",
    ),
    "all files were deleted": Case(
        lambda project: shutil.rmtree(project.versions),
        {
            "ledger_agrees": "ERROR {second} | .*2 revisions applied that no file in .* has: {first}, {second}.*do "
            "MONARCH_SCHEMA_DIR and MONARCH_DATABASE_URL belong together",
            "alembic_version_at_head": "WARN {second} | (?!.*revert)",
            "alembic_version_precedes_next": "ERROR {second} | (?!.*revert)",
            "sources_covered": "WARN not what the target.*| .*no file (?!.*generate)",
        },
        "do MONARCH_SCHEMA_DIR and MONARCH_DATABASE_URL belong together",
    ),
    "the schema folder is another one": Case(
        lambda project: project.sources.schema_dir.rename(project.root / "elsewhere"),
        {
            "revision_chain_unbroken": "ERROR The schema folder .* does not exist.* | Set MONARCH_SCHEMA_DIR",
            "sources_covered": "ERROR could not be checked: The schema folder",
            "revisions_proved": "ERROR could not be checked: The schema folder",
            "tables_within_limits": "ERROR could not be checked: The schema folder",
            "ledger_agrees": "ERROR {second} | The schema folder .* does not exist.*Set MONARCH_SCHEMA_DIR",
            "alembic_version_at_head": "WARN {second} | Set MONARCH_SCHEMA_DIR",
            "alembic_version_precedes_next": "ERROR {second} | Set MONARCH_SCHEMA_DIR",
        },
        "The schema folder .* does not exist(?!.*revert)",
    ),
    "two revisions stand on one parent": Case(
        branch,
        {
            "revision_chain_unbroken": "ERROR The chain has 2 heads.* | .*monarch rebase",
            "sources_covered": "ERROR could not be checked",
            "revisions_proved": "ERROR could not be checked",
            "tables_within_limits": "ERROR could not be checked",
            "alembic_version_at_head": "WARN {second} | .*monarch rebase",
            "alembic_version_precedes_next": "ERROR {second} | .*monarch rebase",
        },
        "The chain has 2 heads",
    ),
    "one revision stands in two files": Case(
        twin,
        {
            "revision_chain_unbroken": "ERROR The revision {second} stands in 2 files: .*twin.py.* | .*monarch rebase",
            "sources_covered": "ERROR could not be checked",
            "revisions_proved": "ERROR could not be checked",
            "tables_within_limits": "ERROR could not be checked",
            "alembic_version_precedes_next": "ERROR {second} | .*monarch rebase",
        },
        "stands in 2 files",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_each_is_named_by_status_and_check_with_what_to_do(
    project: Project, applied: tuple[str, str], case: Case
) -> None:
    first, second = applied
    case.does(project)
    found = failing(project)
    assert found.keys() == case.checks.keys(), found
    for name, pattern in case.checks.items():
        expected = pattern.format(first=first, second=second).replace(" | ", r" \| ").replace(" |", r" \|")
        assert re.match(expected, found[name], re.DOTALL), found[name]
    assert re.search(case.told.format(first=first, second=second), problems(project))
    before = project.facts(), project.execute("SELECT * FROM alembic.alembic_version")
    if case.applies:
        project.apply()
    else:
        with pytest.raises(MonarchError):
            project.apply()
    assert (project.facts(), project.execute("SELECT * FROM alembic.alembic_version")) == before


def test_a_plain_stamp_is_told_when_it_is_done_and_by_the_checks(
    project: Project, applied: tuple[str, str], alembic: Alembic
) -> None:
    first, second = applied
    assert "Stamping changes alembic_version and nothing else" in alembic.run("stamp", first)
    assert f"its ledger ends at {second}" in failing(project)["ledger_agrees"]
    assert f"its ledger ends at {second}" in alembic.run("upgrade", "head", code=255)
    alembic.run("stamp", second)
    assert failing(project) == {}
