"""URLs and connections: what cannot be used is told without a password."""

from typing import Any

import pytest
from sqlalchemy import URL, make_url

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, display, parse_url, run_script, server_major
from monarch_dagster_tests.support import Project


@pytest.mark.parametrize(
    "text",
    ["postgresql://u:p@h/d", "postgres://u:p@h/d", "postgresql+psycopg2://u:p@h/d", "postgresql+asyncpg://u:p@h/d"],
)
def test_any_postgresql_url_leads_to_the_one_driver(text: str) -> None:
    assert parse_url(text, "X").render_as_string(hide_password=False) == "postgresql+psycopg://u:p@h/d"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no url s3cr3t", "X is not a database URL."),
        ("postgresql://u:s3cr3t@h:port/d", "X is not a database URL."),
        ("mysql://u:s3cr3t@h/d", "X names a mysql database; Monarch works on PostgreSQL only."),
        ("postgresql://u:s3cr3t@h", "X names no database."),
    ],
)
def test_what_is_no_url_of_a_postgresql_database_is_told_without_the_text(text: str, told: str) -> None:
    with pytest.raises(MonarchError) as caught:
        parse_url(text, "X")
    assert caught.value.message == told
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "postgresql+psycopg://me:s3cr3t@127.0.0.1:9/warehouse",
        "postgresql+psycopg://me:s3cr3t@no-such-host.invalid/warehouse",
        "postgresql+psycopg://me:s3cr3t@/warehouse?host=/no/such/folder",
    ],
)
def test_an_unreachable_server_is_named_without_the_password(text: str) -> None:
    with (
        pytest.raises(MonarchError, match=r"The database warehouse on .* could not be opened") as caught,
        connect(make_url(text)),
    ):
        pass
    assert "s3cr3t" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_a_database_or_role_that_is_not_there_is_named(project: Project) -> None:
    for url in (project.target.set(database="nowhere"), project.target.set(username="nobody_here")):
        with pytest.raises(MonarchError, match=r'(nowhere|nobody_here)" does not exist'), connect(url):
            pass


def test_the_place_shown_has_host_port_and_database_and_no_user() -> None:
    assert display(make_url("postgresql://u:p@h:5/d")) == "d on h:5"
    assert display(make_url("postgresql://u:p@/d?host=/run")) == "d on /run"
    assert display(make_url("postgresql:///d")) == "d on localhost"


def test_a_script_runs_word_for_word(project: Project) -> None:
    with connect(project.target) as connection:
        run_script(connection, "CREATE TABLE t (a text DEFAULT '%s 50% :x'); INSERT INTO t VALUES (DEFAULT)")
        assert connection.exec_driver_sql("SELECT a FROM t").scalar_one() == "%s 50% :x"
        assert server_major(connection) == 18


def test_a_connection_that_idles_is_kept_alive_and_what_the_url_says_of_it_wins(project: Project) -> None:
    def parameters(url: URL) -> dict[str, str]:
        with connect(url) as connection:
            driver: Any = connection.connection.driver_connection
            return dict(driver.info.get_parameters())

    assert (
        parameters(project.target).items()
        >= {
            "application_name": "monarch",
            "keepalives_idle": "60",
            "keepalives_interval": "10",
            "keepalives_count": "6",
        }.items()
    )
    said = {"keepalives_idle": "7", "application_name": "nightly"}
    assert parameters(project.target.update_query_dict(said)).items() >= said.items()
