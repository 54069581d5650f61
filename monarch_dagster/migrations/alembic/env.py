"""Alembic's entry: `monarch` and plain `alembic` both come through here, so both lock and guard alike."""

from typing import TYPE_CHECKING, cast

from alembic import context

from monarch_dagster.migrations.environment import migrate

if TYPE_CHECKING:
    from alembic.runtime.environment import EnvironmentContext

migrate(cast("EnvironmentContext", context))
