"""Running a job from the command line: in the history that the UI shows, with messages for people."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest

from monarch_dagster.defs.dead_runs import process_tags
from monarch_dagster.defs.running import open_instance, run_job
from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import Interrupted
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.locks import APPLY_LOCK, LOCK_CLASS
from monarch_dagster.settings import Settings
from monarch_dagster_tests.support import Project


def test_what_the_assets_and_checks_report_comes_back_as_plain_values(here: Project) -> None:
    here.generate()
    result = run_job(Settings.load(), "setup_provider_schema", {})
    assert list(result.assets) == ["object_meta", "revision_files", "schema_state"]
    assert result.assets["schema_state"]["revision_after"] == here.chain().head
    assert result.checks["alembic_version_at_head"]["passed"] is True
    json.dumps([dict(result.assets), dict(result.checks)])


def test_a_failed_step_is_an_error_with_its_message_and_a_failed_run(here: Project) -> None:
    with pytest.raises(MonarchError, match="no revision was named") as caught:
        run_job(Settings.load(), "revert_migrations", {})
    assert "What to do" not in caught.value.message
    assert caught.value.remedy.startswith("Name one")
    with open_instance(Settings.load()) as instance:
        (run,) = instance.get_runs(dg.RunsFilter(job_name="revert_migrations"), limit=1)
        assert run.status is dg.DagsterRunStatus.FAILURE
        assert run.tags["monarch/command"] == "revert_migrations"
        assert process_tags(run.run_id).items() <= run.tags.items()


def test_a_home_that_cannot_be_made_is_named(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (here.root / "file").write_text("")
    monkeypatch.setenv("MONARCH_HOME", str(here.root / "file" / "home"))
    with pytest.raises(MonarchError, match=r"no place for its files: .*/file/home.*: Not a directory") as caught:
        run_job(Settings.load(), "run_migrations", {})
    assert "MONARCH_HOME" in caught.value.remedy


def test_an_unexpected_error_points_to_the_ui(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("monarch_dagster.migrations.apply.apply_revisions", broken)
    with pytest.raises(MonarchError, match="failed unexpectedly: ZeroDivisionError: a defect") as caught:
        run_job(Settings.load(), "run_migrations", {})
    assert "monarch dev" in caught.value.remedy


def test_an_interrupted_step_is_an_interrupt_and_a_failed_run(here: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt = "monarch_dagster.migrations.apply.apply_revisions"
    monkeypatch.setattr(interrupt, lambda *_, **__: signal.raise_signal(signal.SIGINT))
    with pytest.raises(Interrupted):
        run_job(Settings.load(), "run_migrations", {})
    with open_instance(Settings.load()) as instance:
        (run,) = instance.get_runs(limit=1)
        assert run.status is dg.DagsterRunStatus.FAILURE


@pytest.mark.soak
def test_a_storage_out_of_reach_is_told_without_a_stack_trace_or_the_password(here: Project) -> None:
    done = here.monarch(
        "run-migrations", code=1, DAGSTER_POSTGRES_URL="postgresql://dagster:hunter2@127.0.0.1:1/dagster"
    )
    assert "Dagster's storage could not be opened" in done.stderr
    assert "DAGSTER_POSTGRES_URL" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.soak
def test_a_storage_that_goes_away_during_a_run_is_told_without_a_stack_trace(
    here: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"dagster_{secrets.token_hex(6)}"
    with connect(here.shadows.url, autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
        url = here.shadows.url.set(database=name).render_as_string(hide_password=False)
        monkeypatch.setenv("DAGSTER_POSTGRES_URL", url)
        monkeypatch.setattr(
            "monarch_dagster.migrations.apply.apply_revisions",
            lambda *_, **__: connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)"),
        )
        with pytest.raises(MonarchError, match="Dagster's storage went away during the run") as caught:
            run_job(Settings.load(), "run_migrations", {})
    assert "monarch status" in caught.value.remedy


@pytest.mark.soak
def test_ctrl_c_ends_the_command_at_once_and_leaves_no_run_that_seems_to_go_on(here: Project) -> None:
    here.generate()
    with connect(here.target, autocommit=True) as holder:
        holder.exec_driver_sql("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, APPLY_LOCK))
        process = subprocess.Popen(
            [sys.executable, "-m", "monarch_dagster", "run-migrations"],
            env=here.environment(),
            cwd=here.root,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        line = ""
        while "Waiting for the migration lock" not in line:
            line = process.stderr.readline()
            assert line, process.wait()
        started = time.monotonic()
        os.kill(process.pid, signal.SIGINT)
        _, rest = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Interrupted." in rest
    assert "Traceback" not in rest
    assert time.monotonic() - started < 10
    with open_instance(Settings.load()) as instance:
        (run,) = instance.get_runs(limit=1)
        assert run.job_name == "run_migrations"
        assert run.is_finished
    assert here.facts().tables() == set()
