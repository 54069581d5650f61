"""Where the registry cannot be kept: what is told, and that all stays as it was."""

from __future__ import annotations

import pytest

from monarch_dagster.postgres.engines import connect
from monarch_dagster_tests.migrations.registries import NAME, OBJECTS, build, edited, keep, labels, versions
from monarch_dagster_tests.support import Project


def test_a_target_without_a_registry_is_passed_over(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    build(project, OBJECTS, registry=False)
    assert keep(project).told == "not kept: the target has no table utilities.object_registry"
    project.execute("CREATE SCHEMA utilities")
    for table in ("object_registry", "field_registry"):
        project.execute(f"CREATE TABLE utilities.{table} (provider text, mine int)")
    # Not even looked at.
    project.sources.object_meta_path.write_text("{")
    done = keep(project)
    assert done.told.startswith("not kept: utilities.object_registry has not the columns of a registry (api_name, ")
    assert (done.failed, caplog.messages) == ("", [])


@pytest.mark.parametrize("locked", [True, False])
def test_a_file_that_is_broken_or_gone_leaves_the_registry_and_warns(
    registered: Project, caplog: pytest.LogCaptureFixture, locked: bool
) -> None:
    before = versions(registered)
    path = registered.sources.object_meta_path
    path.write_text("{")
    assert "object_meta.json is not JSON" in keep(registered, locked=locked).failed
    path.unlink()
    assert "there is no " in keep(registered, locked=locked).failed
    assert versions(registered) == before
    assert len(caplog.messages) == 2
    assert all(text.startswith("The registry of objects and fields was not kept: ") for text in caplog.messages)
    assert all("What to do: " in text for text in caplog.messages)
    registered.execute("DELETE FROM utilities.object_registry")
    done = keep(registered, locked=locked)
    assert (done.skipped, done.failed) == ("there is no object_meta.json", "")


def test_a_role_that_may_not_write_is_told_what_to_grant(registered: Project) -> None:
    role = f"reader_{registered.target.database}"
    registered.execute(f"CREATE ROLE {role} LOGIN")
    target, registered.target = registered.target, registered.target.set(username=role)
    try:
        denied = keep(registered)
        assert "permission denied for schema utilities" in denied.failed
        registered.target = target
        registered.execute(f"GRANT USAGE ON SCHEMA utilities, salesforce TO {role}")
        registered.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA utilities TO {role}")
        registered.write_meta(edited(label="Firm"))
        registered.target = target.set(username=role)
        denied = keep(registered)
        assert "permission denied for table field_registry" in denied.failed
        assert "GRANT SELECT, INSERT, UPDATE, DELETE ON utilities.object_registry" in denied.failed
    finally:
        registered.target = target
        registered.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
    assert labels(registered)["Account.Name"] == "Name"


def test_a_table_that_somebody_holds_is_not_waited_for_long(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monarch_dagster.migrations.registering.LOCK_TIMEOUT_SECONDS", 1)
    registered.write_meta(edited(label="Firm"))
    with connect(registered.target) as other:
        other.exec_driver_sql("LOCK TABLE utilities.field_registry IN SHARE MODE")
        assert "another session holds a lock" in keep(registered).failed
    assert keep(registered).changed == 1


def test_a_row_that_is_in_the_way_is_named(registered: Project) -> None:
    registered.execute(
        "INSERT INTO utilities.object_registry (provider, api_name, schema_name, table_name, label) "
        "VALUES ('other', 'Lead', 'salesforce', 'lead', 'Theirs')"
    )
    registered.execute("CREATE TABLE salesforce.lead (id text)")
    objects = edited(label="Firm")
    registered.write_meta(objects | {"Lead": {"fields": [{"name": "Id"}]}})
    assert "uq_object_registry_schema_name_table_name" in keep(registered).failed
    # All of it or nothing.
    assert labels(registered)["Account.Name"] == NAME["label"]
