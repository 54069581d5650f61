"""Running Alembic's commands on a chain, with errors a person can act on.

Everything that migrates goes through here and from here through `env.py`; plain `alembic` enters at `env.py`.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sqlalchemy import exc

from monarch_dagster.errors import IrreversibleRevision, MonarchError
from monarch_dagster.migrations.environment import ATTRIBUTE
from monarch_dagster.migrations.failures import broken, refused, revision_of
from monarch_dagster.migrations.options import Options
from monarch_dagster.migrations.transcript import run_text

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPT_LOCATION = Path(__file__).with_name("alembic")
# Alembic's context is a module-wide proxy.
_ALEMBIC = threading.Lock()


def upgrade(versions: Sequence[Path], to: str, options: Options) -> None:
    """Upgrade to revision `to` with the files in the folders `versions`. Raises `MonarchError` where that fails."""
    from alembic import command

    with _running():
        command.upgrade(_config(versions, options), to)


def downgrade(versions: Sequence[Path], to: str, options: Options) -> None:
    """Downgrade to revision `to` ("base" for none). Raises `MonarchError` where that fails."""
    from alembic import command

    with _running():
        command.downgrade(_config(versions, options), to)


def upgrade_sql(versions: Sequence[Path], start: str | None, to: str, options: Options) -> str:
    """Return the SQL of the upgrade from `start` (None for base) to `to`; nothing runs."""
    from alembic import command

    buffer = io.StringIO()
    with _running():
        config = _config(versions, options)
        config.output_buffer = buffer
        command.upgrade(config, f"{start or 'base'}:{to}", sql=True)
    return buffer.getvalue()


def statements(text: str, function: Literal["upgrade", "downgrade"]) -> tuple[str, ...]:
    """Return what the function of a revision's text sends to PostgreSQL, statement by statement; nothing runs.

    It is the function's own, without what Alembic and Monarch send around it. Raises `MonarchError` where the function
    asks the database, which is not there.
    """
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    sent = _Sent()
    with _running():
        context = MigrationContext.configure(
            dialect_name="postgresql",
            dialect_opts={"paramstyle": "named"},
            opts={"as_sql": True, "literal_binds": True, "output_buffer": sent},
        )
        with Operations.context(context):
            run_text(text, function)
    return tuple(sent)


class _Sent(list[str]):
    """What Alembic writes instead of sending it: a statement at a time, and notes."""

    def write(self, text: str) -> None:
        if statement := text.strip().removesuffix(";").rstrip():
            self.append(statement)

    def flush(self) -> None:
        """Nothing is held back."""


def _config(versions: Sequence[Path], options: Options) -> Config:
    from alembic.config import Config

    config = Config(stdout=io.StringIO())
    places = "\n".join(str(place.resolve()) for place in versions)
    for name, value in {
        "script_location": str(SCRIPT_LOCATION),
        "path_separator": "newline",
        "version_locations": places,
    }.items():
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes[ATTRIBUTE] = options
    return config


@contextmanager
def _running() -> Iterator[None]:
    from alembic.util import CommandError

    # A cached .pyc is trusted by time and size, and the folder is a client's: neither read nor leave one there.
    before = sys.dont_write_bytecode
    with _ALEMBIC:
        sys.dont_write_bytecode = True
        try:
            yield
        except CommandError as error:
            raise MonarchError(f"Alembic could not run the revisions: {error}", remedy="See the message.") from None
        except exc.DBAPIError as error:
            raise refused(error) from None
        except IrreversibleRevision as error:
            raise IrreversibleRevision(
                f"Revision {revision_of(error)} cannot be taken back: {error.message}",
                remedy=error.remedy or "Restore a backup from before it, or go forward with another revision.",
            ) from None
        except MonarchError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a revision is a person's code and may raise anything
            raise broken(error) from None
        finally:
            sys.dont_write_bytecode = before
