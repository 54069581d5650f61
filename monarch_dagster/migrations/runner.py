"""Running Alembic's commands on a chain, with errors a person can act on.

Everything that migrates goes through here and from here through `env.py`; plain `alembic` enters at `env.py`.
"""

from __future__ import annotations

import io
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import exc

from monarch_dagster.errors import IrreversibleRevision, MonarchError
from monarch_dagster.migrations.environment import ATTRIBUTE, COMMIT_NOTE, NOTE, OUTSIDE_NOTE
from monarch_dagster.migrations.options import Options
from monarch_dagster.postgres.engines import find_loss, first_line, is_lost
from monarch_dagster.schema.naming import PROVEN_PREFIX, PROVEN_SUFFIX

if TYPE_CHECKING:
    from alembic.config import Config

SCRIPT_LOCATION = Path(__file__).with_name("alembic")
# Alembic's context is a module-wide proxy.
_ALEMBIC = threading.Lock()
# duplicate_table (also an index, a view), _column, _object, _schema, _function (PostgreSQL, "Error Codes").
_DUPLICATES = frozenset({"42P07", "42701", "42710", "42P06", "42723"})
_NOT_A_REVISION = ("site-packages", "<frozen", str(Path(__file__).parents[1]))


class RefusedError(MonarchError):
    """PostgreSQL refused a statement: with which SQLSTATE, and on which table ("" where it names none)."""

    sqlstate = ""
    table = ""


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
            raise _failed(error) from None
        except IrreversibleRevision as error:
            raise IrreversibleRevision(
                f"Revision {_note(error).removeprefix(NOTE)} cannot be taken back: {error.message}",
                remedy=error.remedy or "Restore a backup from before it, or go forward with another revision.",
            ) from None
        except MonarchError:
            raise
        except Exception as error:  # noqa: BLE001 - a revision is a person's code and may raise anything
            raise _broken(error) from None
        finally:
            sys.dont_write_bytecode = before


def _failed(error: exc.DBAPIError) -> MonarchError:
    if is_lost(error):
        return _lost(error, error)
    became = "which runs outside of a transaction" if _has(error, OUTSIDE_NOTE) else "which was rolled back"
    where = f" {note}, {became}" if (note := _note(error)) else ""
    failed = RefusedError(
        f"PostgreSQL refused a statement{where}: {str(error.orig).strip()}{_shown(error)}",
        remedy=_advice(error),
    )
    failed.sqlstate = getattr(error.orig, "sqlstate", None) or ""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None and diagnosis.table_name:
        failed.table = f"{diagnosis.schema_name}.{diagnosis.table_name}"
    return failed


def _lost(error: exc.DBAPIError, noted: Exception) -> MonarchError:
    """Tell that the connection has gone, and what became of the revision that ran; `noted` says which that was."""
    note = _note(noted)
    if _has(noted, COMMIT_NOTE):
        where = f" while {note.removeprefix('in ')} was committed; whether it is, is not known"
        goes_on = "it finds out whether the revision is there, and goes on behind it or with it"
    elif _has(noted, OUTSIDE_NOTE):
        where = f" {note}, which runs outside of a transaction: it may be done in part"
        goes_on = "the revision is repeated, and what it has left is dropped or kept as it should be"
    elif note:
        where, goes_on = f" {note}, which is rolled back", "it goes on with that revision"
    else:
        where, goes_on = "; no revision was running", "it goes on where it stopped"
    return MonarchError(
        f"The connection to the database was lost{where}: {first_line(error)}{_shown(error)}",
        remedy=f"See that the server runs (its log tells why it ended the connection), then run again: {goes_on}.",
    )


def _shown(error: exc.DBAPIError) -> str:
    statement = " ".join((error.statement or "").split())
    return f"\n  in: {statement[:300]}{' …' if len(statement) > 300 else ''}" if statement else ""


def _advice(error: exc.DBAPIError) -> str:
    diagnosis = getattr(error.orig, "diag", None)
    constraint = getattr(diagnosis, "constraint_name", None) or ""
    if constraint.startswith(PROVEN_PREFIX) and constraint.endswith(PROVEN_SUFFIX):
        column = constraint.removeprefix(PROVEN_PREFIX).removesuffix(PROVEN_SUFFIX)
        table = f"{diagnosis.schema_name}.{diagnosis.table_name}" if diagnosis is not None else "the table"
        return f"Give {column} a value in the rows of {table} where it is null, then run again: it goes on from there."
    if getattr(error.orig, "sqlstate", None) in _DUPLICATES:
        return (
            "Is the schema there from elsewhere (another system, a restored dump)? `monarch adopt` records the "
            "revision that it equals. Else rename or drop what is in the way, then run again: it goes on where it "
            "stopped."
        )
    return "What ran before it stays as it is. Correct the cause, then run again: it goes on where it stopped."


def _broken(error: Exception) -> MonarchError:
    if (cause := find_loss(error)) is not None:
        return _lost(cause, error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(place in frame.filename for place in _NOT_A_REVISION)]
    place = (own or frames)[-1]
    where = f" {note}" if (note := _note(error)) else ""
    return MonarchError(
        f"The code{where} failed: {type(error).__name__}: {error} ({place.filename}, line {place.lineno})",
        remedy="Correct the revision; it was rolled back, and revisions before it stay applied.",
    )


def _note(error: Exception) -> str:
    return next((note for note in getattr(error, "__notes__", ()) if note.startswith(NOTE)), "")


def _has(error: Exception, note: str) -> bool:
    return note in getattr(error, "__notes__", ())
