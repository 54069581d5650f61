"""Names of provider tables, columns and constraints (DESIGN section 7), and what a name may be. Pure.

Core models name their own things; what is left of their constraints is named by `constraints`.
"""

from __future__ import annotations

import hashlib
import re

from monarch_dagster.errors import MonarchError

# PostgreSQL truncates longer names in silence ("Identifiers and Key Words"), and then the diff never ends.
LONGEST_NAME = 63
_DIGEST_LENGTH = 8
# Of a check that proves NOT NULL between two revisions; the column's name stands in between.
PROVEN_PREFIX, PROVEN_SUFFIX = "monarch_", "_not_null"
# Columns that every table has ("System Columns"); none can be created.
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
RESERVED_SCHEMAS = frozenset({"alembic", "information_schema", "public"})


def shorten(name: str) -> str:
    """Return `name` itself up to 63 bytes, else its start and a digest of the whole, 63 bytes at most."""
    return name if len(name.encode()) <= LONGEST_NAME else digested(name)


def digested(name: str, path: str = "") -> str:
    """Return the start of `name` and a digest of the whole and of `path`, which tells it apart, 63 bytes at most."""
    start = name.encode()[: LONGEST_NAME - _DIGEST_LENGTH - 1].decode(errors="ignore")
    return f"{start}_{hashlib.sha256(f'{name}{path}'.encode()).hexdigest()[:_DIGEST_LENGTH]}"


def sql_name(api_name: str) -> str:
    """Return the table or column name for a Salesforce API name: lower case, shortened where it is too long."""
    return shorten(api_name.lower())


def check_length(name: str, what: str) -> None:
    """Raise `MonarchError`, naming `what` has that name, where PostgreSQL would cut it in silence."""
    if (size := len(name.encode())) > LONGEST_NAME:
        raise MonarchError(
            f"The name of {what} is {size} bytes long, and PostgreSQL keeps {LONGEST_NAME}.",
            remedy="Give it a shorter name.",
        )


def check_schema_name(name: str, where: str) -> str:
    """Return `name` where it can be a managed schema; raise `MonarchError`, naming `where` it was set, otherwise."""
    if _SCHEMA_NAME.fullmatch(name) and name not in RESERVED_SCHEMAS and not name.startswith("pg_"):
        return name
    raise MonarchError(
        f"{where} is {name!r}, which cannot be the name of a schema that Monarch manages.",
        remedy="Use lower-case letters, digits and underscores (63 at most); "
        f"not {', '.join(sorted(RESERVED_SCHEMAS))} or pg_….",
    )
