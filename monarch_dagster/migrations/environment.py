"""What happens around the revisions while Alembic runs them (DESIGN rules 7, 8 and 11).

`env.py` calls `migrate`; it takes the lock, gives each revision its own transaction with a lock timeout, has data loss
judged inside it, and tries again when a lock was not to be had in time. Which revisions run is Alembic's decision.
"""

from __future__ import annotations

import logging
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import Interrupted, interruptible
from monarch_dagster.migrations.builds import settled
from monarch_dagster.migrations.data_loss import guarded, leaves_transaction
from monarch_dagster.migrations.failures import COMMIT_NOTE, NOTE, OUTSIDE_NOTE, refused
from monarch_dagster.migrations.ledger import target_of
from monarch_dagster.migrations.ledger_tables import SCHEMA, make_tables
from monarch_dagster.migrations.lock_timeouts import build_patience, lock_budget, may_pass
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.recording import Recording
from monarch_dagster.migrations.revisions import BASE, parse_revision
from monarch_dagster.postgres.engines import connect, run_script
from monarch_dagster.postgres.locks import (
    apply_lock,
    describe_blockers,
    keep_revision_lock,
    lock_revision,
    notice_lost_client,
)
from monarch_dagster.postgres.pooler import check_direct
from monarch_dagster.schema.catalog import SPELLING

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext

log = logging.getLogger(__name__)

ATTRIBUTE = "monarch"
# How long a revision is tried again whose locks are not to be had, and the longest pause in between.
RETRY_SECONDS = 600.0
LONGEST_PAUSE_SECONDS = 15.0
# Commands of Alembic that only look; they need no lock.
READING_COMMANDS = frozenset({"current", "history", "heads", "show", "branches"})

# A value becomes the same in another type whoever runs the revision and wherever; Salesforce gives times in UTC.
SETTINGS = "; ".join(f"SET {name} = '{value}'" for name, value in SPELLING.items())

Step = Any  # alembic.runtime.migration.RevisionStep, which has no public type
StepsFunction = Callable[[Any, Any], Iterable[Step]]


def migrate(context: EnvironmentContext) -> None:
    """Run what the Alembic command asked for: on the database, or as SQL text in offline mode."""
    if (options := context.config.attributes.get(ATTRIBUTE)) is not None:
        _migrate(context, lambda: options)
        return
    from alembic.util import CommandError

    from monarch_dagster.migrations.plain_alembic import plain_options, show_progress

    show_progress()
    with interruptible() as exit_code:
        try:
            _migrate(context, lambda: plain_options(context, command(context)))
        except Interrupted:
            log.warning("Interrupted")
            sys.exit(exit_code())
        except (MonarchError, exc.DBAPIError) as error:
            told = error if isinstance(error, MonarchError) else refused(error)
            # The one kind of error that plain `alembic` prints without a stack trace.
            raise CommandError(str(told)) from None


def _migrate(context: EnvironmentContext, read_options: Callable[[], Options]) -> None:
    if context.is_offline_mode():
        _migrate_offline(context)
        return
    if command(context) == "check":
        raise MonarchError(
            "`alembic check` compares with what Alembic can see of the models, which misses much.",
            remedy="`monarch check` compares files, ledger and schema.",
        )
    options = read_options()
    if options.shadow:
        with connect(options.url) as connection:
            _migrate_online(context, connection, options)
    elif _only_reads(context):
        with connect(options.url) as connection:
            _configure(context, connection)
            context.run_migrations()
    else:
        if not options.locked:
            check_direct(options.url)
        with nullcontext() if options.locked else _locked(options), connect(options.url) as connection:
            make_tables(connection)
            _migrate_online(context, connection, options)


@contextmanager
def _locked(options: Options) -> Iterator[None]:
    """Hold the apply lock, also for what the options have done at the end, when the revisions' connection is closed."""
    with apply_lock(options.url, log.info):
        with options.stopping():
            yield
        options.on_end()


def _migrate_offline(context: EnvironmentContext) -> None:
    context.configure(
        dialect_name="postgresql",
        literal_binds=True,
        transaction_per_migration=True,
        version_table_schema=SCHEMA,
        dialect_opts={"paramstyle": "named"},
    )
    context.static_output(f"{SETTINGS};\nCREATE SCHEMA IF NOT EXISTS {SCHEMA};")
    with context.begin_transaction():
        context.run_migrations()


def _migrate_online(context: EnvironmentContext, connection: Connection, options: Options) -> None:
    if options.shadow:
        run_script(connection, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    notice_lost_client(connection)
    run_script(connection, SETTINGS)
    connection.commit()
    _configure(context, connection)
    steps_function: StepsFunction = context.get_context().opts["fn"]
    waiting: list[Step] | None = None

    def steps(heads: Any, migration: Any) -> Iterator[Step]:
        # Asked once: a relative target ("+2") means another revision when it is asked again half-way.
        nonlocal waiting
        if waiting is None:
            options.on_start(tuple(heads))
            waiting = [_prepared(step, connection, options) for step in steps_function(heads, migration)]
            options.on_steps([_revision(step) for step in waiting if step.is_upgrade and hasattr(step, "revision")])
        while waiting:
            started = time.monotonic()
            yield waiting[0]
            step = waiting.pop(0)
            if hasattr(step, "revision"):
                # Committed only now.
                options.on_step(_revision(step), time.monotonic() - started)

    deadline = time.monotonic() + RETRY_SECONDS
    for attempt in count(1):
        _configure(context, connection, fn=steps)
        try:
            with context.begin_transaction():
                context.run_migrations()
        except exc.DBAPIError as error:
            if not may_pass(error) or time.monotonic() > deadline:
                _note(error, waiting)
                raise
            connection.rollback()
            _pause(connection, attempt, error)
        else:
            return


def _note(error: exc.DBAPIError, waiting: Sequence[Step] | None) -> None:
    """Have an error that came behind a revision's own statements say which revision it was."""
    if waiting and hasattr(waiting[0], "revision") and not hasattr(error, "__notes__"):
        error.add_note(f"{NOTE}{_revision(waiting[0])}")
        if error.statement is None:
            error.add_note(COMMIT_NOTE)


def _pause(connection: Connection, attempt: int, error: exc.DBAPIError) -> None:
    """Tell who is in the way, and let them, and whoever waits behind us, have the time that they need."""
    pause = min(LONGEST_PAUSE_SECONDS, 0.5 * 2**attempt) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    blockers = describe_blockers(connection, error.statement or "")
    told = f":\n{blockers}" if blockers else "."
    log.warning("A lock was not free in time; trying again in %.1f seconds (try %d)%s", pause, attempt + 1, told)
    time.sleep(pause)


def _configure(context: EnvironmentContext, connection: Connection, **options: Any) -> None:
    context.configure(
        connection=connection,
        transaction_per_migration=True,
        version_table_schema=SCHEMA,
        **options,
    )


def _prepared(step: Step, connection: Connection, options: Options) -> Step:
    """Have a step set its timeout, take the transaction's lock, be judged, and be written down."""
    run = step.migration_fn
    if not hasattr(step, "revision"):
        log.warning("Stamping changes alembic_version and nothing else: the ledger will say so in `monarch check`.")
        return step

    def migration_fn(**arguments: Any) -> None:
        body = options.originals.get(_revision(step)) or Path(step.revision.path).read_bytes()
        alone = leaves_transaction(body.decode(), is_upgrade=step.is_upgrade)
        transcript = options.transcripts.get(_revision(step))

        def operate() -> None:
            if transcript is None:
                run(**arguments)
            else:
                transcript.send(connection, is_upgrade=step.is_upgrade, together=options.shadow)

        try:
            with settled(options.url, body.decode()) if alone else nullcontext():
                if options.shadow:
                    operate()
                else:
                    _run_on_target(step, connection, options, body, alone, operate)
        except Exception as error:
            error.add_note(f"{NOTE}{_revision(step)}")
            if alone:
                error.add_note(OUTSIDE_NOTE)
            raise

    step.migration_fn = migration_fn
    return step


def _run_on_target(
    step: Step, connection: Connection, options: Options, body: bytes, alone: bool, run: Callable[[], None]
) -> None:
    revision, transcript = _revision(step), options.transcripts.get(_revision(step))
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{options.lock_timeout_seconds}s'")
    if alone:
        # For the session: what is set in a transaction ends with it, and a build runs outside of one.
        run_script(connection, "SET statement_timeout = 0")
    _hold(connection, step)
    approvals = {"data_loss": options.approved, "unproved": options.unproved}
    recording = Recording(
        connection,
        "upgrade" if step.is_upgrade else "downgrade",
        parse_revision(Path(step.revision.path), body),
        step.revision.down_revision,
        body,
        options.run,
        [name for name, revisions in approvals.items() if revision in revisions],
        repeats=alone,
        only=transcript.makes(is_upgrade=step.is_upgrade) if transcript else None,
    )

    def captured() -> None:
        with recording.capturing():
            run()

    run_guarded = partial(guarded, connection, revision, options.approved, captured, body.decode())
    if alone:
        with keep_revision_lock(connection):
            with build_patience(connection, options.lock_timeout_seconds):
                run_guarded(is_upgrade=step.is_upgrade)
            # What the transaction held went with it when the build left it.
            _hold(connection, step)
    else:
        with lock_budget(connection, options.lock_timeout_seconds):
            if recording.only is None:
                run_guarded(is_upgrade=step.is_upgrade)
            else:
                captured()  # what makes tables and nothing else takes no value from any
    recording.end()
    if alone:
        run_script(connection, "RESET lock_timeout; RESET statement_timeout")


def _hold(connection: Connection, step: Step) -> None:
    """Take the transaction's lock, and see under it that the target is where this revision begins."""
    lock_revision(connection)
    expected = step.revision.down_revision if step.is_upgrade else step.revision.revision
    found = target_of(connection).versions
    if found != ((expected,) if expected else ()):
        raise MonarchError(
            f"The target is at {' and '.join(found) or BASE}, expected {expected or BASE}: another run migrated it "
            "meanwhile.",
            remedy="Look at `monarch status`, then run again.",
        )


def _revision(step: Step) -> str:
    return str(step.revision.revision)


def _only_reads(context: EnvironmentContext) -> bool:
    return command(context) in READING_COMMANDS


def command(context: EnvironmentContext) -> str:
    """Return the name of the plain `alembic` command that runs, "" where it is none."""
    run = getattr(context.config.cmd_opts, "cmd", None)
    return "" if run is None else str(run[0].__name__)
