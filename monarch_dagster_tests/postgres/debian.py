"""Debian's PostgreSQL, a major version that the embedded server does not offer, and PgBouncer before it. No tests.

Both listen on 127.0.0.1 and want a password. They refuse to run as root, so root starts them as another user. They end
with the test, and also where the test process is killed: the kernel then signals them (`setpriv --pdeathsig`).
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.embedded import MEMORY_DIR
from monarch_dagster.postgres.engines import DRIVER, connect

EMBEDDED_MAJORS = (16, 18)
PASSWORD = "t0p s3cr3t"
START_SECONDS = 30
END_SERVER, END_POOLER = "QUIT", "KILL"
# Nothing has to survive, and nothing but TCP is tested.
SETTINGS = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "16MB", "unix_socket_directories": ""}


@contextmanager
def debian_server() -> Iterator[URL]:
    """Start a server of Debian's; give the URL, with password, of its database `postgres` and its superuser.

    Skips the test where Debian's PostgreSQL is not installed.
    """
    programs = _programs()
    with _folder("monarch-debian-") as folder:
        password = _file(folder / "password", PASSWORD)
        initdb = [*_as_other(END_SERVER), programs / "initdb", "--auth=scram-sha-256", "--username=postgres"]
        subprocess.run(
            [*initdb, f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync", folder / "data"],
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        url = URL.create(DRIVER, "postgres", PASSWORD, "127.0.0.1", free_port(), "postgres")
        settings = [f"-c{name}={value}" for name, value in {**SETTINGS, "port": url.port}.items()]
        with _running([programs / "postgres", "-D", folder / "data", *settings], folder, url, END_SERVER):
            yield url


@contextmanager
def database_on(server: URL, *, template: str = "template0") -> Iterator[URL]:
    """Give the URL of a new database on `server`, a copy of `template`; it is dropped at the end."""
    name = f"debian_{secrets.token_hex(6)}"
    with connect(server, autocommit=True) as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')
        try:
            yield server.set(database=name)
        finally:
            connection.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


@contextmanager
def pgbouncer(server: URL, pool_mode: str, *, processes: int = 1, **settings: object) -> Iterator[URL]:
    """Start PgBouncer with that pool mode, and more of its settings, in front of `server`; give the URL through it.

    Several processes share one port, each with a pool of its own. Skips the test where PgBouncer is not installed.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("PgBouncer is not installed (Debian: apt-get install pgbouncer)")
    url = server.set(port=free_port())
    with ExitStack() as stack:
        folder = stack.enter_context(_folder("monarch-pgbouncer-"))
        users = _file(folder / "users.txt", f'"{server.username}" "{server.password}"\n')
        options = {
            **{"listen_addr": url.host, "listen_port": url.port, "unix_socket_dir": "", "so_reuseport": 1},
            **{"auth_type": "scram-sha-256", "auth_file": users, "pool_mode": pool_mode},
            **settings,
        }
        lines = [f"{name} = {value}" for name, value in options.items()]
        databases = ["[databases]", f"* = host={server.host} port={server.port}"]
        configuration = _file(folder / "pgbouncer.ini", "\n".join([*databases, "[pgbouncer]", *lines, ""]))
        for _ in range(processes):
            stack.enter_context(_running([program, "-q", configuration], folder, url, END_POOLER))
        yield url


def _programs() -> Path:
    found = {int(place.parts[-3]): place.parent for place in Path("/usr/lib/postgresql").glob("[0-9]*/bin/postgres")}
    others = sorted(found.keys() - set(EMBEDDED_MAJORS))
    if not others:
        pytest.skip("Debian's PostgreSQL of another major version is not installed (apt-get install postgresql)")
    return found[others[0]]


def _user() -> pwd.struct_passwd:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def _as_other(end: str) -> list[str]:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed (Debian: apt-get install util-linux)")
    switch = []
    if os.geteuid() == 0:
        switch = [f"--reuid={_user().pw_uid}", f"--regid={_user().pw_gid}", "--clear-groups"]
    return ["setpriv", *switch, f"--pdeathsig={end}"]


@contextmanager
def _folder(prefix: str) -> Iterator[Path]:
    place = MEMORY_DIR if MEMORY_DIR.is_dir() else None
    with tempfile.TemporaryDirectory(prefix=prefix, dir=place, ignore_cleanup_errors=True) as folder:
        os.chown(folder, _user().pw_uid, _user().pw_gid)
        yield Path(folder)


def _file(path: Path, text: str) -> Path:
    path.write_text(text)
    os.chown(path, _user().pw_uid, _user().pw_gid)
    path.chmod(0o600)
    return path


@contextmanager
def _running(command: list[Any], folder: Path, url: URL, end: str) -> Iterator[None]:
    """Run a command that serves `url` and logs into `folder`; `end` is the signal that ends it at once."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen([*_as_other(end), *command], cwd=folder, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _answers(url):
            ended = process.poll() is not None or time.monotonic() > deadline
            assert not ended, f"{command[0]} does not serve {url}: {(folder / 'log').read_text()}"
            time.sleep(0.05)
        yield
    finally:
        process.send_signal(signal.Signals[f"SIG{end}"])
        try:
            process.wait(START_SECONDS)
        finally:
            process.kill()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _answers(url: URL) -> bool:
    try:
        with connect(url):
            return True
    except MonarchError as error:
        # Statement pooling answers too, and has SQLAlchemy's first transaction refused.
        return "statement pooling" in str(error)
