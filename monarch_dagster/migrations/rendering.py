"""Rendering: operations as the Python text of a revision. What the text does is the plan's decision.

Everything that comes from a model, a catalog or a person ends as inert text: a literal, or a comment (DESIGN rule 9).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from alembic.autogenerate import render_python_code
from alembic.operations import ops
from alembic.runtime.migration import MigrationContext
from mako.template import Template
from sqlalchemy import ClauseElement, TextClause, text
from sqlalchemy.sql import visitors

from monarch_dagster.migrations.planning.operation import Action, Concurrent, Operation, Sql
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.migrations.runner import SCRIPT_LOCATION

USING = "postgresql_using"
LINE_LENGTH = 100
# As TextClause finds parameters and their escapes.
_PARAMETER = re.compile(r"\\(?=:\w*(?![:\w]))|(?<![:\w\\]):(?=\w+(?!:))")


def render_body(operations: Sequence[Operation]) -> str:
    """Return the Python text of `upgrade` or `downgrade`, indented, a paragraph an operation; "pass" for none."""
    # For a driver's parameter style SQLAlchemy doubles percent signs, which then end in expressions and defaults.
    context = MigrationContext.configure(dialect_name="postgresql", dialect_opts={"paramstyle": "named"})
    render = context.impl.render_ddl_sql_expr

    def escaped(clause: ClauseElement, **options: Any) -> str:
        sql = render(visitors.cloned_traverse(clause, {}, {"textclause": _forget_parameters}), **options)
        return sql if options.get("is_index") else escape_parameters(sql)

    # Rendered, it becomes text() again, in which a colon begins a parameter; an index's becomes literal_column().
    context.impl.render_ddl_sql_expr = escaped  # type: ignore[assignment, method-assign]
    paragraphs = ["\n    ".join(_rendered(context, action) for action in item.actions) for item in operations]
    # The template indents the first line.
    return "\n\n    ".join(filter(None, paragraphs)) or "pass"


def render_revision(
    *,
    revision: str,
    down_revision: str | None,
    message: str,
    hazards: Iterable[Hazard],
    upgrades: str,
    downgrades: str,
    proposal: str = "",
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
            proposal=proposal,
            upgrades=upgrades,
            downgrades=downgrades,
        )
    )


def escape_parameters(sql: str) -> str:
    """Return `sql` so that `text()` takes it as it is: there a colon before a word begins a parameter."""
    return _PARAMETER.sub(r"\\\g<0>", sql)


def escape_docstring(text: str) -> str:
    """Return `text` on one line, so that between triple quotes it is just that text and nothing else."""
    line = " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"')
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in line)


def _rendered(context: MigrationContext, action: Action) -> str:
    match action:
        case Sql():
            return _render_sql(action.text)
        case Concurrent():
            return _render_concurrent(context, action)
        case ops.RenameTableOp():  # Alembic renders none
            return f"op.rename_table({action.table_name!r}, {action.new_table_name!r}, schema={action.schema!r})"
        case _:
            return _render_operation(context, action)


def _render_sql(sql: str) -> str:
    # DDL() takes text as it is, but for percent signs; a plain string becomes text(), where a colon begins a parameter.
    ddl = escape_parameters(sql) != sql
    lines = (sql.replace("%", "%%") if ddl else sql).splitlines(keepends=True)
    if len(lines) == 1 and len(sql) <= LINE_LENGTH:
        return f"op.execute(sa.DDL({lines[0]!r}))" if ddl else f"op.execute({lines[0]!r})"
    body = "\n".join(f"        {line!r}" for line in lines)
    return f"op.execute(sa.DDL(\n{body}\n    ))" if ddl else f"op.execute(\n{body}\n    )"


def _render_concurrent(context: MigrationContext, action: Concurrent) -> str:
    build = _rendered(context, action.build).replace("\n", "\n    ")
    return (
        "# Outside of a transaction. What an interrupted build left is dropped first, a valid index is kept.\n"
        f"    with op.get_context().autocommit_block():\n        {build}"
    )


def _render_operation(context: MigrationContext, operation: ops.MigrateOperation) -> str:
    if isinstance(operation, ops.CreateIndexOp):
        _settle_index(operation)
    code = render_python_code(ops.UpgradeOps(ops=[operation]), migration_context=context)
    lines = [line for line in code.splitlines() if not line.lstrip().startswith("# ### ")]
    # Alembic leaves what stands between parentheses where the call begins.
    body = "\n".join(line if _begins(line.strip()) else f"    {line}" for line in lines).strip()
    if isinstance(operation, ops.AlterColumnOp) and (using := operation.kw.get(USING)):
        last = body.splitlines()[-1]
        indent = " " * (len(last) - len(last.lstrip()))
        return f"{body.removesuffix(')')},\n{indent}{USING}={using!r})"  # Alembic does not render it
    return body


def _settle_index(item: ops.CreateIndexOp) -> None:
    """Have what was given of an index rendered as it stands; Alembic wraps or repeats it, and hides it so."""
    for column in item.columns:
        # Text may be in an element of Alembic's own, which visitors do not look into.
        for clause in (column, getattr(column, "text", None)):
            if isinstance(clause, ClauseElement):
                visitors.traverse(clause, {}, {"textclause": _forget_parameters})
    if isinstance(where := item.kw.get("postgresql_where"), str):
        item.kw["postgresql_where"] = text(escape_parameters(where))


def _forget_parameters(clause: TextClause) -> None:
    # Text that a catalog printed has none, even where it looks as if.
    clause._bindparams = {}


def _begins(line: str) -> bool:
    return line.startswith("op.") or line in {")", ""}
