"""Shadow databases: built once, cloned often, and never left half made."""

import secrets
import subprocess
import sys
import threading
import time

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres import shadow
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.shadow import CLONE_PREFIX, TEMPLATE_PREFIX, ShadowServer, TemplateGoneError


def key() -> str:
    return f"test_{secrets.token_hex(6)}"


def databases(server: ShadowServer, like: str) -> set[str]:
    with connect(server.url) as connection:
        return set(connection.exec_driver_sql("SELECT datname FROM pg_database WHERE datname ^@ %s", (like,)).scalars())


def building(statement: str) -> shadow.Callable[[URL], None]:
    def build(url: URL) -> None:
        with connect(url, autocommit=True) as connection:
            run_script(connection, statement)

    return build


def rows(url: URL, statement: str) -> list[object]:
    with connect(url) as connection:
        return list(connection.exec_driver_sql(statement).scalars())


def test_a_template_is_built_once_and_every_clone_is_its_own(shadows: ShadowServer) -> None:
    name, built = key(), []

    def build(url: URL) -> None:
        built.append(url)
        building("CREATE TABLE t (a int)")(url)

    assert not shadows.has_template(name)
    shadows.make_template(name, build)
    shadows.make_template(name, build)
    assert shadows.has_template(name)
    assert len(built) == 1
    with shadows.clone(name) as one, shadows.clone(name) as two:
        building("INSERT INTO t VALUES (1)")(one)
        assert (rows(one, "SELECT a FROM t"), rows(two, "SELECT a FROM t")) == ([1], [])


def test_a_template_may_start_from_another_one(shadows: ShadowServer) -> None:
    one, two = key(), key()
    shadows.make_template(one, building("CREATE TABLE t (a int)"))
    shadows.make_template(two, building("INSERT INTO t VALUES (2)"), base=one)
    with shadows.clone(two) as url:
        assert rows(url, "SELECT a FROM t") == [2]


def test_a_build_that_fails_leaves_nothing_and_can_be_repeated(shadows: ShadowServer) -> None:
    name, made = key(), []

    def build(url: URL) -> None:
        made.append(str(url.database))
        raise ValueError("half-way")

    for _ in range(2):
        with pytest.raises(ValueError, match="half-way"):
            shadows.make_template(name, build)
    assert not shadows.has_template(name)
    assert not databases(shadows, CLONE_PREFIX) & set(made)


def test_clones_are_dropped_whatever_happens_in_them_and_whoever_is_still_connected(shadows: ShadowServer) -> None:
    with pytest.raises(ZeroDivisionError), shadows.clone(None) as url:
        stays = connect(url)
        stays.__enter__()
        raise ZeroDivisionError
    assert str(url.database) not in databases(shadows, CLONE_PREFIX)
    stays.__exit__(None, None, None)


def test_of_two_that_build_one_template_at_once_both_get_it_and_one_stays(shadows: ShadowServer) -> None:
    name, meeting, made = key(), threading.Barrier(2, timeout=30), []

    def build(url: URL) -> None:
        made.append(str(url.database))
        building("CREATE TABLE t (a int)")(url)
        meeting.wait()

    errors: list[BaseException] = []

    def run() -> None:
        try:
            shadows.make_template(name, build)
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(made) == 2
    assert not databases(shadows, CLONE_PREFIX) & set(made)
    with shadows.clone(name) as url:
        assert rows(url, "SELECT a FROM t") == []


def test_a_clone_can_stay_as_the_template_of_what_was_done_in_it(shadows: ShadowServer) -> None:
    name = key()
    with shadows.clone(None) as url:
        building("CREATE TABLE t (a int)")(url)
        shadows.keep(url, name)
    assert str(url.database) not in databases(shadows, CLONE_PREFIX)
    with shadows.clone(name) as again:
        assert rows(again, "SELECT a FROM t") == []
    # The second one with that content is dropped like any clone.
    with shadows.clone(None) as second:
        shadows.keep(second, name)
    assert str(second.database) not in databases(shadows, CLONE_PREFIX)
    with shadows.clone(name) as again:
        assert rows(again, "SELECT a FROM t") == []


def test_the_oldest_templates_go_and_so_do_clones_of_killed_processes(
    shadows: ShadowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asked of what pruning would drop, since other tests share the server.
    old = f"{CLONE_PREFIX}{int(time.time()) - 7200}_{secrets.token_hex(6)}"
    young = f"{CLONE_PREFIX}{int(time.time())}_{secrets.token_hex(6)}"
    building(f"CREATE DATABASE {old}")(shadows.url)
    building(f"CREATE DATABASE {young}")(shadows.url)
    names = [key() for _ in range(shadow.KEPT_TEMPLATES + 2)]
    for name in names:
        shadows.make_template(name, lambda url: None)
    left = databases(shadows, "monarch_")
    assert old not in left
    assert young in left
    assert not {TEMPLATE_PREFIX + name for name in names[:2]} & left
    assert {TEMPLATE_PREFIX + name for name in names[2:]} <= left
    building(f"DROP DATABASE {young}")(shadows.url)


def test_a_template_that_vanished_in_the_meantime_is_told_from_other_failures(shadows: ShadowServer) -> None:
    with pytest.raises(TemplateGoneError), shadows.clone(key()):
        pass
    nowhere = ShadowServer(URL.create("postgresql+psycopg", host="127.0.0.1", port=9, database="postgres"))
    with pytest.raises(MonarchError, match="could not be opened") as caught, nowhere.clone(None):
        pass
    assert not isinstance(caught.value, TemplateGoneError)


def test_a_server_that_cannot_be_reached_is_told_with_the_variable_that_leads_to_it() -> None:
    nowhere = ShadowServer(URL.create("postgresql+psycopg", host="127.0.0.1", port=9, database="postgres"))
    for use in (lambda: nowhere.major, lambda: nowhere.has_template("a"), lambda: nowhere.clone(None).__enter__()):
        with pytest.raises(MonarchError, match="could not be opened") as caught:
            use()
        assert "MONARCH_SHADOW_URL" in caught.value.remedy
        assert "MONARCH_DATABASE_URL" not in caught.value.remedy
    with pytest.raises(MonarchError, match="could not be opened") as caught, connect(nowhere.url):
        pass
    assert "MONARCH_DATABASE_URL" in caught.value.remedy
    assert "MONARCH_SHADOW_URL" not in caught.value.remedy


def test_a_role_that_may_not_create_databases_is_told_so(shadows: ShadowServer) -> None:
    role = f"weak_{secrets.token_hex(4)}"
    building(f"CREATE ROLE {role} LOGIN")(shadows.url)
    with (
        pytest.raises(MonarchError, match="permission denied to create database") as caught,
        ShadowServer(shadows.url.set(username=role)).clone(None),
    ):
        pass
    assert "CREATEDB" in caught.value.remedy
    building(f"DROP ROLE {role}")(shadows.url)


def test_a_role_that_is_no_superuser_but_may_create_databases_is_enough(shadows: ShadowServer) -> None:
    role, name = f"plain_{secrets.token_hex(4)}", key()
    building(f"CREATE ROLE {role} LOGIN CREATEDB")(shadows.url)
    server = ShadowServer(shadows.url.set(username=role))
    server.make_template(name, building("CREATE SCHEMA s"))
    with server.clone(name) as url:
        assert rows(url, "SELECT nspname FROM pg_namespace WHERE nspname = 's'") == ["s"]
    for statement in (
        f"ALTER DATABASE {TEMPLATE_PREFIX}{name} WITH is_template false",
        f"DROP DATABASE {TEMPLATE_PREFIX}{name}",
        f"DROP ROLE {role}",
    ):
        building(statement)(shadows.url)


HELD = """
import sys
from sqlalchemy import make_url
from monarch_dagster.postgres.shadow import ShadowServer

held = [ShadowServer(make_url(sys.argv[1])).clone(None)]
print(held[0].__enter__().database)
held.append(held)  # a circle, which nothing clears before the process ends
"""


def test_a_clone_that_nothing_closed_goes_with_its_process(shadows: ShadowServer) -> None:
    url = shadows.url.render_as_string(hide_password=False)
    done = subprocess.run([sys.executable, "-c", HELD, url], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(CLONE_PREFIX)
    with connect(shadows.url) as connection:
        query = "SELECT count(*) FROM pg_database WHERE datname = %s"
        assert connection.exec_driver_sql(query, (done.stdout.strip(),)).scalar_one() == 0
