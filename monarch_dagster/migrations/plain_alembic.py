"""What a plain `alembic` command asks for: options from the settings and `-x`, a proof, and its progress on stderr.

An edge like `cli` and `defs`: it knows the settings. What happens then is `environment`'s, as for every command.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import Interrupted, interruptible
from monarch_dagster.migrations.chain import VERSIONS, Chain, approved_revisions, load_chain
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.registering import register
from monarch_dagster.migrations.standing import look
from monarch_dagster.schema.desired import Sources
from monarch_dagster.settings import Settings

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext

log = logging.getLogger(__name__)

STAMP = "stamp"
DOWNGRADE = "downgrade"


def show_progress() -> None:
    """Say on stderr what a plain `alembic` runs; the stock environment has this from `alembic.ini`."""
    if not logging.getLogger().handlers:
        logging.basicConfig(format="%(levelname)-5.5s [%(name)s] %(message)s")
        for name in ("alembic", "monarch_dagster"):
            logging.getLogger(name).setLevel(logging.INFO)


def plain_options(context: EnvironmentContext, command: str) -> Options:
    """Read the options of a plain `alembic` command: the settings, `-x allow_data_loss=REV`, `-x allow_unproved=…`."""
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
    chain, url = load_chain(schema_dir), settings.target_url()
    ran: list[str] = []
    return Options(
        url,
        approved=approved_revisions(chain, losing),
        unproved=approved_revisions(chain, unproved),
        on_start=lambda _revisions: _check_standing(chain, url, command),
        on_steps=lambda revisions: _prove_elsewhere(revisions, unproved),
        on_step=lambda revision, _seconds: ran.append(revision),
        on_end=lambda: _register(settings.sources, url, command),
        on_stop=lambda: _register(settings.sources, url, command) if ran else None,
    )


def _check_standing(chain: Chain, url: URL, command: str) -> None:
    if command == STAMP:
        return
    standing, back = look(chain, url), command == DOWNGRADE
    standing.check(back=back)
    if standing.move is not None and not back:
        raise MonarchError(
            f"The target has revisions applied that a rebase put behind others (it is at {standing.target.version}).",
            remedy="`monarch run-migrations` applies what is missing and moves the target's version.",
        )


def _register(sources: Sources, url: URL, command: str) -> None:
    if command == STAMP:
        return
    registry = register(sources, url, locked=True)
    if registry.changed or registry.removed:
        log.info("Registry: %s", registry.told)


def _prove_elsewhere(revisions: Sequence[str], unproved: Sequence[str]) -> None:
    """Prove in a process of its own: Alembic's context, which a proof needs too, is this process's."""
    if not revisions:
        return
    spawn = get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_prove, args=(theirs, revisions, unproved))
    process.start()
    theirs.close()
    try:
        error = ours.recv()
    except EOFError:
        error = MonarchError("The proof ended without a result.", remedy="See what it said above.")
    except KeyboardInterrupt:
        ours.close()  # which ends the proof
        raise
    finally:
        process.join()
    if error is not None:
        raise error


def _prove(answer: Pipe, revisions: Sequence[str], unproved: Sequence[str]) -> None:
    threading.Thread(target=_end_with_parent, args=(answer,), daemon=True).start()
    show_progress()
    with interruptible() as exit_code:
        try:
            settings = Settings.load()
            chain = load_chain(settings.sources.schema_dir)
            settings.prover().demand(chain, chain.only(revisions), approved_revisions(chain, unproved))
        except MonarchError as error:
            answer.send(error)
        except Interrupted:
            sys.exit(exit_code())
        else:
            answer.send(None)


def _end_with_parent(answer: Pipe) -> None:
    with suppress(EOFError, OSError):
        answer.recv()  # nothing is ever sent: it ends when the other end is closed, also where its process was killed
    os.kill(os.getpid(), signal.SIGINT)
