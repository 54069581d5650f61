"""The core models survive Alembic: what autogenerate writes for them builds them, and then finds no difference."""

from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata, produce_migrations, render_python_code
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.schema import CreateSchema

from monarch_dagster.models.base import Base
from monarch_dagster_tests.models.conftest import SCHEMAS


@pytest.mark.parametrize("schema", SCHEMAS)
def test_autogenerate_finds_nothing_after_create_all(connection: Connection, schema: str) -> None:
    assert compare_metadata(context(connection, schema), Base.metadata) == []


def test_a_rendered_revision_builds_the_models_and_takes_them_down_again(empty_engine: Engine) -> None:
    with empty_engine.begin() as connection:
        for schema in SCHEMAS:
            connection.execute(CreateSchema(schema))
        migrations = context(connection)
        script = produce_migrations(migrations, Base.metadata)
        assert script.upgrade_ops is not None
        assert script.downgrade_ops is not None
        run(migrations, render_python_code(script.upgrade_ops, migration_context=migrations))
        for schema in SCHEMAS:
            assert compare_metadata(context(connection, schema), Base.metadata) == []
        run(migrations, render_python_code(script.downgrade_ops, migration_context=migrations))
        assert [inspect(connection).get_table_names(schema) for schema in SCHEMAS] == [[], [], [], []]


def context(connection: Connection, *schemas: str) -> MigrationContext:
    """A migration context that compares all it can, in the named schemas or in all four."""
    wanted = schemas or SCHEMAS

    def include_object(item: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
        return kind != "table" or item.schema in wanted

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        return kind != "schema" or name in wanted

    return MigrationContext.configure(
        connection,
        opts={
            "target_metadata": Base.metadata,
            "compare_type": True,
            "compare_server_default": True,
            "include_schemas": True,
            "include_object": include_object,
            "include_name": include_name,
        },
    )


def run(migrations: MigrationContext, body: str) -> None:
    """Execute a rendered upgrade or downgrade."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql

    scope: dict[str, Any] = {"sa": sa, "postgresql": postgresql}
    exec(f"def step(op):\n    {body}\n", scope)
    step: Callable[[Operations], None] = scope["step"]
    step(Operations(migrations))
