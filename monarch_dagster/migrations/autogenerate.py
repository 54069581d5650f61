"""Alembic's autogenerate on the relations that differ, and its result as Python text.

Adapters to Alembic's API; which relations differ is told by facts, and the order of operations is `operations`'.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from mako.template import Template
from sqlalchemy import Connection, MetaData

from monarch_dagster.migrations.chain import Hazard
from monarch_dagster.migrations.operations import Step
from monarch_dagster.migrations.runner import SCRIPT_LOCATION

PLUGINS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]


def detect(connection: Connection, metadata: MetaData, tables: Iterable[str]) -> list[ops.MigrateOperation]:
    """Return the operations that take `tables` ("schema.name") from what they are on `connection` to `metadata`.

    One pass a schema: Alembic reflects in bulk only while it looks at one.
    """
    by_schema: dict[str, set[str]] = defaultdict(set)
    for table in tables:
        schema, _, name = table.partition(".")
        by_schema[schema].add(name)
    found: list[ops.MigrateOperation] = []
    for schema, names in sorted(by_schema.items()):
        found += _detect_in_schema(connection, metadata, schema, names)
    return found


def _detect_in_schema(
    connection: Connection, metadata: MetaData, schema: str, names: set[str]
) -> Sequence[ops.MigrateOperation]:
    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name == schema
        return kind != "table" or (parents["schema_name"] == schema and name in names)

    def include_object(item: Any, name: str | None, kind: str, reflected: bool, _compared: Any) -> bool:
        return kind != "table" or reflected or (item.schema == schema and name in names)

    context = MigrationContext.configure(
        connection,
        opts={
            "target_metadata": metadata,
            "include_schemas": True,
            "include_name": include_name,
            "include_object": include_object,
            "compare_type": True,
            "compare_server_default": True,
            "autogenerate_plugins": PLUGINS,
        },
    )
    upgrade = produce_migrations(context, metadata).upgrade_ops
    return upgrade.ops if upgrade is not None else []


def render_bodies(connection: Connection, steps: Sequence[Step]) -> tuple[str, str]:
    """Return the Python text of `upgrade` and `downgrade`, indented, a paragraph a step."""
    context = MigrationContext.configure(connection)
    upgrades = [_render(context, step.up) for step in steps]
    downgrades = [_render(context, step.down) for step in reversed(steps)]
    return _body(upgrades), _body(downgrades)


def render_revision(
    *,
    revision: str,
    down_revision: str | None,
    message: str,
    hazards: Iterable[Hazard],
    upgrades: str,
    downgrades: str,
) -> str:
    """Return a revision file's text. The message may hold anything: it ends as inert text in the docstring."""
    template = Template(  # noqa: S702 - it renders Python, and each value is escaped for that below
        (SCRIPT_LOCATION / "script.py.mako").read_text(), output_encoding=None
    )
    return str(
        template.render(
            doc=escape_docstring(message),
            up_revision=revision,
            down_revision=down_revision,
            hazards=[escape_docstring(str(hazard)) for hazard in hazards],
            upgrades=upgrades,
            downgrades=downgrades,
        )
    )


def escape_docstring(text: str) -> str:
    """Return `text` on one line, so that between triple quotes it is just that text and nothing else."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)


def _render(context: MigrationContext, operations: Iterable[ops.MigrateOperation]) -> str:
    code = render_python_code(ops.UpgradeOps(ops=list(operations)), migration_context=context)
    return "\n".join(line for line in code.splitlines() if not line.lstrip().startswith("# ### ")).strip()


def _body(paragraphs: Sequence[str]) -> str:
    return "\n\n".join(f"    {paragraph}" for paragraph in paragraphs) or "    pass"
