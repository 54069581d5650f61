"""The asset checks on `schema_state`: pass and fail, with stored, expected and remedy; and when they run."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from monarch_dagster.definitions import defs
from monarch_dagster.defs.metadata import plain
from monarch_dagster_tests.defs.support import CHECKS, checked, run
from monarch_dagster_tests.support import SMALL_MODELS, Project

AT_HEAD, PRECEDES_NEXT = CHECKS
TWO_TABLES = SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')


def outcomes(instance: dg.DagsterInstance) -> dict[str, dict[str, Any]]:
    """Run the checks alone, as the UI can, and return what they found."""
    keys = frozenset(dg.AssetCheckKey(dg.AssetKey("schema_state"), name) for name in CHECKS)
    job = defs.resolve_implicit_global_asset_job_def().get_subset(
        asset_selection=frozenset(), asset_check_selection=keys
    )
    result = job.execute_in_process(instance=instance)
    return {
        item.check_name: {"passed": item.passed, "severity": item.severity.name, **plain(item.metadata)}
        for item in result.get_asset_check_evaluations()
    }


@pytest.fixture
def revision(here: Project) -> str:
    """The id of the one revision, which is not applied."""
    return str(here.generate().head)


def test_before_a_run_the_value_is_the_next_down_revision_and_after_it_the_head(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    before = outcomes(instance)
    assert before[PRECEDES_NEXT] == {
        "passed": True, "severity": "ERROR", "stored": "base", "expected": "base", "remedy": "none needed",
    }  # fmt: skip
    assert before[AT_HEAD]["passed"] is False
    assert before[AT_HEAD]["severity"] == "WARN"
    assert (before[AT_HEAD]["stored"], before[AT_HEAD]["expected"]) == ("base", revision)
    assert "monarch run-migrations" in before[AT_HEAD]["remedy"]
    here.apply()
    after = outcomes(instance)
    assert [after[name]["passed"] for name in CHECKS] == [True, True]
    assert after[AT_HEAD]["stored"] == revision


def test_a_version_that_no_file_has_fails_both(here: Project, instance: dg.DagsterInstance, revision: str) -> None:
    here.apply()
    here.execute("UPDATE alembic.alembic_version SET version_num = 'deadbeef'")
    found = outcomes(instance)
    for name in CHECKS:
        assert found[name]["passed"] is False
        assert found[name]["stored"] == "deadbeef"
        assert "No file has revision deadbeef" in found[name]["remedy"]


def test_several_stored_versions_fail_both(here: Project, instance: dg.DagsterInstance, revision: str) -> None:
    here.apply()
    here.execute("INSERT INTO alembic.alembic_version VALUES ('deadbeef')")
    found = outcomes(instance)
    for name in CHECKS:
        assert found[name]["passed"] is False
        assert "several rows" in found[name]["remedy"]


def test_two_heads_fail_both_and_name_them(here: Project, instance: dg.DagsterInstance, revision: str) -> None:
    text = here.chain().revisions[0].path.read_text()
    (here.versions / "other.py").write_text(text.replace(revision, "0123456789ab"))
    found = outcomes(instance)
    assert found[AT_HEAD]["expected"] == " and ".join(sorted(["0123456789ab", revision]))
    for name in CHECKS:
        assert found[name]["passed"] is False
        assert "2 heads" in found[name]["remedy"]


def test_a_revision_that_is_not_python_fails_both_and_names_the_file(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    here.chain().revisions[0].path.write_text("half an edit")
    found = outcomes(instance)
    for name in CHECKS:
        assert found[name]["passed"] is False
        assert "is not valid Python" in found[name]["remedy"]


def test_a_failed_check_leaves_its_run_a_success(here: Project, instance: dg.DagsterInstance, revision: str) -> None:
    result = run(instance, "generate_migrations")
    assert checked(result)[AT_HEAD] is False
    assert result.success


def test_a_target_that_cannot_be_read_fails_both(
    here: Project, instance: dg.DagsterInstance, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONARCH_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    found = outcomes(instance)
    for name in CHECKS:
        assert found[name]["passed"] is False
        assert found[name]["stored"] == "could not be read"
        assert "nowhere on 127.0.0.1:1" in found[name]["remedy"]


def test_in_a_run_they_look_after_the_revisions_were_applied(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    assert checked(run(instance, "run_migrations")) == {AT_HEAD: True, PRECEDES_NEXT: True}


def test_in_a_run_that_generates_they_look_after_the_revision_was_written(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    here.apply()
    here.write_models(TWO_TABLES)
    assert checked(run(instance, "generate_migrations")) == {AT_HEAD: False, PRECEDES_NEXT: True}
