"""How a run fails: a message for people, nothing that a retry would mend, and no secret anywhere."""

from __future__ import annotations

import dagster as dg
import pytest
from dagster._serdes import serialize_value

from monarch_dagster.defs.resources import failing_clearly
from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.sample_org.running import RunningOrg
from monarch_dagster_tests.defs.support import checked, description, reported, run
from monarch_dagster_tests.support import Project

PASSWORD = "s3cret-of-the-warehouse"


def events(instance: dg.DagsterInstance) -> str:
    """Return all that the instance knows of all runs: the runs themselves, their events and their logs."""
    runs = instance.get_runs()
    records = [record for run in runs for record in instance.all_logs(run.run_id)]
    return "\n".join(serialize_value(item) for item in [*runs, *records])


def test_a_failed_step_tells_what_to_do_without_a_stack_trace_and_is_not_retried(
    here: Project, instance: dg.DagsterInstance
) -> None:
    here.write_models("raise RuntimeError('half an edit')")
    result = run(instance, "generate_migrations")
    message = description(result)
    assert "half an edit" in message
    assert "What to do: Correct the models; nothing was generated." in message
    assert "Traceback" not in message
    with pytest.raises(dg.Failure) as caught, failing_clearly():
        raise MonarchError("anything")
    assert caught.value.allow_retries is False


def test_what_comes_after_a_failed_step_does_not_run(here: Project, instance: dg.DagsterInstance) -> None:
    here.generate()
    here.write_models("raise RuntimeError('half an edit')")
    result = run(instance, "setup_provider_schema", {"generate": True})
    assert set(reported(result)) == {"object_meta"}
    assert checked(result) == {}
    assert here.facts().tables() == set()


def test_a_setting_that_cannot_be_used_fails_the_step_and_names_its_variable(
    here: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONARCH_DATABASE_URL", "mysql://here/there")
    here.generate()
    message = description(run(instance, "run_migrations"))
    assert "MONARCH_DATABASE_URL names a mysql database" in message


def test_a_target_out_of_reach_fails_the_run_and_its_password_stays_out_of_the_history(
    here: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONARCH_DATABASE_URL", f"postgresql://monarch:{PASSWORD}@127.0.0.1:1/warehouse")
    here.generate()
    assert "warehouse on 127.0.0.1:1" in description(run(instance, "run_migrations"))
    assert PASSWORD not in events(instance)


def test_a_run_that_generates_survives_a_target_out_of_reach_and_its_checks_say_so(
    here: Project, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONARCH_DATABASE_URL", f"postgresql://monarch:{PASSWORD}@127.0.0.1:1/warehouse")
    result = run(instance, "generate_migrations")
    assert result.success
    assert len(here.chain().revisions) == 1
    passed = {name for name, passed in checked(result).items() if passed}
    assert passed == {"revision_chain_unbroken", "sources_covered"}
    assert PASSWORD not in events(instance)


def test_no_secret_of_the_org_is_in_the_history(
    here: Project, org: RunningOrg, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(instance, "setup_provider_schema", {"fetch": True, "generate": True}).success
    monkeypatch.setenv("SALESFORCE_CONSUMER_SECRET", "a-wrong-" + PASSWORD)
    assert not run(instance, "fetch_object_meta").success
    history = events(instance)
    assert "Account" in history
    for secret in (org.credentials.consumer_secret, org.credentials.consumer_key, PASSWORD, "Bearer "):
        assert secret not in history
