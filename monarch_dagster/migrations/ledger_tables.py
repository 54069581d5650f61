"""The tables of the schema `alembic` that Monarch makes in a target. What is written into them belongs in `ledger`."""

from __future__ import annotations

from sqlalchemy import Connection, exc

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.engines import first_line, run_script

SCHEMA = "alembic"
VERSION_TABLE = f"{SCHEMA}.alembic_version"
LEDGER = f"{SCHEMA}.revision_ledger"
FACTS = f"{SCHEMA}.facts_hash"

# insufficient_privilege (PostgreSQL, "Error Codes").
_NOT_PERMITTED = "42501"

_TABLES = f"""
CREATE TABLE {LEDGER} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    direction text NOT NULL CHECK (direction IN ('upgrade', 'downgrade', 'adopt', 'rebase')),
    revision text NOT NULL,
    down_revision text,
    digest text NOT NULL,
    body bytea NOT NULL,
    sql bytea NOT NULL,
    server_version integer NOT NULL,
    facts_before text,
    facts_after text,
    relations jsonb NOT NULL,
    hazards jsonb NOT NULL,
    approvals text[] NOT NULL,
    applied_by text NOT NULL,
    database_user text NOT NULL DEFAULT session_user,
    run text NOT NULL,
    started_at timestamptz NOT NULL,
    seconds double precision NOT NULL,
    ended_at timestamptz
);
COMMENT ON TABLE {LEDGER} IS
    'What Monarch applied to this database: append-only. body and sql are compressed with zlib.';
CREATE UNIQUE INDEX revision_ledger_in_force ON {LEDGER} (coalesce(down_revision, ''))
    WHERE ended_at IS NULL AND direction <> 'downgrade';
CREATE OR REPLACE FUNCTION {SCHEMA}.keep_ledger() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ended timestamptz;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        ended := NEW.ended_at;
        NEW.ended_at := NULL;
        IF OLD.ended_at IS NULL AND NEW IS NOT DISTINCT FROM OLD THEN
            NEW.ended_at := ended;
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION '{LEDGER} is append-only: % is refused', TG_OP;
END $$;
CREATE TRIGGER keep_ledger BEFORE UPDATE OR DELETE ON {LEDGER}
    FOR EACH ROW EXECUTE FUNCTION {SCHEMA}.keep_ledger();
CREATE TRIGGER keep_ledger_whole BEFORE TRUNCATE ON {LEDGER}
    FOR EACH STATEMENT EXECUTE FUNCTION {SCHEMA}.keep_ledger();
DROP TABLE IF EXISTS {FACTS};
CREATE TABLE {FACTS} (relation text PRIMARY KEY, hash text NOT NULL, facts jsonb NOT NULL);
COMMENT ON TABLE {FACTS} IS 'The relations that revisions made, as this server printed them after the last one.';
"""


def make_tables(connection: Connection) -> None:
    """Make the schema and the ledger where they are not there, in the connection's transaction.

    Raises `MonarchError`, with the transaction aborted, where the role may not.
    """
    # Asked first: IF NOT EXISTS wants the right to create schemas also where the schema is there.
    schema, ledger, role, database = connection.exec_driver_sql(
        "SELECT to_regnamespace(%s), to_regclass(%s), quote_ident(current_user), quote_ident(current_database())",
        (SCHEMA, LEDGER),
    ).one()
    try:
        if schema is None:
            run_script(connection, f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        if ledger is None:
            run_script(connection, _TABLES)
    except exc.DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _NOT_PERMITTED:
            raise
        give = (
            f"GRANT CREATE ON DATABASE {database} TO {role}; with it revisions can make their schemas too. "
            f"Where those are there: CREATE SCHEMA {SCHEMA} AUTHORIZATION {role};"
            if schema is None
            else f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {role};"
        )
        raise MonarchError(
            f"The role {role} may not make the tables of the schema {SCHEMA}, where Monarch writes what it applied: "
            f"{first_line(error)}. Nothing was changed.",
            remedy=f"Have the database's owner run: {give}",
        ) from None
