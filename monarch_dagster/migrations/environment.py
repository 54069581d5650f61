"""What happens around the revisions while Alembic runs them (DESIGN rules 7, 8 and 11).

`env.py` calls `migrate`; it takes the lock, gives each revision its own transaction with a lock timeout, has data loss
judged inside it, and tries again when a lock was not to be had in time. Which revisions run is Alembic's decision.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.builds import settled
from monarch_dagster.migrations.chain import VERSIONS, approved_revisions, load_chain
from monarch_dagster.migrations.data_loss import guarded, leaves_transaction
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.locks import apply_lock, lock_revision

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext

log = logging.getLogger(__name__)

VERSION_SCHEMA = "alembic"
ATTRIBUTE = "monarch"
# How an error that a revision raises says which one it was.
NOTE = "in revision "
LOCK_TIMEOUT_SECONDS = 5
# An index that is built while others write waits for their transactions to end, and nobody waits for it meanwhile.
BUILD_LOCK_TIMEOUT = "1h"
TRIES = 8
LONGEST_PAUSE_SECONDS = 15.0
# lock_not_available, deadlock_detected (PostgreSQL, "Error Codes"): the revision was rolled back and may run again.
PASSING_ERRORS = frozenset({"55P03", "40P01"})
# Commands of Alembic that only look; they need no lock.
READING_COMMANDS = frozenset({"current", "check", "history", "heads", "show", "branches"})

Step = Any  # alembic.runtime.migration.RevisionStep, which has no public type
StepsFunction = Callable[[Any, Any], Iterable[Step]]


@dataclass(frozen=True)
class Options:
    """How to migrate: where, and what the person who asked for it approved."""

    url: URL
    shadow: bool = False
    lock_timeout_seconds: int = LOCK_TIMEOUT_SECONDS
    approved: frozenset[str] = frozenset()
    # Told, under the lock, the revisions that the database holds; it may refuse to go on.
    on_start: Callable[[Sequence[str]], None] = field(default=lambda _revisions: None)
    # Told the revisions that an upgrade is about to run; it may refuse them.
    on_steps: Callable[[Sequence[str]], None] = field(default=lambda _revisions: None)
    on_step: Callable[[str, float], None] = field(default=lambda _revision, _seconds: None)


def migrate(context: EnvironmentContext) -> None:
    """Run what the Alembic command asked for: on the database, or as SQL text in offline mode."""
    if (options := context.config.attributes.get(ATTRIBUTE)) is not None:
        _migrate(context, lambda: options)
        return
    from alembic.util import CommandError

    _show_progress()
    try:
        _migrate(context, lambda: _plain_options(context))
    except MonarchError as error:
        # The one kind of error that plain `alembic` prints without a stack trace.
        raise CommandError(str(error)) from None


def _show_progress() -> None:
    """Say on stderr what a plain `alembic` runs; the stock environment has this from `alembic.ini`."""
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(levelname)-5.5s [%(name)s] %(message)s")
        for name in ("alembic", "monarch_dagster"):
            logging.getLogger(name).setLevel(logging.INFO)


def _migrate(context: EnvironmentContext, read_options: Callable[[], Options]) -> None:
    if context.is_offline_mode():
        _migrate_offline(context)
        return
    options = read_options()
    if options.shadow:
        with connect(options.url) as connection:
            _migrate_online(context, connection, options)
    elif _only_reads(context):
        with connect(options.url) as connection:
            _configure(context, connection)
            context.run_migrations()
    else:
        with apply_lock(options.url, log.info), connect(options.url) as connection:
            _migrate_online(context, connection, options)


def _migrate_offline(context: EnvironmentContext) -> None:
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        transaction_per_migration=True,
        version_table_schema=VERSION_SCHEMA,
        dialect_opts={"paramstyle": "named"},
    )
    context.static_output(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA};")
    with context.begin_transaction():
        context.run_migrations()


def _migrate_online(context: EnvironmentContext, connection: Connection, options: Options) -> None:
    # Asked first: IF NOT EXISTS wants the right to create schemas also where the schema is there.
    if connection.exec_driver_sql("SELECT to_regnamespace(%s)", (VERSION_SCHEMA,)).scalar_one() is None:
        connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {VERSION_SCHEMA}")
    connection.commit()
    _configure(context, connection)
    steps_function: StepsFunction = context.get_context().opts["fn"]
    waiting: list[Step] | None = None

    def steps(heads: Any, migration: Any) -> Iterator[Step]:
        # Asked once: a relative target ("+2") means another revision when it is asked again half-way.
        nonlocal waiting
        if waiting is None:
            options.on_start(tuple(heads))
            waiting = [_timed(step, connection, options) for step in steps_function(heads, migration)]
            options.on_steps([_revision(step) for step in waiting if step.is_upgrade and hasattr(step, "revision")])
        while waiting:
            yield waiting[0]
            waiting.pop(0)

    for attempt in range(1, TRIES + 1):
        _configure(context, connection, fn=steps)
        try:
            with context.begin_transaction():
                context.run_migrations()
        except exc.DBAPIError as error:
            connection.rollback()
            if getattr(error.orig, "sqlstate", None) not in PASSING_ERRORS or attempt == TRIES:
                raise
            pause = min(LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            log.warning("A lock was not free in time; trying again in %.1f seconds (%d of %d)", pause, attempt, TRIES)
            time.sleep(pause)
        else:
            return


def _configure(context: EnvironmentContext, connection: Connection, **options: Any) -> None:
    context.configure(
        connection=connection,
        transaction_per_migration=True,
        version_table_schema=VERSION_SCHEMA,
        **options,
    )


def _timed(step: Step, connection: Connection, options: Options) -> Step:
    """Have a step set its timeout, take the transaction's lock, and be judged, before and while it runs."""
    run = step.migration_fn

    def migration_fn(**arguments: Any) -> None:
        started = time.monotonic()
        source = _source(step)
        alone = leaves_transaction(source, is_upgrade=step.is_upgrade)
        try:
            with settled(options.url, source) if alone else nullcontext():
                if options.shadow:
                    run(**arguments)
                else:
                    _run_on_target(step, connection, options, source, alone, lambda: run(**arguments))
        except Exception as error:
            error.add_note(f"{NOTE}{_revision(step)}")
            raise
        options.on_step(_revision(step), time.monotonic() - started)

    step.migration_fn = migration_fn
    return step


def _run_on_target(
    step: Step, connection: Connection, options: Options, source: str, alone: bool, run: Callable[[], None]
) -> None:
    if alone:
        # For the session: what is set in a transaction ends with it, and a build runs outside of one.
        run_script(connection, f"SET lock_timeout = '{BUILD_LOCK_TIMEOUT}'; SET statement_timeout = 0")
    else:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{options.lock_timeout_seconds}s'")
    lock_revision(connection)
    guarded(connection, _revision(step), options.approved, run, source, is_upgrade=step.is_upgrade)
    if alone:
        run_script(connection, "RESET lock_timeout; RESET statement_timeout")


def _revision(step: Step) -> str:
    return str(step.revision.revision) if hasattr(step, "revision") else "stamp"


def _source(step: Step) -> str:
    path = getattr(getattr(step, "revision", None), "path", "")
    return Path(path).read_text() if path else ""


def _only_reads(context: EnvironmentContext) -> bool:
    command = getattr(context.config.cmd_opts, "cmd", None)
    return command is not None and command[0].__name__ in READING_COMMANDS


def _plain_options(context: EnvironmentContext) -> Options:
    """Read the options of a plain `alembic` command: the settings, `-x allow_data_loss=REV`, `-x allow_unproved=…`."""
    from monarch_dagster.settings import Settings

    settings = Settings.load()
    schema_dir = settings.sources.schema_dir.resolve()
    found = [Path(place).resolve() for place in context.script.version_locations or ()]
    if found != [schema_dir / VERSIONS]:
        raise MonarchError(
            f"Alembic reads revisions from {', '.join(map(str, found))}, Monarch from {schema_dir / VERSIONS}.",
            remedy="Set version_locations under [tool.alembic] in pyproject.toml to the folder that MONARCH_SCHEMA_DIR "
            "names.",
        )
    # As a dictionary it would keep the last of several.
    arguments = [argument.partition("=") for argument in context.get_x_argument()]
    losing, unproved = (
        [value for name, _, value in arguments if name == wanted] for wanted in ("allow_data_loss", "allow_unproved")
    )
    return Options(
        settings.target_url(),
        approved=approved_revisions(load_chain(schema_dir), losing),
        on_steps=lambda revisions: _prove_elsewhere(revisions, unproved),
    )


def _prove_elsewhere(revisions: Sequence[str], unproved: Sequence[str]) -> None:
    """Prove in a process of its own: Alembic's context, which a proof needs too, is this process's."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    if revisions:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            pool.submit(_prove, revisions, unproved).result()


def _prove(revisions: Sequence[str], unproved: Sequence[str]) -> None:
    from monarch_dagster.settings import Settings

    _show_progress()
    settings = Settings.load()
    chain = load_chain(settings.sources.schema_dir)
    settings.prover().demand(chain, chain.only(revisions), approved_revisions(chain, unproved))
