"""Index builds outside of a transaction: what an interrupted one left, and whether the new one is valid.

Source: PostgreSQL, "Building Indexes Concurrently": a build that fails leaves an invalid index behind, which `IF NOT
EXISTS` takes for the one that is wanted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.locks import notice_lost_client

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
WAIT_SECONDS = 3600
_INVALID = """
SELECT format('%I.%I', n.nspname, c.relname), c.relname, p.pid
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_stat_progress_create_index p ON p.index_relid = i.indexrelid AND p.datname = current_database()
WHERE NOT i.indisvalid ORDER BY 1
"""


@contextmanager
def settled(url: URL, source: str) -> Iterator[None]:
    """Run a revision's builds so that each index that its text names ends up valid.

    Before, a leftover of an interrupted build is dropped while others read and write; where a backend that lost its
    client still builds it, that one is waited for. What a build that fails leaves is dropped. Raises `MonarchError`
    where it does not end, or an index of the revision is not valid afterwards.
    """
    with connect(url, autocommit=True) as connection:
        notice_lost_client(connection)
        deadline = time.monotonic() + WAIT_SECONDS
        told: set[str] = set()
        while leftovers := _invalid(connection, source):
            for name, pid in leftovers:
                if pid is None:
                    run_script(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
                    log.info("Dropped %s, which an interrupted build had left invalid", name)
                elif name not in told:
                    log.warning("Waiting for backend %s, which still builds %s", pid, name)
                    told.add(name)
            if time.monotonic() > deadline:
                raise MonarchError(
                    f"The index {leftovers[0][0]} is still being built by another session, backend {leftovers[0][1]}.",
                    remedy="Wait for it, or end it with pg_terminate_backend, then run again.",
                )
            time.sleep(POLL_SECONDS if told else 0)
        try:
            yield
        except exc.DBAPIError:
            # An invalid unique index goes on refusing rows. Where the build still runs, the next run waits for it.
            with suppress(exc.DBAPIError):
                for name, pid in _invalid(connection, source):
                    if pid is None:
                        run_script(connection, f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            raise
        if failed := _invalid(connection, source):
            raise MonarchError(
                f"The index {failed[0][0]} was built and is not valid.",
                remedy="Run again: the leftover is dropped, and the index built anew.",
            )


def _invalid(connection: Connection, source: str) -> list[tuple[str, int | None]]:
    rows: Any = run_script(connection, _INVALID)
    return [(name, pid) for name, bare, pid in rows if bare in source]
