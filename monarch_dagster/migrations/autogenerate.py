"""Alembic's autogenerate on the relations that differ, and its result as Python text.

Adapters to Alembic's API; which relations differ is told by facts, and the order of operations is `operations`'.
"""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from mako.template import Template
from sqlalchemy import ClauseElement, Column, Connection, MetaData, TextClause, text
from sqlalchemy.sql import visitors

from monarch_dagster.migrations.chain import Hazard
from monarch_dagster.migrations.operations import USING, Step
from monarch_dagster.migrations.runner import SCRIPT_LOCATION
from monarch_dagster.schema.facts import Difference, column_parts

PLUGINS = ["alembic.autogenerate.*", "alembic.ext.checkconstraint_byname"]
_TABLE = "table "
# As TextClause finds parameters and their escapes.
_PARAMETER = re.compile(r"\\(?=:\w*(?![:\w]))|(?<![:\w\\]):(?=\w+(?!:))")


def detect(connection: Connection, metadata: MetaData, changes: Iterable[Difference]) -> list[ops.MigrateOperation]:
    """Return the operations that take the tables of `changes` from what they are on `connection` to `metadata`.

    One pass a schema: Alembic reflects in bulk only while it looks at one.
    """
    by_schema: dict[str, list[Difference]] = defaultdict(list)
    for change in changes:
        if change.relation.startswith(_TABLE):
            by_schema[change.relation.removeprefix(_TABLE).partition(".")[0]].append(change)
    found: list[ops.MigrateOperation] = []
    for schema, changed in sorted(by_schema.items()):
        found += _detect_in_schema(connection, metadata, schema, changed)
    return found


def _detect_in_schema(
    connection: Connection, metadata: MetaData, schema: str, changes: Iterable[Difference]
) -> Sequence[ops.MigrateOperation]:
    aspects = {(change.relation.removeprefix(f"{_TABLE}{schema}."), change.aspect): change for change in changes}
    names = {name for name, _ in aspects}

    def include_name(name: str | None, kind: str, parents: Any) -> bool:
        if kind == "schema":
            return name == schema
        return kind != "table" or (parents["schema_name"] == schema and name in names)

    def include_object(item: Any, name: str | None, kind: str, reflected: bool, _compared: Any) -> bool:
        return kind != "table" or reflected or (item.schema == schema and name in names)

    def differs(column: Column[Any], part: int) -> bool:
        # PostgreSQL has compared them already: Alembic's own answer knows no collation, and for defaults it runs them.
        change = aspects.get((column.table.name, f"column {column.name}"))
        return change is not None and column_parts(change.expected)[part] != column_parts(change.found)[part]

    context = MigrationContext.configure(
        connection,
        opts={
            "target_metadata": metadata,
            "include_schemas": True,
            "include_name": include_name,
            "include_object": include_object,
            "compare_type": lambda _context, _reflected, column, *_: differs(column, 0),
            "compare_server_default": True,
            "autogenerate_plugins": PLUGINS,
        },
    )
    # As an option, such a function is asked about identities too, and Alembic fails before it calls it.
    context.impl.compare_server_default = lambda _reflected, column, *_: differs(column, 1)  # type: ignore[method-assign]
    with warnings.catch_warnings():
        # Cycles of foreign keys, which the canonical order breaks, and what it cannot change, which the proof finds.
        warnings.simplefilter("ignore")
        upgrade = produce_migrations(context, metadata).upgrade_ops
    return upgrade.ops if upgrade is not None else []


def render_bodies(steps: Sequence[Step]) -> tuple[str, str]:
    """Return the Python text of `upgrade` and `downgrade`, indented, a paragraph a step."""
    # For a driver's parameter style SQLAlchemy doubles percent signs, which then end in expressions and defaults.
    context = MigrationContext.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"})
    render = context.impl.render_ddl_sql_expr

    def escaped(clause: ClauseElement, **options: Any) -> str:
        sql = render(visitors.cloned_traverse(clause, {}, {"textclause": _forget_parameters}), **options)
        return sql if options.get("is_index") else escape_parameters(sql)

    # Rendered, it becomes text() again, in which a colon begins a parameter; an index's becomes literal_column().
    context.impl.render_ddl_sql_expr = escaped  # type: ignore[assignment, method-assign]
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
            message=escape_docstring(message),
            up_revision=revision,
            down_revision=down_revision,
            hazards=[escape_docstring(str(hazard)) for hazard in hazards],
            upgrades=upgrades,
            downgrades=downgrades,
        )
    )


def _forget_parameters(clause: TextClause) -> None:
    # Text that was reflected has none, even where it looks as if.
    clause._bindparams = {}


def escape_parameters(sql: str) -> str:
    """Return `sql` so that `text()` takes it as it is: there a colon before a word begins a parameter."""
    return _PARAMETER.sub(r"\\\g<0>", sql)


def escape_docstring(text: str) -> str:
    """Return `text` on one line, so that between triple quotes it is just that text and nothing else."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)


def _render(context: MigrationContext, operations: Sequence[ops.MigrateOperation]) -> str:
    for item in operations:
        if isinstance(item, ops.CreateIndexOp):
            _settle_index(item)
    code = render_python_code(ops.UpgradeOps(ops=list(operations)), migration_context=context)
    lines = [line for line in code.splitlines() if not line.lstrip().startswith("# ### ")]
    # Alembic leaves what stands between parentheses where the call begins.
    body = "\n".join(line if _begins(line.strip()) else f"    {line}" for line in lines).strip()
    if isinstance(operations[0], ops.AlterColumnOp) and (using := operations[0].kw.get(USING)):
        last = body.splitlines()[-1]
        indent = " " * (len(last) - len(last.lstrip()))
        return f"{body.removesuffix(')')},\n{indent}{USING}={using!r})"  # Alembic does not render it
    return body


def _settle_index(item: ops.CreateIndexOp) -> None:
    """Have what was reflected of an index rendered as it stands; Alembic wraps or repeats it, and hides it so."""
    for column in item.columns:
        # Text may be in an element of Alembic's own, which visitors do not look into.
        for clause in (column, getattr(column, "text", None)):
            if isinstance(clause, ClauseElement):
                visitors.traverse(clause, {}, {"textclause": _forget_parameters})
    if isinstance(where := item.kw.get("postgresql_where"), str):
        item.kw["postgresql_where"] = text(escape_parameters(where))


def _begins(line: str) -> bool:
    return line.startswith("op.") or line in {")", ""}


def _body(paragraphs: Sequence[str]) -> str:
    # The template indents the first line.
    return "\n\n".join(f"    {paragraph}" for paragraph in paragraphs).strip() or "pass"
