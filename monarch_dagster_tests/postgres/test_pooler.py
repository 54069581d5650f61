"""Poolers: a target behind one that hands sessions around is refused, one that is read through it is read rightly."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from sqlalchemy import URL, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.postgres.engines import connect, reading, snapshot
from monarch_dagster.postgres.pooler import CLIENTS, check_direct
from monarch_dagster.schema.facts import read_facts
from monarch_dagster_tests.postgres.debian import PASSWORD, database_on, pgbouncer
from monarch_dagster_tests.support import Project

SCHEMA = """
CREATE SCHEMA landing;
CREATE TYPE landing.mood AS ENUM ('sad', 'happy');
CREATE TABLE landing.note (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    mood landing.mood DEFAULT 'sad',
    written timestamptz DEFAULT '2025-01-01Z'
);
CREATE VIEW landing.happy AS SELECT id FROM landing.note WHERE mood = 'happy';
CREATE SCHEMA alembic;
CREATE TABLE alembic.alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic.alembic_version VALUES ('0123456789ab');
"""


@pytest.fixture
def migrated(debian: URL) -> Iterator[URL]:
    """A database on Debian's server with a few relations and the version of a revision."""
    with database_on(debian) as url:
        with connect(url, autocommit=True) as connection:
            connection.exec_driver_sql(SCHEMA)
        yield url


def refused(url: URL, *, wait_seconds: float = 5) -> str:
    """Return the message with which `url` is refused; it tells the way out, and no password."""
    with pytest.raises(MonarchError) as caught:
        check_direct(url, wait_seconds=wait_seconds)
    assert "MONARCH_DATABASE_URL to the server's own address and port" in caught.value.remedy
    assert "pool_mode = session" in caught.value.remedy
    assert PASSWORD not in str(caught.value)
    return caught.value.message


def test_a_direct_connection_passes_over_tcp_and_over_a_socket(debian: URL, project: Project) -> None:
    check_direct(debian)
    check_direct(project.target)


def test_a_direct_connection_needs_no_second_one(debian: URL) -> None:
    role = f"one_{secrets.token_hex(6)}"
    with connect(debian, autocommit=True) as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN CONNECTION LIMIT 1 PASSWORD '{PASSWORD}'")
        check_direct(debian.set(username=role))
        connection.exec_driver_sql(f"DROP ROLE {role}")


def test_a_pooler_that_keeps_the_session_passes(debian: URL) -> None:
    with pgbouncer(debian, "session") as url:
        check_direct(url)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"server_round_robin": 1}, {"default_pool_size": 1}, {"server_reset_query_always": 1}, {"processes": 2}],
    ids=str,
)
def test_a_pooler_that_hands_sessions_around_is_refused(debian: URL, mode: str, settings: dict[str, int]) -> None:
    with pgbouncer(debian, mode, **settings) as url:
        found = refused(url)
    assert found.startswith(f"postgres on 127.0.0.1:{url.port} leads through a pooler that does not keep a session")


@pytest.mark.parametrize("sessions", [2, CLIENTS, 2 * CLIENTS])
def test_a_pool_that_hands_out_its_idle_sessions_in_turn_is_refused(debian: URL, sessions: int) -> None:
    with pgbouncer(debian, "transaction", server_round_robin=1) as url:
        with ExitStack() as stack:
            for _ in range(sessions):
                stack.enter_context(connect(url)).exec_driver_sql("SELECT 1")
        assert "does not keep a session" in refused(url)


def test_a_pool_with_too_few_sessions_is_refused_in_time_and_left_as_it_was(debian: URL) -> None:
    with pgbouncer(debian, "session", default_pool_size=CLIENTS - 1) as url:
        started = time.monotonic()
        assert "let a query wait for 0.5 seconds" in refused(url, wait_seconds=0.5)
        assert time.monotonic() - started < 5
        with connect(url), connect(url):
            pass


def test_a_pool_that_others_use_up_is_refused_in_time(debian: URL) -> None:
    with pgbouncer(debian, "transaction", default_pool_size=1) as url, connect(url) as other:
        other.exec_driver_sql("SELECT 1")
        started = time.monotonic()
        assert "let a query wait for 0.5 seconds" in refused(url, wait_seconds=0.5)
        assert time.monotonic() - started < 5
        assert other.exec_driver_sql("SELECT 1").scalar_one() == 1


def test_a_server_that_cannot_be_reached_is_told_in_its_words_without_the_password(debian: URL) -> None:
    with pgbouncer(debian, "session") as pooler:
        for url in (debian, pooler):
            for wrong in (url.set(database="nowhere"), url.set(password=f"{PASSWORD} not")):
                with pytest.raises(MonarchError, match=r"could not be opened: .*(nowhere|authentication)") as caught:
                    check_direct(wrong)
                assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_versions_and_facts_read_through_a_pooler_are_those_read_directly(migrated: URL, mode: str) -> None:
    with connect(migrated) as connection:
        expected = read_facts(connection, ["landing", "alembic"])
    assert expected.relations
    with pgbouncer(migrated, mode, default_pool_size=2) as url:
        for _ in range(4):
            assert read_target(url).versions == read_target(migrated).versions == ("0123456789ab",)
            with reading(url) as connection:
                assert read_facts(connection, ["landing", "alembic"]) == expected


@pytest.mark.parametrize("mode", ["session", "transaction"])
def test_a_snapshot_through_a_pooler_is_one_state_and_changes_nothing(migrated: URL, mode: str) -> None:
    count = "SELECT count(*) FROM landing.note"
    insert = "INSERT INTO landing.note DEFAULT VALUES"
    with pgbouncer(migrated, mode) as url, snapshot(url) as looking:
        assert looking.exec_driver_sql(count).scalar_one() == 0
        with connect(url, autocommit=True) as other:
            other.exec_driver_sql(insert)
            assert other.exec_driver_sql(count).scalar_one() == 1
        assert looking.exec_driver_sql(count).scalar_one() == 0
        with pytest.raises(exc.DBAPIError, match="read-only transaction"):
            looking.exec_driver_sql(insert)


def test_reading_leaves_nothing_on_a_session_that_others_use(migrated: URL) -> None:
    settings = "SELECT name, setting FROM pg_settings WHERE name <> 'application_name' ORDER BY 1"
    with pgbouncer(migrated, "transaction", default_pool_size=1) as url:
        with connect(url) as connection:
            before = connection.exec_driver_sql(settings).all()
        with reading(url) as connection:
            read_facts(connection, ["landing"])
        with connect(url) as connection:
            assert connection.exec_driver_sql(settings).all() == before
            assert connection.exec_driver_sql("SELECT name FROM pg_prepared_statements").all() == []


def test_statement_pooling_cannot_be_read_through_and_says_so(migrated: URL) -> None:
    with (
        pgbouncer(migrated, "statement") as url,
        pytest.raises(MonarchError, match="transaction blocks not allowed in statement pooling mode") as caught,
    ):
        read_target(url)
    assert PASSWORD not in str(caught.value)
