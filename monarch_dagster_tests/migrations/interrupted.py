"""What tests of interrupted runs share: a chain whose moments are easily hit, and an apply in a process. No tests."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from typing import Any

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.apply import apply_revisions
from monarch_dagster.migrations.chain import load_chain
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.proofs import Proofs, Prover
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Sources
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import Project

BLOCK = "with op.get_context().autocommit_block():\n    op.execute({!r})"
NAP = "SELECT pg_sleep(0.03)"
# One revision each: its statements, or one that runs outside of a transaction. Naps make moments within a transaction,
# `slow` those within a build, and the deferred trigger those within a COMMIT.
CHAIN: Sequence[Sequence[str] | str] = (
    [
        "CREATE SCHEMA s",
        "CREATE TABLE s.t (id int PRIMARY KEY, a int NOT NULL)",
        "INSERT INTO s.t SELECT n, n % 7 FROM generate_series(1, 60) n",
    ],
    [
        "CREATE FUNCTION s.slow(n int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.001); RETURN n; END $$"
    ],
    [
        "CREATE TABLE s.u (id int PRIMARY KEY, t int REFERENCES s.t)",
        "INSERT INTO s.u SELECT n, n FROM generate_series(1, 50) n",
    ],
    ["ALTER TABLE s.t ADD b int", NAP],
    [NAP, "UPDATE s.t SET b = a + 1", NAP],
    "CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_t_a ON s.t (s.slow(a))",
    ["ALTER TABLE s.t ADD CONSTRAINT ck_t_b CHECK (s.slow(b) > 0) NOT VALID"],
    ["ALTER TABLE s.t VALIDATE CONSTRAINT ck_t_b"],
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_t_id ON s.t (s.slow(id), id)",
    "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS uq_u_t ON s.u (t)",
    ["ALTER TABLE s.u ADD CONSTRAINT uq_u_t UNIQUE USING INDEX uq_u_t", NAP],
    [
        "CREATE TABLE s.log (n int)",
        "CREATE FUNCTION s.nap() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$",
        "CREATE CONSTRAINT TRIGGER nap AFTER INSERT ON s.log DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION s.nap()",
    ],
    ["INSERT INTO s.log VALUES (1)"],
    ["CREATE TYPE s.mood AS ENUM ('so')", "CREATE TABLE s.m (mood s.mood)", "INSERT INTO s.m VALUES ('so')"],
    "ALTER TYPE s.mood ADD VALUE IF NOT EXISTS 'so so'",
    ["INSERT INTO s.m VALUES ('so so')", NAP],
    ["ALTER TABLE s.t RENAME a TO c"],
    ["CREATE VIEW s.v AS SELECT t.id, u.t FROM s.t JOIN s.u ON u.t = t.id", NAP],
    ["INSERT INTO s.log VALUES (2)", "COMMENT ON TABLE s.log IS 'naps'"],
    ["ALTER TABLE s.u ADD n bigint DEFAULT 5 NOT NULL", NAP],
    ["ALTER TABLE s.u ALTER n TYPE int"],
    ["ALTER TABLE s.t ALTER b SET NOT NULL", NAP, "CREATE TABLE s.last (id int GENERATED ALWAYS AS IDENTITY)"],
)
REVISIONS = [f"r{number}" for number in range(1, len(CHAIN) + 1)]
BUILDS = frozenset(name for name, does in zip(REVISIONS, CHAIN, strict=True) if isinstance(does, str))
TABLES = ("s.t", "s.u", "s.log", "s.m", "s.last")

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["monarch_dagster_tests.migrations.interrupted", "alembic.command", "psycopg"])


def write_interruptible_chain(project: Project) -> None:
    """Write the chain, and take it as proved."""
    for name, below, does in zip(REVISIONS, [None, *REVISIONS], CHAIN, strict=False):
        up = BLOCK.format(does) if isinstance(does, str) else sql(*does)
        write_revision(project.versions, name, below, up=up)
    project.trust()


@dataclass(frozen=True)
class Whole:
    """All that a run leaves: the schema, the rows, and what the target says of how it came to them."""

    dump: str
    rows: dict[str, list[Any]]
    ledger: list[Any]
    recorded: dict[str, str]


def read_whole(project: Project) -> Whole:
    """Read what a whole run has left; version, ledger, recorded facts and facts must agree."""
    target, facts = read_target(project.target), project.facts()
    assert target.version == target.head == REVISIONS[-1]
    assert [(entry.revision, entry.down_revision) for entry in target.entries] == list(
        zip(REVISIONS, [None, *REVISIONS], strict=False)
    )
    recorded = dict(tuple(row) for row in project.execute("SELECT relation, hash FROM alembic.facts_hash"))
    assert recorded == facts.hashes
    columns = "direction, revision, down_revision, digest, sql, facts_before, facts_after, relations, ended_at"
    return Whole(
        project.dump(),
        {name: sorted(map(tuple, project.execute(f"SELECT * FROM {name}")), key=str) for name in TABLES},
        [tuple(row) for row in project.execute(f"SELECT {columns} FROM alembic.revision_ledger ORDER BY id")],
        recorded,
    )


class Applying:
    """An apply in a process of its own, which has loaded what it needs before it is started."""

    def __init__(self, project: Project) -> None:
        self._pipe, other = _SERVER.Pipe()
        arguments = (project.sources, project.target, project.shadows.url, project.prover.proofs, other)
        self.process = _SERVER.Process(target=_apply, args=arguments, daemon=True)
        self.process.start()
        other.close()
        assert self._pipe.recv() == "started"
        self.started = time.monotonic()

    def __enter__(self) -> Applying:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.kill()
        self._pipe.close()

    def kill(self) -> None:
        """Send it SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.join()

    @property
    def ended(self) -> bool:
        """Whether it has told its end."""
        return self._pipe.poll()

    def result(self) -> Exception | None:
        """Wait for its end; return what it raised. That it was killed is an `EOFError`."""
        try:
            found = self._pipe.recv()
        except EOFError as error:
            return error
        assert found is None or isinstance(found, Exception)
        return found


def _apply(sources: Sources, target: URL, shadows: URL, proofs: Proofs, pipe: Pipe) -> None:
    server = ShadowServer(shadows, owned=True)
    pipe.send("started")
    told: Exception | None = None
    try:
        apply_revisions(load_chain(sources.schema_dir), target, Prover(sources, lambda: server, proofs))
    except MonarchError as error:
        # Its remedy is no argument, and would not be pickled.
        told = MonarchError(error.message)
        told.remedy = error.remedy
    except BaseException as error:  # noqa: BLE001 - whatever it is, a test is to see it
        told = RuntimeError(repr(error))
    with suppress(BrokenPipeError):
        pipe.send(told)


def wait_for_backend(watcher: Any, project: Project, doing: str) -> list[int]:
    """Wait until a backend of Monarch's on the target runs a query that begins so, and give way; return their ids.

    What sleeps, waits for a lock or builds is taken; a query that has ended is not.
    """
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'monarch' AND datname = %s AND state = 'active' "
        "AND query ^@ %s AND (wait_event_type IN ('Timeout', 'Lock') OR %s ^@ 'CREATE INDEX')"
    )
    deadline = time.monotonic() + 30
    while not (found := watcher.exec_driver_sql(query, (project.target.database, doing, doing)).scalars().all()):
        assert time.monotonic() < deadline, doing
        time.sleep(0.002)
    return list(found)


def cut(watcher: Any, project: Project, choose: Callable[[list[int]], list[int]]) -> int:
    """End those of Monarch's backends on the target that `choose` takes of all; return how many there were."""
    query = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'monarch' AND datname = %s ORDER BY backend_start"
    )
    found = list(watcher.exec_driver_sql(query, (project.target.database,)).scalars())
    if found:
        watcher.exec_driver_sql("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) pid", (choose(found),))
    return len(found)


def empty_target(project: Project) -> None:
    """Give the project a target with nothing in it."""
    with connect(project.shadows.url, autocommit=True) as connection:
        connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{project.target.database}" WITH (FORCE)')
        connection.exec_driver_sql(f'CREATE DATABASE "{project.target.database}"')
