"""The asset checks: which asset they are on, what they show, and when they run. What each finds is tested with them."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest

from monarch_dagster.definitions import defs
from monarch_dagster.defs import checks as declared
from monarch_dagster.defs.metadata import plain
from monarch_dagster.migrations.checks import CHECKS, FILE_CHECKS, TARGET_CHECKS
from monarch_dagster_tests.defs.support import checked, run
from monarch_dagster_tests.support import SMALL_MODELS, Project

AT_HEAD, PRECEDES_NEXT = "alembic_version_at_head", "alembic_version_precedes_next"
TWO_TABLES = SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')


def outcomes(instance: dg.DagsterInstance, *names: str) -> dict[str, dict[str, Any]]:
    """Run checks alone, as the UI can, and return what they found; all of them by default."""
    graph = defs.resolve_asset_graph()
    keys = frozenset(key for key in graph.asset_check_keys if key.name in (names or CHECKS))
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


def test_each_check_of_the_domain_is_on_the_asset_that_it_is_about() -> None:
    keys = defs.resolve_asset_graph().asset_check_keys
    on = {name: {key.name for key in keys if key.asset_key == dg.AssetKey(name)} for name in ("revision_files",)}
    assert on["revision_files"] == FILE_CHECKS.keys() == declared.FILE_CHECKS.keys()
    assert {key.name for key in keys} - on["revision_files"] == TARGET_CHECKS.keys() == declared.TARGET_CHECKS.keys()


def test_before_a_run_the_value_is_the_next_down_revision_and_after_it_the_head(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    before = outcomes(instance)
    assert before.keys() == CHECKS.keys()
    assert before[PRECEDES_NEXT] == {
        "passed": True, "severity": "ERROR", "stored": "base", "expected": "base", "remedy": "none needed",
    }  # fmt: skip
    assert [name for name, found in before.items() if not found["passed"]] == [AT_HEAD]
    assert before[AT_HEAD]["severity"] == "WARN"
    assert (before[AT_HEAD]["stored"], before[AT_HEAD]["expected"]) == ("base", revision)
    assert "monarch run-migrations" in before[AT_HEAD]["remedy"]
    here.apply()
    after = outcomes(instance, AT_HEAD, PRECEDES_NEXT)
    assert {name: found["passed"] for name, found in after.items()} == {AT_HEAD: True, PRECEDES_NEXT: True}
    assert after[AT_HEAD]["stored"] == revision


def test_a_result_reads_as_a_sentence(here: Project, instance: dg.DagsterInstance, revision: str) -> None:
    result = run(instance, "run_migrations", {"dry_run": True})
    told = {item.check_name: item.description for item in result.get_asset_check_evaluations()}
    assert told["revisions_reversible"] == "1 revision reversible, as expected"
    assert told[AT_HEAD] == f"stored base, expected {revision}"


def test_what_is_wrong_shows_stored_expected_and_remedy(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    here.apply()
    here.execute("UPDATE alembic.alembic_version SET version_num = 'deadbeef'")
    found = outcomes(instance, "ledger_agrees")["ledger_agrees"]
    assert (found["passed"], found["severity"], found["stored"], found["expected"]) == (
        False, "ERROR", "deadbeef", revision,
    )  # fmt: skip
    assert "monarch adopt" in found["remedy"]


def test_a_revision_that_is_not_python_fails_and_names_the_file(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    here.chain().revisions[0].path.write_text("half an edit")
    found = outcomes(instance, "revision_chain_unbroken", "sources_covered", PRECEDES_NEXT)
    assert [item["passed"] for item in found.values()] == [False, False, False]
    assert "is not valid Python" in found["revision_chain_unbroken"]["stored"]


def test_a_failed_check_leaves_its_run_a_success(here: Project, instance: dg.DagsterInstance, revision: str) -> None:
    result = run(instance, "generate_migrations")
    assert checked(result)[AT_HEAD] is False
    assert result.success


def test_a_target_that_cannot_be_read_fails_what_needs_it_and_not_the_files(
    here: Project, instance: dg.DagsterInstance, revision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONARCH_DATABASE_URL", "postgresql://127.0.0.1:1/nowhere")
    found = outcomes(instance)
    assert {name for name, item in found.items() if item["passed"]} == {"revision_chain_unbroken", "sources_covered"}
    for name in (AT_HEAD, PRECEDES_NEXT, "ledger_agrees", "no_drift"):
        assert "nowhere on 127.0.0.1:1" in found[name]["stored"]
        assert "MONARCH_DATABASE_URL" in found[name]["remedy"]


def test_in_a_run_they_look_after_the_revisions_were_applied(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    assert checked(run(instance, "run_migrations")) == dict.fromkeys(TARGET_CHECKS, True)


def test_in_a_run_that_generates_they_look_after_the_revision_was_written(
    here: Project, instance: dg.DagsterInstance, revision: str
) -> None:
    here.apply()
    here.write_models(TWO_TABLES)
    found = checked(run(instance, "generate_migrations"))
    assert found.keys() == CHECKS.keys()
    assert [name for name, passed in found.items() if not passed] == [AT_HEAD]
