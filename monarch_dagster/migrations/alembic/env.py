"""Alembic's entry: `monarch` and plain `alembic` both come through here, so both lock and guard alike (DESIGN rule 11)."""

from alembic import context

from monarch_dagster.migrations.environment import migrate

migrate(context)
