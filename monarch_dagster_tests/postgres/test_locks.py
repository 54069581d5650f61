"""The apply lock: one at a time for a target, and a message that names who holds it."""

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.locks import apply_lock
from monarch_dagster_tests.support import Project


def test_it_is_held_by_one_named_in_the_message_and_free_afterwards(project: Project) -> None:
    told: list[str] = []
    with apply_lock(project.target, told.append):
        with (
            pytest.raises(MonarchError, match="was not free within 0 seconds; it is held by monarch") as caught,
            apply_lock(project.target, told.append, wait_seconds=0),
        ):
            pass
        assert "pg_terminate_backend" in caught.value.remedy
    assert len(told) == 1
    with apply_lock(project.target, told.append, wait_seconds=0):
        pass
    assert len(told) == 1


def test_other_databases_and_other_advisory_locks_do_not_matter(project: Project, shadows_url: str) -> None:
    with (
        connect(project.target, autocommit=True) as other,
        apply_lock(project.shadows.url, str),
        apply_lock(project.target, str, wait_seconds=0),
    ):
        other.exec_driver_sql("SELECT pg_advisory_lock(1, 2), pg_advisory_lock(1)")


def test_it_goes_with_a_connection_that_is_lost(project: Project) -> None:
    end = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
    with apply_lock(project.target, str):
        project.execute(end)
        with apply_lock(project.target, str, wait_seconds=5):
            pass


@pytest.fixture
def shadows_url(project: Project) -> str:
    return str(project.shadows.url)
