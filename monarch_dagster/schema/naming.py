"""Names of provider tables, columns and constraints (DESIGN section 7). Pure.

Core models name their own things; the convention for their constraints is `models.base.NAMING_CONVENTION`.
"""

from __future__ import annotations

import hashlib
import re

from monarch_dagster.errors import MonarchError

# PostgreSQL truncates longer names in silence ("Identifiers and Key Words"), and then the diff never ends.
LONGEST_NAME = 63
_DIGEST_LENGTH = 8
# Columns that every table has ("System Columns"); none can be created.
SYSTEM_COLUMNS = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
RESERVED_SCHEMAS = frozenset({"alembic", "information_schema", "public"})


def shorten(name: str) -> str:
    """Return `name` itself up to 63 bytes, else its start and a digest of the whole, 63 bytes long.

    API names are ASCII, so a character is a byte.
    """
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: LONGEST_NAME - _DIGEST_LENGTH - 1]}_{digest}"


def sql_name(api_name: str) -> str:
    """Return the table or column name for a Salesforce API name: lower case, shortened where it is too long."""
    return shorten(api_name.lower())


def check_schema_name(name: str, where: str) -> str:
    """Return `name` where it can be a managed schema; raise `MonarchError`, naming `where` it was set, otherwise."""
    if _SCHEMA_NAME.fullmatch(name) and name not in RESERVED_SCHEMAS and not name.startswith("pg_"):
        return name
    raise MonarchError(
        f"{where} is {name!r}, which cannot be the name of a schema that Monarch manages.",
        remedy="Use lower-case letters, digits and underscores (63 at most); "
        f"not {', '.join(sorted(RESERVED_SCHEMAS))} or pg_….",
    )
