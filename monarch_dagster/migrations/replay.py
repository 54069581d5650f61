"""The chain on a shadow: templates of it, and the facts that it and the desired schema come to (DESIGN rule 2).

Nothing here looks at the target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.environment import Options
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Desired, ddl
from monarch_dagster.schema.facts import Facts, read_facts

SHADOW_SQL = "shadow.sql"
_KEY_LENGTH = 32
_USER_SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'alembic', 'public') AND nspname !~ '^pg_temp_'
  AND nspname !~ '^pg_toast_temp_' ORDER BY 1
"""


@contextmanager
def chain_clone(shadows: ShadowServer, chain: Chain, upto: str | None) -> Iterator[URL]:
    """Give a throw-away database on which the chain is applied from base to `upto`.

    The chain is replayed once and kept as a template, keyed by the contents of its files; a longer chain starts from
    the longest part of it that is kept. Raises `MonarchError` when a revision cannot be run.
    """
    prelude = _prelude(chain.directory.with_name(SHADOW_SQL))
    keys = [_key(prelude, chain, item.revision) for item in chain.upto(upto)]
    if not keys and not prelude:
        with shadows.clone(None) as url:
            yield url
        return
    wanted = keys[-1] if keys else _key(prelude, chain, None)
    if not shadows.has_template(wanted):
        base = next((key for key in reversed(keys[:-1]) if shadows.has_template(key)), None)

        def build(url: URL) -> None:
            if base is None and prelude:
                run_script(url, prelude)
            if upto is not None:
                runner.upgrade([chain.directory], upto, Options(url, shadow=True))

        shadows.make_template(wanted, build, base=base)
    with shadows.clone(wanted) as url:
        yield url


def chain_facts(url: URL) -> Facts:
    """Return the facts of all schemas on a clone that a chain built; all that is in it came from the chain."""
    with connect(url) as connection:
        return read_facts(connection, user_schemas(connection))


def user_schemas(connection: Connection) -> Sequence[str]:
    """Return the schemas that are neither PostgreSQL's, nor Alembic's, nor `public`."""
    return connection.exec_driver_sql(_USER_SCHEMAS).scalars().all()


def desired_facts(shadows: ShadowServer, desired: Desired) -> Facts:
    """Return the facts that the desired schema comes to: built in an empty shadow, read, and rolled back.

    Raises `MonarchError` when PostgreSQL refuses a declaration.
    """
    with shadows.clone(None) as url, connect(url) as connection:
        try:
            # One round trip; without parameters the text goes to the server as it is.
            connection.exec_driver_sql(";\n".join(ddl(desired)))
        except exc.DBAPIError as error:
            raise MonarchError(
                f"PostgreSQL refuses the desired schema: {str(error.orig).strip()}",
                remedy="Correct the model (or the column_type in object_meta.json) that the message names.",
            ) from None
        return read_facts(connection, desired.schemas)


def run_script(url: URL, script: str) -> None:
    """Run a client's `shadow.sql` on a shadow. Raises `MonarchError` with PostgreSQL's message."""
    with connect(url) as connection:
        try:
            connection.exec_driver_sql(script)
            connection.commit()
        except exc.DBAPIError as error:
            raise MonarchError(
                f"{SHADOW_SQL} failed on the shadow database: {str(error.orig).strip()}",
                remedy="Roles are shared by a server's databases: create them only where they do not exist.",
            ) from None


def _prelude(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _key(prelude: str, chain: Chain, upto: str | None) -> str:
    # The package's version is not part of it: what a revision does is up to its file and to Alembic.
    from alembic import __version__

    parts: Iterable[str] = (__version__, prelude, chain.key(upto))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_KEY_LENGTH]
