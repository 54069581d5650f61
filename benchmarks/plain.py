"""Plain Alembic at the same work: autogenerate of one schema, rendering, and the operations invoked one by one."""

from __future__ import annotations

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, MetaData

from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.schema.provider import add_provider_tables


class PlainAlembic:
    """Autogenerates on a connection, from the same tables that Monarch declares."""

    def __init__(self, connection: Connection, schema: str) -> None:
        """Make the schema, which Alembic does not."""
        self._connection, self._schema = connection, schema
        self._found: ops.UpgradeOps | None = None
        connection.exec_driver_sql(f"CREATE SCHEMA {schema}")

    def generate(self, meta: ObjectMeta) -> None:
        """Compare the database with the metadata, and render what differs."""
        metadata = MetaData()
        add_provider_tables(metadata, meta, self._schema)
        options = {
            "include_schemas": True,
            "include_name": lambda name, kind, _parents: kind != "schema" or name == self._schema,
            "target_metadata": metadata,
        }
        context = MigrationContext.configure(self._connection, opts=options)
        self._found = produce_migrations(context, metadata).upgrade_ops
        assert self._found is not None
        render_python_code(self._found, migration_context=context)

    def apply(self) -> None:
        """Invoke the operations that were found, and commit."""
        assert self._found is not None
        operations = Operations(MigrationContext.configure(self._connection))
        for item in self._found.ops:
            for operation in item.ops if isinstance(item, ops.ModifyTableOps) else [item]:
                operations.invoke(operation)
        self._connection.commit()
