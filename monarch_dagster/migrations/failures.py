"""What is told of a revision that failed: which one, why, what became of it, and what to do.

Errors come with notes that `environment` adds; the commands of `monarch` and plain `alembic` tell them alike.
"""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from sqlalchemy import exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import find_loss, first_line, is_lost
from monarch_dagster.schema.naming import PROVEN_PREFIX, PROVEN_SUFFIX

# How an error that a revision raises says which one it was.
NOTE = "in revision "
# How it says that the revision was not in a transaction, or that its transaction was being committed.
OUTSIDE_NOTE = "outside of a transaction"
COMMIT_NOTE = "at its commit"
# duplicate_table (also an index, a view), _column, _object, _schema, _function (PostgreSQL, "Error Codes").
_DUPLICATES = frozenset({"42P07", "42701", "42710", "42P06", "42723"})
# insufficient_privilege (also for what only an owner may), read_only_sql_transaction
_NOT_PERMITTED = "42501"
_READ_ONLY = "25006"
_SAME_VALUES = "23505"  # unique_violation
# "Data Exception", "Integrity Constraint Violation": PostgreSQL repeats values, which may be personal.
_DATA_EXCEPTION, _VIOLATION = "22", "23"
_QUOTED = re.compile(r'".*"', re.DOTALL)
_ROW_VALUES = re.compile(r"(?<=\)=\().*(?=\) (?:is|already|conflicts))|(?<=row contains \().*(?=\))", re.DOTALL)
_NO_FUNCTION = re.compile(r"^module .* has no attribute '(upgrade|downgrade)'$")
# What Alembic has in place of a connection where nothing runs.
_NO_CONNECTION = "'MockConnection' object has no attribute"
_NOT_A_REVISION = ("site-packages", "<frozen", "<string>", str(Path(__file__).parents[1]))


class RefusedError(MonarchError):
    """PostgreSQL refused a statement: with which SQLSTATE, and on which table ("" where it names none)."""

    sqlstate = ""
    table = ""


def refused(error: exc.DBAPIError) -> MonarchError:
    """Return the error for what PostgreSQL refused, or for the connection that was lost."""
    if is_lost(error):
        return _lost(error, error)
    became = "which runs outside of a transaction" if _has(error, OUTSIDE_NOTE) else "which was rolled back"
    where = f" {note}, {became}" if (note := _note(error)) else ""
    failed = RefusedError(
        f"PostgreSQL refused a statement{where}: {_said(error)}{_shown(error)}",
        remedy=_advice(error),
    )
    failed.sqlstate = getattr(error.orig, "sqlstate", None) or ""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None and diagnosis.table_name:
        failed.table = f"{diagnosis.schema_name}.{diagnosis.table_name}"
    return failed


def _lost(error: exc.DBAPIError, noted: BaseException) -> MonarchError:
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


def _said(error: exc.DBAPIError) -> str:
    """Return what PostgreSQL said, without the values of rows."""
    said, kind = str(error.orig).strip(), (getattr(error.orig, "sqlstate", None) or "")[:2]
    if kind == _VIOLATION:
        return _ROW_VALUES.sub("…", said)
    if kind != _DATA_EXCEPTION:
        return said
    primary = getattr(getattr(error.orig, "diag", None), "message_primary", None)
    return _QUOTED.sub('"…"', primary or said).splitlines()[0]


def _shown(error: exc.DBAPIError) -> str:
    # Alembic and SQLAlchemy double percent signs for the driver.
    statement = " ".join((error.statement or "").replace("%%", "%").split())
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
    if getattr(error.orig, "sqlstate", None) == _NOT_PERMITTED:
        return (
            "This role may not do that. Have the owner of what the message names grant the right (what must be owned: "
            "ALTER … OWNER TO), or let MONARCH_DATABASE_URL name a role that may; then run again: it goes on where it "
            "stopped."
        )
    if getattr(error.orig, "sqlstate", None) == _READ_ONLY:
        return (
            "The database takes no writes here: a standby, or default_transaction_read_only is on. Let "
            "MONARCH_DATABASE_URL lead to the primary, then run again: it goes on where it stopped."
        )
    if getattr(error.orig, "sqlstate", None) == _SAME_VALUES:
        return (
            "Correct the rows that have the same values, then run again: it goes on where it stopped. Or do without "
            "the index: for a field of object_meta.json say choices.index false, delete the revision, generate again."
        )
    return "What ran before it stays as it is. Correct the cause, then run again: it goes on where it stopped."


def broken(error: BaseException) -> MonarchError:
    """Return the error for what a revision's own code raised."""
    if (cause := find_loss(error)) is not None:
        return _lost(cause, error)
    if isinstance(error, AttributeError) and (found := _NO_FUNCTION.search(str(error))):
        return MonarchError(
            f"The revision has no function {found[1]}().", remedy="Write one; where nothing is to be done, with `pass`."
        )
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not any(place in frame.filename for place in _NOT_A_REVISION)]
    place = (own or frames)[-1]
    where = f" {note}" if (note := _note(error)) else ""
    if isinstance(error, AttributeError) and _NO_CONNECTION in str(error):
        return MonarchError(
            f"The SQL of the code{where} cannot be shown, since it asks the database ({place.filename}, line "
            f"{place.lineno}), and nothing runs.",
            remedy="Apply it without a dry run: it is proved on a shadow before it touches the target.",
        )
    return MonarchError(
        f"The code{where} failed: {type(error).__name__}: {error} ({place.filename}, line {place.lineno})",
        remedy="Correct the revision; it was rolled back, and revisions before it stay applied.",
    )


def revision_of(error: Exception) -> str:
    """Return the revision that an error came up in, "" where it says none."""
    return _note(error).removeprefix(NOTE)


def _note(error: BaseException) -> str:
    return next((note for note in getattr(error, "__notes__", ()) if note.startswith(NOTE)), "")


def _has(error: BaseException, note: str) -> bool:
    return note in getattr(error, "__notes__", ())
