"""A chain or a target that cannot be trusted: a named error, and nothing written."""

import re
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.support import SMALL_MODELS, Project, account

NAME = {"type": "string", "length": 255}


def revision_file(project: Project, revision: str, down: str | None, body: str = "pass") -> Path:
    """Write a revision by hand."""
    project.versions.mkdir(parents=True, exist_ok=True)
    path = project.versions / f"2026_01_01_0000-{revision}_.py"
    path.write_text(
        f'"""by hand"""\nfrom alembic import op\nrevision = {revision!r}\ndown_revision = {down!r}\n'
        f"def upgrade():\n    {body}\ndef downgrade():\n    pass\n"
    )
    return path


def refused(project: Project, expected: str) -> None:
    """Both commands that read the chain refuse, and the files stay as they are."""
    before = sorted((path, path.read_bytes()) for path in project.versions.glob("*.py"))
    with pytest.raises(MonarchError, match=expected):
        project.generate()
    with pytest.raises(MonarchError, match=expected):
        project.apply()
    assert sorted((path, path.read_bytes()) for path in project.versions.glob("*.py")) == before
    assert project.facts().relations == {}


def test_a_syntax_error_is_named_with_file_and_line(project: Project) -> None:
    path = revision_file(project, "aaaa", None, "op.execute(")
    refused(project, f"{re.escape(str(path))}, line")


def test_two_heads_are_named_with_their_files(project: Project) -> None:
    revision_file(project, "aaaa", None)
    one, two = revision_file(project, "bbbb", "aaaa"), revision_file(project, "cccc", "aaaa")
    refused(project, f"(?s)2 heads.*{one.name}.*{two.name}")


def test_one_id_in_two_files_names_both(project: Project) -> None:
    path = revision_file(project, "aaaa", None)
    path.with_name("copy.py").write_bytes(path.read_bytes())
    refused(project, r"aaaa stands in 2 files: .*copy\.py")


def test_a_missing_down_revision_is_named(project: Project) -> None:
    revision_file(project, "bbbb", "aaaa")
    refused(project, "revises aaaa, but no file")


def test_a_ring_is_named(project: Project) -> None:
    revision_file(project, "aaaa", "bbbb")
    revision_file(project, "bbbb", "aaaa")
    refused(project, "lead back to themselves")


def test_a_file_that_says_no_revision_is_named(project: Project) -> None:
    project.versions.mkdir(parents=True)
    (project.versions / "notes.py").write_text("x = 1\n")
    refused(project, r"notes\.py does not say its revision")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("raise ValueError('not today')", r"bbbb failed: ValueError: not today"),
        ("raise SystemExit(0)", r"failed: SystemExit: 0 \(.*bbbb.*, line \d+\)"),
        ("op.execute('CREATE TABLE landing.half (id int)'); op.execute('SELECT 1/0')", r"(?s)bbbb.*division by zero"),
        ("op.execute(\"SELECT nowhere('5 %')\")", r"(?s)nowhere.* does not exist.*in: SELECT nowhere\('5 %'\)"),
    ],
    ids=[
        "its code raises",
        "its code ends the process",
        "PostgreSQL refuses a statement",
        "a statement with a percent sign",
    ],
)
def test_a_revision_that_does_not_run_is_refused_before_anything_is_applied(
    project: Project, body: str, expected: str
) -> None:
    path = revision_file(project, "bbbb", project.generate().head, body)
    with pytest.raises(MonarchError, match=expected) as caught:
        project.apply()
    assert f"{path.name} does not run on a shadow (its upgrade)" in caught.value.message
    assert project.facts().relations == {}


def test_a_dry_run_of_code_that_asks_the_database_says_why_it_shows_no_sql(project: Project) -> None:
    revision_file(project, "bbbb", project.generate().head, "op.get_bind().exec_driver_sql('SELECT 1')")
    with pytest.raises(MonarchError, match=r"SQL of the code cannot be shown, since it asks the") as caught:
        project.apply(dry_run=True)
    assert "without a dry run" in caught.value.remedy
    assert project.apply().after == "bbbb"


def test_a_target_at_a_revision_that_no_file_has_is_refused(project: Project) -> None:
    project.generate()
    project.apply()
    project.execute("UPDATE alembic.alembic_version SET version_num = 'elsewhere'")
    with pytest.raises(MonarchError, match=r"is at elsewhere, but its ledger ends at"):
        project.apply()


def test_several_rows_in_alembic_version_are_refused(project: Project) -> None:
    project.generate()
    project.apply()
    project.execute("INSERT INTO alembic.alembic_version VALUES ('another')")
    with pytest.raises(MonarchError, match=r"holds 2 rows in alembic\.alembic_version"):
        project.apply()


def test_a_missing_object_meta_is_not_an_empty_one(project: Project) -> None:
    project.write_meta(account(Name=NAME))
    project.generate()
    project.sources.object_meta_path.unlink()
    with pytest.raises(MonarchError, match=r"There is no .*object_meta\.json, but the chain holds 1 table"):
        project.generate()


@pytest.mark.soak
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("class Broken(", r"do not import: SyntaxError"),
        ("import no_such_module", r"do not import: ModuleNotFoundError"),
        ("raise RuntimeError('early')", r"do not import: RuntimeError: early"),
        ("", r"declare no table"),
        ("Table('note', Base.metadata, Column('id', Integer))", r"names no schema"),
        (
            SMALL_MODELS + "\nTable('note', MetaData(), schema='landing')\nother = MetaData()\n"
            "Table('note', other, Column('id', Integer), schema='landing')",
            r"landing\.note is declared twice",
        ),
    ],
    ids=["syntax error", "missing import", "exception", "nothing declared", "no schema", "declared twice"],
)
def test_models_that_cannot_be_used_are_told_apart_and_nothing_is_generated(
    project: Project, body: str, expected: str
) -> None:
    project.generate()
    files = sorted(project.versions.iterdir())
    project.write_models(body)
    with pytest.raises(MonarchError, match=expected):
        project.generate()
    assert sorted(project.versions.iterdir()) == files
