"""The rows of the registry on a target: read, removed and written in bulk, and what its role may do to them.

Which rows there should be is decided in `schema.registry` and `schema.registry_changes`, when they are written in
`registering`.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from monarch_dagster.postgres.quoting import identifier
from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.schema.registry import FIELDS, OBJECTS, SCHEMA, Columns, FieldRow, ObjectRow, Row, row_types
from monarch_dagster.schema.registry_changes import Changes

PROVIDER = ObjectMeta().provider

# Of a removed row: when it was first seen, and since when it is missing, as JSON has them.
Times = tuple[Any, Any]

_KEYS = {ObjectRow: ("api_name",), FieldRow: ("object_name", "api_name")}
_TABLES = """
SELECT c.relname, json_object_agg(a.attname, format_type(a.atttypid, a.atttypmod))
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE n.nspname = %(schema)s AND (%(names)s::text[] IS NULL OR c.relname = ANY(%(names)s)) AND c.relkind IN ('r', 'p')
GROUP BY c.oid, c.relname
"""
# By number: a table's name may not even be read without the right to use its schema.
_RIGHTS = """
SELECT current_user, bool_and(has_schema_privilege(n.oid, 'USAGE')), bool_and((
  SELECT bool_and(has_table_privilege(c.oid, wanted)) FROM unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) wanted
))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = ANY(%s) AND c.relkind IN ('r', 'p')
"""


def is_registry(connection: Connection, schema: str, table: str) -> bool:
    """Say whether a table is a registry, though of an older form: this provider's rows in it come from the file."""
    if schema != SCHEMA or table not in (OBJECTS, FIELDS):
        return False
    return is_like_registry(read_tables(connection, SCHEMA, [table]).get(table, {}))


def is_like_registry(columns: Columns) -> bool:
    """Say whether a table that has a registry's name has what any form of it had."""
    return columns.keys() >= {"provider", "api_name", "first_seen_at"}


def read_tables(connection: Connection, schema: str, names: Sequence[str] | None = None) -> Mapping[str, Columns]:
    """Return the tables of a schema, all or those of these names, and their columns."""
    rows: Any = connection.exec_driver_sql(_TABLES, {"schema": schema, "names": names})
    return dict(rows.all())


def read_rows(connection: Connection, table: str, kind: type[Row]) -> list[Row]:
    """Return this provider's rows."""
    # As one value, since a row of its own for each costs three times as much.
    columns = ", ".join("missing_since IS NOT NULL" if name == "missing" else name for name in kind._fields)
    found = connection.exec_driver_sql(
        f"SELECT json_agg(json_build_array({columns})) FROM {SCHEMA}.{table} WHERE provider = %s", (PROVIDER,)
    ).scalar_one()
    return [kind._make(row) for row in found or ()]


def remove(connection: Connection, table: str, changes: Changes[Row]) -> Mapping[Hashable, Times]:
    """Remove the rows that are to go; return the times of each by its key."""
    if not changes.removed:
        return {}
    names = ", ".join(_KEYS[type(changes.removed[0])])
    found = connection.exec_driver_sql(
        f"DELETE FROM {SCHEMA}.{table} WHERE provider = %s "
        f"AND ({names}) IN (SELECT {names} FROM {_as_rows(changes.removed)}) "
        f"RETURNING {names}, to_json(first_seen_at), to_json(missing_since)",
        (PROVIDER, json.dumps(changes.removed)),
    )
    return {key[0] if len(key) == 1 else tuple(key): (first, since) for *key, first, since in found}


def write(connection: Connection, table: str, changes: Changes[Row], times: Mapping[Hashable, Times]) -> None:
    """Write rows that are new or another; how long something has been missing is kept while it is.

    `times` are those of removed rows, for rows that go on from one of them.
    """
    if not changes.written:
        return
    kind = type(changes.written[0])
    columns = [name for name in kind._fields if name != "missing"]
    names, values = ", ".join(columns), ", ".join(f"{name} = excluded.{name}" for name in columns)
    connection.exec_driver_sql(
        f"INSERT INTO {SCHEMA}.{table} AS stored (provider, {names}, missing_since, first_seen_at, updated_at) "
        f"SELECT %s, {names}, CASE WHEN missing THEN coalesce(since, now()) END, coalesce(first, now()), now() "
        f"FROM {_as_rows(changes.written, 'first', 'since')} "
        f"ON CONFLICT (provider, {', '.join(_KEYS[kind])}) DO UPDATE SET {values}, updated_at = now(), missing_since = "
        "CASE WHEN excluded.missing_since IS NOT NULL THEN coalesce(stored.missing_since, excluded.missing_since) END",
        (PROVIDER, json.dumps(_with_times(changes, times))),
    )


def _with_times(changes: Changes[Row], times: Mapping[Hashable, Times]) -> Sequence[Sequence[Any]]:
    if not times:
        return changes.written
    unknown: Times = (None, None)
    return [tuple(row) + times.get(changes.former.get(row.key), unknown) for row in changes.written]


def _as_rows(rows: Sequence[Row], *times: str) -> str:
    """Return SQL that takes one parameter, the rows as JSON, apart; an array a row has half the costs of an object.

    Behind its own values a row may have the `times` of these names.
    """
    values = {
        "text": "r ->> {}",
        "boolean": "(r ->> {})::boolean",
        "text[]": "ARRAY(SELECT jsonb_array_elements_text(r -> {}))",
        "timestamptz": "(r ->> {})::timestamptz",
    }
    types = row_types(type(rows[0])) | dict.fromkeys(times, "timestamptz")
    listed = ", ".join(f"{values[kind].format(place)} AS {name}" for place, (name, kind) in enumerate(types.items()))
    return f"(SELECT {listed} FROM jsonb_array_elements(%s::jsonb) AS r) AS r"


def lacking(connection: Connection) -> tuple[str, str]:
    """Return the connection's role as it is written in SQL, and the statements that give it what it lacks, "" for none.

    Source: PostgreSQL, "System Information Functions", `has_table_privilege` (a list of rights asks for any of them).
    """
    role, uses, writes = connection.exec_driver_sql(_RIGHTS, (SCHEMA, [OBJECTS, FIELDS])).one()
    to = f"TO {identifier(role)};"
    schema = "" if uses else f"GRANT USAGE ON SCHEMA {SCHEMA} {to}"
    rights = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {SCHEMA}.{OBJECTS}, {SCHEMA}.{FIELDS} {to}"
    return identifier(role), " ".join(filter(None, (schema, "" if writes else rights)))
