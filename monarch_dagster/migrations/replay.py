"""The chain on a shadow: templates of it, and the facts that it and the desired schema come to (DESIGN rule 2).

Nothing here looks at the target.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.transcribe import transcribed
from monarch_dagster.migrations.transcript import batches, joined
from monarch_dagster.postgres.engines import connect, run_script, snapshot
from monarch_dagster.postgres.quoting import literal, quote
from monarch_dagster.postgres.shadow import ShadowServer, TemplateGoneError
from monarch_dagster.schema.desired import Desired, ddl
from monarch_dagster.schema.facts import Facts, read_facts, user_schemas
from monarch_dagster.schema.provider import Known, Part

SHADOW_SQL = "shadow.sql"
FACTS, KNOWN = "facts", "known"
_KEY_LENGTH = 32
_FILLED = """
SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%s) AND c.relkind = 'r' AND pg_relation_size(c.oid) > 0 ORDER BY 1
"""


@contextmanager
def chain_clone(shadows: ShadowServer, chain: Chain, upto: str | None, *, fresh: bool = False) -> Iterator[URL]:
    """Give a throw-away database on which the chain is applied from base to `upto`.

    The chain is replayed once and kept as a template, keyed by the contents of its files; a longer chain starts from
    the longest part of it that is kept. A `fresh` one starts from nothing: nothing was ever taken back on it, so that
    it has no more dropped columns than the chain itself drops. Raises `MonarchError` when a revision cannot be run.
    """
    prelude = _prelude(chain.directory.with_name(SHADOW_SQL))
    keys = [_key(prelude, chain, item.revision) for item in chain.upto(upto)]
    if not keys and prelude:
        keys = [_key(prelude, chain, None)]
    if fresh and keys:
        keys = [hashlib.sha256(f"{keys[-1]} fresh".encode()).hexdigest()[:_KEY_LENGTH]]
    with ExitStack() as stack:
        for last in (False, False, True):
            try:
                if keys:
                    _ensure_template(shadows, chain, upto, keys, prelude)
                url = stack.enter_context(shadows.clone(keys[-1] if keys else None))
                break
            except TemplateGoneError:
                if last:
                    raise
        yield url


def keep_clone(shadows: ShadowServer, chain: Chain, url: URL) -> None:
    """Keep a clone on which `chain` has been applied up to its head: the next replay of that chain is spared.

    It is kept without rows: those that a proof left there would stop a revision that is replayed on it, such as one
    that sets NOT NULL.
    """
    with connect(url) as connection:
        filled = connection.exec_driver_sql(_FILLED, (list(user_schemas(connection)),)).scalars().all()
        if filled:
            try:
                run_script(connection, f"TRUNCATE {', '.join(filled)} CASCADE")
            except exc.DBAPIError:
                return  # a trigger of the chain's may forbid it
            connection.commit()
    shadows.keep(url, _key(_prelude(chain.directory.with_name(SHADOW_SQL)), chain, chain.head))


class Replayed:
    """A chain on a shadow: what it comes to, and a clone of it, which is made when it is asked for."""

    def __init__(self, shadows: ShadowServer, chain: Chain, stack: ExitStack, *, fresh: bool) -> None:
        """Have the clone dropped when `stack` is closed."""
        self._shadows, self._chain, self._stack, self._fresh = shadows, chain, stack, fresh

    @cached_property
    def url(self) -> URL:
        """The clone."""
        clone = chain_clone(self._shadows, self._chain, self._chain.head, fresh=self._fresh)
        return self._stack.enter_context(clone)

    @cached_property
    def facts(self) -> Facts:
        """The facts that the chain comes to, from the memo where they are kept."""
        if (kept := self._shadows.memo.get(FACTS, *chain_key(self._shadows, self._chain))) is not None:
            return Facts.from_plain(kept)
        found = chain_facts(self.url)
        keep_facts(self._shadows, self._chain, found)
        return found


@contextmanager
def replayed(shadows: ShadowServer, chain: Chain, *, fresh: bool = False) -> Iterator[Replayed]:
    """Give a chain on a shadow, up to its head; `fresh` is as in `chain_clone`."""
    with ExitStack() as stack:
        yield Replayed(shadows, chain, stack, fresh=fresh)


def chain_key(shadows: ShadowServer, chain: Chain) -> tuple[str, ...]:
    """Return what all depends on that is found out about a chain: the server's version, `shadow.sql`, the files."""
    return shadows.version, _prelude(chain.directory.with_name(SHADOW_SQL)), chain.key(chain.head)


def keep_facts(shadows: ShadowServer, chain: Chain, facts: Facts) -> None:
    """Keep the facts that a chain comes to."""
    shadows.memo.put(FACTS, *chain_key(shadows, chain), value=facts.plain())


def chain_facts(url: URL) -> Facts:
    """Return the facts of all schemas on a clone that a chain built; all that is in it came from the chain."""
    with snapshot(url) as connection:
        return read_facts(connection, user_schemas(connection))


def made_of(shadows: ShadowServer, chain: Chain, found: Facts) -> Facts:
    """Return what the chain made of the facts that were found on a clone: `shadow.sql` put the rest there before it."""
    if not chain.directory.with_name(SHADOW_SQL).exists():
        return found
    with chain_clone(shadows, chain, None) as url:
        return found.only(found.relations.keys() - chain_facts(url).relations.keys())


def desired_facts(shadows: ShadowServer, chain: Chain, desired: Desired) -> Facts:
    """Return the facts that the desired schema comes to, built on a clone of its own.

    Raises `MonarchError` when PostgreSQL refuses a declaration.
    """
    facts = _built(shadows, chain, desired)
    before = {f"table {key}": item.facts for key, item in desired.provider.known.items()}
    facts = Facts({**facts.relations, **before}, facts.dependencies)
    _keep_known(shadows, chain, desired, facts)
    return facts


def known_tables(shadows: ShadowServer, chain: Chain) -> dict[str, Known]:
    """Return the provider's tables that were built before, by the digests of their entries."""
    kept = shadows.memo.get(KNOWN, *_key_of_known(shadows, chain)) or {}
    return {
        digest: Known(Part(digest, tuple(names), (tuple(told[0]), tuple(told[1]))), facts)
        for digest, (names, told, facts) in kept.items()
    }


def _keep_known(shadows: ShadowServer, chain: Chain, desired: Desired, facts: Facts) -> None:
    if parts := desired.provider.parts:
        parts = {**{key: item.part for key, item in desired.provider.known.items()}, **parts}
        found = ((part, facts.relations[f"table {key}"]) for key, part in parts.items())
        value = {part.digest: [part.names, part.warnings, aspects] for part, aspects in found}
        shadows.memo.put(KNOWN, *_key_of_known(shadows, chain), value=value)


def _key_of_known(shadows: ShadowServer, chain: Chain) -> tuple[str, str]:
    return shadows.version, _prelude(chain.directory.with_name(SHADOW_SQL))


def _built(shadows: ShadowServer, chain: Chain, desired: Desired) -> Facts:
    with chain_clone(shadows, chain, None) as url, connect(url) as connection:
        try:
            # In one transaction thousands of tables would take more locks than a server of other people's has.
            for batch in batches(ddl(desired), together=True):
                _run_batch(connection, batch)
                connection.commit()
        except exc.DBAPIError as error:
            raise MonarchError(
                f"PostgreSQL refuses the desired schema: {str(error.orig).strip()}",
                remedy="Correct the model (or the column_type in object_meta.json) that the message names.",
            ) from None
        return read_facts(connection, desired.schemas)


def _run_batch(connection: Connection, batch: Sequence[str]) -> None:
    try:
        run_script(connection, joined(batch))
    except exc.DBAPIError:
        connection.rollback()
        # One by one: the error is then of the statement that it is about.
        for statement in batch:
            run_script(connection, statement)


def _ensure_template(shadows: ShadowServer, chain: Chain, upto: str | None, keys: Sequence[str], prelude: str) -> None:
    if shadows.has_template(keys[-1]):
        return
    base = next((key for key in reversed(keys[:-1]) if shadows.has_template(key)), None)

    def build(url: URL) -> None:
        if base is None and prelude:
            _run_prelude(url, prelude)
        if upto is None:
            return
        options = Options(url, shadow=True)
        start = chain.revisions[keys.index(base)].revision if base else None
        items = chain.upto(upto)[len(chain.upto(start)) :]
        try:
            with transcribed(chain.directory, start, items, options, shadows.memo) as (folders, options):
                runner.upgrade(folders, upto, options)
        except MonarchError as error:
            raise MonarchError(
                f"The chain cannot be replayed on a shadow database. {error.message}",
                remedy=f"Correct that revision; roles or extensions that it needs belong in {SHADOW_SQL}.",
            ) from None

    shadows.make_template(keys[-1], build, base=base)


def _run_prelude(url: URL, script: str) -> None:
    with connect(url) as connection:
        try:
            run_script(connection, script)
            connection.commit()
        except exc.DBAPIError as error:
            raise MonarchError(
                f"{SHADOW_SQL} failed on the shadow database: {str(error.orig).strip()}",
                remedy=_prelude_remedy(error),
            ) from None


def _prelude_remedy(error: exc.DBAPIError) -> str:
    found = re.search(r'role "(.+)" already exists', str(error.orig))
    if found is None:
        return f"Correct {SHADOW_SQL}; it runs on every shadow database, so it must be repeatable."
    role = found[1]
    create = f"IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = {literal(role)}) THEN CREATE ROLE {quote(role)}"
    return f"Roles are shared by a server's databases; write DO $$ BEGIN {create}; END IF; END $$;"


def _prelude(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def _key(prelude: str, chain: Chain, upto: str | None) -> str:
    # The package's version is not part of it: what a revision does is up to its file and to Alembic.
    from alembic import __version__

    parts: Iterable[str] = (__version__, prelude, chain.key(upto))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:_KEY_LENGTH]
