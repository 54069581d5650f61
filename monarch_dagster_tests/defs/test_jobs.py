"""The jobs end to end: what each does, and what it leaves alone."""

from __future__ import annotations

import os
import uuid

import dagster as dg
import pytest

from monarch_dagster.defs.assets import revision_files
from monarch_dagster.postgres.engines import connect
from monarch_dagster.salesforce.sample_org.running import RunningOrg
from monarch_dagster_tests.defs.support import checked, description, materialize, reported, run
from monarch_dagster_tests.support import SMALL_MODELS, Project

TWO_TABLES = SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')


def stored(project: Project) -> list[str]:
    if project.execute("SELECT to_regclass('alembic.alembic_version')")[0][0] is None:
        return []
    return [row[0] for row in project.execute("SELECT version_num FROM alembic.alembic_version")]


def files(project: Project) -> list[str]:
    return sorted(path.name for path in project.versions.glob("*.py"))


def empty_target(project: Project) -> None:
    with connect(project.shadows.url, autocommit=True) as connection:
        connection.exec_driver_sql(f'DROP DATABASE "{project.target.database}" WITH (FORCE)')
        connection.exec_driver_sql(f'CREATE DATABASE "{project.target.database}"')


@pytest.mark.soak
def test_a_first_and_a_local_installation_end_in_the_same_schema(
    here: Project, org: RunningOrg, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(instance, "setup_provider_schema", {"fetch": True, "generate": True})
    assert first.success
    told = reported(first)
    assert told["object_meta"]["objects"] == told["object_meta"]["objects_added"] > 10
    assert told["revision_files"]["revisions"] == stored(here)
    assert set(checked(first).values()) == {True}
    installed, written = here.dump(), files(here)
    assert {"salesforce.account", "landing.note"} <= here.facts().tables()

    empty_target(here)
    for name in [name for name in os.environ if name.startswith("SALESFORCE_")]:
        monkeypatch.delenv(name)
    local = run(instance, "setup_provider_schema")
    assert local.success
    assert reported(local)["object_meta"]["summary"] == "Not fetched; the file is used as it is."
    assert files(here) == written
    assert here.dump() == installed


def test_a_fetch_writes_the_named_objects_and_nothing_else(
    here: Project, org: RunningOrg, instance: dg.DagsterInstance
) -> None:
    result = run(instance, "fetch_object_meta", {"objects": ["Account"]})
    assert reported(result)["object_meta"]["changes"] == [
        {"change": "added", "name": "Account", "before": "", "after": "", "note": "45 fields"}
    ]
    assert [item.path for item in here.chain().revisions] == []
    assert stored(here) == []


def test_a_second_fetch_changes_no_byte_and_says_so(
    here: Project, org: RunningOrg, instance: dg.DagsterInstance
) -> None:
    run(instance, "fetch_object_meta")
    content = here.sources.object_meta_path.read_bytes()
    again = run(instance, "fetch_object_meta")
    assert here.sources.object_meta_path.read_bytes() == content
    assert "nothing changed" in reported(again)["object_meta"]["summary"]


def test_generating_writes_a_file_and_leaves_the_target_alone(here: Project, instance: dg.DagsterInstance) -> None:
    result = run(instance, "generate_migrations", {"message": "first tables"})
    (name,) = files(here)
    assert name.endswith("_first_tables.py")
    told = reported(result)["revision_files"]
    assert told["path"] == str(here.versions / name)
    assert "CREATE TABLE landing.note" in told["upgrade_sql"]
    assert "DROP TABLE landing.note" in told["downgrade_sql"]
    assert told["open_in_editor"][0].startswith(f"{here.versions / name}:")
    assert here.execute("SELECT count(*) FROM pg_namespace WHERE nspname IN ('landing', 'alembic')")[0][0] == 0


def test_a_dry_run_of_generating_shows_the_sql_and_writes_nothing(here: Project, instance: dg.DagsterInstance) -> None:
    result = run(instance, "generate_migrations", {"dry_run": True})
    assert "CREATE TABLE landing.note" in reported(result)["revision_files"]["upgrade_sql"]
    assert files(here) == []


def test_running_goes_to_the_named_revision_and_no_further(here: Project, instance: dg.DagsterInstance) -> None:
    first = str(here.generate().head)
    here.write_models(TWO_TABLES)
    second = str(here.generate().head)
    result = run(instance, "run_migrations", {"target": first[:6]})
    assert stored(here) == [first]
    assert [item["revision"] for item in reported(result)["schema_state"]["pending"]] == [second]
    assert [name for name, passed in checked(result).items() if not passed] == ["alembic_version_at_head"]
    assert reported(run(instance, "run_migrations"))["schema_state"]["revision_after"] == second


def test_running_from_another_version_than_expected_is_refused(here: Project, instance: dg.DagsterInstance) -> None:
    here.generate()
    message = description(run(instance, "run_migrations", {"expected_version": here.chain().head}))
    assert "The target is at base, expected" in message
    assert "What to do:" in message
    assert stored(here) == []
    assert run(instance, "run_migrations", {"expected_version": "base"}).success


def test_a_dry_run_of_running_shows_the_sql_and_runs_nothing(here: Project, instance: dg.DagsterInstance) -> None:
    here.generate()
    told = reported(run(instance, "run_migrations", {"dry_run": True}))["schema_state"]
    assert "CREATE TABLE landing.note" in told["sql"]
    assert told["summary"] == "Dry run: nothing was run. The target is at base, 1 revision pending."
    assert stored(here) == []


def test_stored_values_are_lost_only_by_name(here: Project, instance: dg.DagsterInstance) -> None:
    here.write_models(TWO_TABLES)
    here.generate()
    here.apply()
    here.execute("INSERT INTO landing.memo (body) VALUES ('kept')")
    here.write_models(SMALL_MODELS)
    last = str(here.generate().head)
    message = description(run(instance, "run_migrations"))
    assert "landing.memo: the table with 1 row" in message
    assert last in message
    assert here.execute("SELECT body FROM landing.memo") == [("kept",)]
    assert run(instance, "run_migrations", {"allow_data_loss": [last]}).success
    assert stored(here) == [last]


def test_reverting_needs_to_know_where_to(here: Project, instance: dg.DagsterInstance) -> None:
    first = str(here.generate().head)
    here.apply()
    assert "no revision was named" in description(run(instance, "revert_migrations"))
    assert stored(here) == [first]
    told = reported(run(instance, "revert_migrations", {"target": "base"}))["schema_state"]
    assert told["summary"] == f"1 revision reverted: {first} → base, 1 revision pending."
    assert here.facts().tables() == set()


def test_materialising_all_three_stops_before_a_revision_of_the_same_run(
    here: Project, org: RunningOrg, instance: dg.DagsterInstance
) -> None:
    first = str(here.generate().head)
    here.apply()
    result = materialize(instance)
    assert result.success
    (written,) = reported(result)["revision_files"]["revisions"]
    summary = reported(result)["schema_state"]["summary"]
    assert stored(here) == [first]
    assert "Written in this run and not applied; review" in summary
    assert written in summary
    assert materialize(instance, "schema_state").success
    assert stored(here) == [written]


def test_another_generation_in_between_does_not_let_the_revision_through(
    here: Project, instance: dg.DagsterInstance
) -> None:
    """`schema_state` asks what its own run wrote, not who generated last."""
    run_id = str(uuid.uuid4())

    def generate_elsewhere(event: dg.EventLogEntry, _cursor: str) -> None:
        if event.asset_materialization and event.asset_materialization.asset_key == revision_files.key:
            instance.report_runless_asset_event(dg.AssetMaterialization(revision_files.key))

    instance.watch_event_logs(run_id, None, generate_elsewhere)
    result = materialize(instance, config={"object_meta": {"fetch": False}}, run_id=run_id)
    latest = instance.get_latest_materialization_event(revision_files.key)
    assert latest is not None
    assert latest.run_id != run_id
    assert "not applied" in reported(result)["schema_state"]["summary"]
    assert stored(here) == []
