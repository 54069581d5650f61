"""The sensor `salesforce_org`, off by default, over real HTTP; and what observing the sources tells."""

from __future__ import annotations

import dagster as dg
import pytest

from monarch_dagster.definitions import defs
from monarch_dagster.defs.provenance import of_version
from monarch_dagster.salesforce.sample_org.permissions import Hidden
from monarch_dagster.salesforce.sample_org.running import RunningOrg
from monarch_dagster_tests.defs.support import reported, run, run_asked_for, stale, tick
from monarch_dagster_tests.support import Project, account

SENSOR = "salesforce_org"


@pytest.fixture
def fetched(org: RunningOrg, here: Project, instance: dg.DagsterInstance) -> str:
    """The cursor of the sensor after a first fetch of the org."""
    assert run(instance, "fetch_object_meta").success
    return str(tick(instance, None, SENSOR).cursor)


def observed(instance: dg.DagsterInstance, source: str) -> str:
    """Return the data version of the last observation of a source."""
    (record,) = instance.fetch_observations(dg.AssetKey(source), limit=1).records
    tags = record.asset_observation.tags if record.asset_observation else {}
    return dict(tags or {})[next(iter(of_version("")))]


def observe(instance: dg.DagsterInstance, source: str) -> dg.ExecuteInProcessResult:
    """Observe a source as its button in the UI does."""
    job = defs.resolve_implicit_global_asset_job_def()
    return job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(source)], raise_on_error=False)


def test_it_is_off_until_a_person_turns_it_on() -> None:
    assert defs.resolve_sensor_def(SENSOR).default_status is dg.DefaultSensorStatus.STOPPED


def test_an_org_that_changed_is_fetched_once_and_a_change_back_again(
    org: RunningOrg, here: Project, instance: dg.DagsterInstance, fetched: str
) -> None:
    found = tick(instance, fetched, SENSOR)
    assert "has not changed" in str(found.skip_message)
    before = here.sources.object_meta_path.read_bytes()
    org.hide(Hidden(fields=("Account.Phone",)))
    found = tick(instance, found.cursor, SENSOR)
    assert here.sources.object_meta_path.read_bytes() == before  # a look writes nothing
    assert stale(instance) == {"object_meta": ["has a new dependency data version"]}
    assert run_asked_for(instance, found, SENSOR).success
    assert b'"missing": true' in here.sources.object_meta_path.read_bytes()
    assert stale(instance) == {}
    found = tick(instance, found.cursor, SENSOR)
    assert not found.run_requests
    org.hide(Hidden())
    found = tick(instance, found.cursor, SENSOR)
    assert run_asked_for(instance, found, SENSOR).success
    assert here.sources.object_meta_path.read_bytes() == before


def test_a_fetch_that_is_refused_is_a_skip_that_says_why(
    org: RunningOrg, here: Project, instance: dg.DagsterInstance, fetched: str
) -> None:
    org.hide(Hidden(fields=("*",)))
    found = tick(instance, fetched, SENSOR)
    assert not found.run_requests
    assert "Most likely the Salesforce user lost permissions" in str(found.skip_message)


def test_a_days_calls_are_not_used_up_by_looking(org: RunningOrg, instance: dg.DagsterInstance, fetched: str) -> None:
    org.limit_calls(1000, used=900)
    spent = org.calls
    found = tick(instance, fetched, SENSOR)
    assert not found.run_requests
    assert "SALESFORCE_MAX_API_USAGE" in str(found.skip_message)
    assert org.calls - spent <= 2


def test_without_a_login_the_tick_says_what_is_missing(here: Project, instance: dg.DagsterInstance) -> None:
    found = tick(instance, None, SENSOR)
    assert "No Salesforce login can be made" in str(found.skip_message)
    assert not found.asset_events


def test_while_a_run_goes_on_the_org_is_left_alone(org: RunningOrg, instance: dg.DagsterInstance, fetched: str) -> None:
    instance.create_run_for_job(defs.resolve_job_def("fetch_object_meta"), status=dg.DagsterRunStatus.STARTED)
    spent = org.calls
    assert "Waiting for fetch_object_meta" in str(tick(instance, fetched, SENSOR).skip_message)
    assert org.calls == spent


def test_observing_tells_a_version_of_the_content_and_writes_nothing(
    org: RunningOrg, here: Project, instance: dg.DagsterInstance, fetched: str
) -> None:
    before = here.sources.object_meta_path.read_bytes()
    for source in ("salesforce_org", "core_models", "live_schema"):
        assert observe(instance, source).success
        first = observed(instance, source)
        assert observe(instance, source).success
        assert observed(instance, source) == first
    first = observed(instance, "salesforce_org")
    org.hide(Hidden(fields=("Account.Phone",)))
    assert observe(instance, "salesforce_org").success
    assert observed(instance, "salesforce_org") != first
    assert here.sources.object_meta_path.read_bytes() == before


def test_a_change_by_hand_to_the_target_makes_the_schema_state_stale(
    here: Project, instance: dg.DagsterInstance
) -> None:
    here.write_meta(account(Note__c={"type": "string", "length": 9}))
    assert run(instance, "generate_migrations").success
    assert run(instance, "run_migrations").success
    assert observe(instance, "live_schema").success
    assert stale(instance) == {}
    here.execute("CREATE TABLE landing.theirs (x int)")
    assert observe(instance, "live_schema").success
    assert stale(instance) == {}  # what no revision made is nobody's concern
    here.execute("ALTER TABLE salesforce.account DROP COLUMN note__c")
    assert observe(instance, "live_schema").success
    assert stale(instance) == {"schema_state": ["has a new dependency data version"]}


def test_a_source_that_cannot_be_read_is_a_failed_observation_with_a_message(
    here: Project, instance: dg.DagsterInstance
) -> None:
    (here.root / "client_models.py").unlink()
    result = observe(instance, "core_models")
    assert not result.success
    (event,) = result.get_step_failure_events()
    data = event.step_failure_data.user_failure_data
    assert data is not None
    assert "There is no module 'client_models'" in str(data.description)


def test_revisions_that_wait_make_the_schema_state_stale_and_a_revert_too(
    here: Project, instance: dg.DagsterInstance
) -> None:
    assert run(instance, "generate_migrations").success
    assert run(instance, "setup_provider_schema").success
    assert stale(instance) == {}
    assert run(instance, "revert_migrations", {"target": "base"}).success
    assert list(stale(instance)) == ["schema_state"]
    assert reported(run(instance, "run_migrations", {"dry_run": True}))["schema_state"]["revision_after"] == "base"
    assert list(stale(instance)) == ["schema_state"]
    assert run(instance, "run_migrations").success
    assert stale(instance) == {}
