"""Where the registry cannot be kept: what is told, and that all stays as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from monarch_dagster.migrations.registering import behind
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.quoting import quote
from monarch_dagster.salesforce.object_meta import read_object_meta
from monarch_dagster_tests.migrations.registries import (
    NAME,
    OBJECTS,
    build,
    edited,
    keep,
    labels,
    next_transaction,
    versions,
)
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


@pytest.fixture
def role(registered: Project) -> Iterator[str]:
    """A role that may do nothing, with a name that needs quotes."""
    name = f'Reader "{registered.target.database}"'
    quoted = quote(name)
    registered.execute(f"CREATE ROLE {quoted} LOGIN")
    yield name
    registered.execute(f"DROP OWNED BY {quoted}; DROP ROLE {quoted}")


@contextmanager
def acting_as(project: Project, role: str) -> Iterator[None]:
    target, project.target = project.target, project.target.set(username=role)
    try:
        yield
    finally:
        project.target = target


def statements(told: str) -> list[str]:
    """Return the statements that a message names."""
    return re.findall(r"GRANT .*?;", told)


@pytest.mark.parametrize("locked", [True, False])
def test_a_role_that_may_not_write_is_told_the_statements_that_let_it(
    registered: Project, role: str, locked: bool
) -> None:
    registered.write_meta(edited(label="Firm"))
    with acting_as(registered, role):
        denied = keep(registered, locked=locked)
    assert "permission denied for schema utilities" in denied.failed
    usage, rights = statements(denied.failed)
    assert usage == f"GRANT USAGE ON SCHEMA utilities TO {quote(role)};"
    registered.execute(usage)
    with acting_as(registered, role):
        denied = keep(registered, locked=locked)
    assert "permission denied for table" in denied.failed
    assert statements(denied.failed) == [rights]
    registered.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA utilities TO {quote(role)}")
    with acting_as(registered, role):
        denied = keep(registered, locked=locked)
    assert "permission denied for table field_registry" in denied.failed
    assert statements(denied.failed) == [rights]
    assert labels(registered)["Account.Name"] == "Name"
    registered.execute(rights)
    with acting_as(registered, role):
        assert keep(registered, locked=locked).told == "1 object, 3 fields (1 written)"


def test_what_a_role_is_refused_that_lacks_no_right_is_not_told_as_a_grant(registered: Project, role: str) -> None:
    registered.execute(f"GRANT USAGE ON SCHEMA utilities TO {quote(role)}")
    registered.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA utilities TO {quote(role)}")
    registered.execute("ALTER TABLE utilities.field_registry ENABLE ROW LEVEL SECURITY")
    with acting_as(registered, role):
        denied = keep(registered)
    assert "row-level security" in denied.failed
    assert statements(denied.failed) == []


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


def stale(project: Project) -> str:
    """Return what the status says of the registry."""
    return behind(project.sources, project.target, read_object_meta(project.sources.object_meta_path))


def test_a_registry_that_differs_from_the_file_is_told_with_what_registers_again(registered: Project) -> None:
    assert stale(registered) == ""
    objects = edited(label="Firm")
    registered.execute("ALTER TABLE salesforce.account DROP npsp__level__c")
    registered.write_meta(objects)
    before, transaction = versions(registered), next_transaction(registered)
    assert stale(registered) == (
        "The registry of objects and fields (utilities) differs from object_meta.json by 2 rows: "
        "`monarch run-migrations` registers again, also where nothing is pending."
    )
    assert next_transaction(registered) == transaction
    assert versions(registered) == before
    keep(registered)
    assert stale(registered) == ""


def test_a_role_that_could_not_keep_the_registry_is_named_with_what_it_lacks(registered: Project, role: str) -> None:
    with acting_as(registered, role):
        told = stale(registered)
    assert "could not be compared with object_meta.json: permission denied for schema utilities" in told
    usage, rights = statements(told)
    registered.execute(usage)
    registered.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA utilities TO {quote(role)}")
    with acting_as(registered, role):
        assert stale(registered) == ""
        registered.write_meta(edited(label="Firm"))
        told = stale(registered)
    assert f"differs from object_meta.json by 1 row, and {quote(role)} may not write it. Have the owner run: " in told
    assert statements(told) == [rights]
    assert "\n" not in told


def test_a_target_without_a_registry_is_not_behind_and_one_of_an_older_form_is(registered: Project) -> None:
    registered.execute("ALTER TABLE utilities.field_registry DROP relationship_name")
    assert "is not kept: utilities.field_registry has not the columns of a registry (relationship_name)." in stale(
        registered
    )
    registered.execute("DROP TABLE utilities.object_registry, utilities.field_registry")
    assert stale(registered) == ""
    # Somebody's own.
    registered.execute("CREATE TABLE utilities.object_registry (provider text, mine int)")
    assert stale(registered) == ""


def test_a_file_that_is_gone_is_told_while_the_registry_has_rows(registered: Project) -> None:
    registered.sources.object_meta_path.unlink()
    assert "is not kept: object_meta.json is not there" in stale(registered)
    registered.execute("DELETE FROM utilities.object_registry")
    assert stale(registered) == ""


def test_a_table_that_somebody_holds_keeps_no_status_waiting(
    registered: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monarch_dagster.migrations.registering.LOCK_TIMEOUT_SECONDS", 1)
    with connect(registered.target) as other:
        other.exec_driver_sql("LOCK TABLE utilities.field_registry")
        assert "another session holds a lock" in stale(registered)
