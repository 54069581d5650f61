"""Which tables and columns a revision's upgrade renames, as its text says in the words of the template. Pure."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from monarch_dagster.migrations.renames import Rename
from monarch_dagster.migrations.revisions import said_bodies


def said_renames(text: str) -> list[Rename]:
    """Return the renames of a revision's upgrade in their order; none for a text of another form."""
    bodies = said_bodies(text)
    if bodies is None or ("rename_table" not in bodies[0] and "new_column_name" not in bodies[0]):
        return []  # without a parse of a large file
    return list(_renames(ast.parse(f"if True:\n    {bodies[0]}")))


def name_before(renames: Sequence[Rename], schema: str, table: str, column: str) -> tuple[str, str]:
    """Return what a column's table and the column were called before renames, which are in their order."""
    for item in reversed(renames):
        if item.schema != schema:
            continue
        if item.column and (item.table, item.new) == (table, column):
            column = item.old
        elif not item.column and item.new == table:
            table = item.old
    return table, column


def _renames(tree: ast.AST) -> Iterator[Rename]:
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        names = _texts(node.args)
        keys = dict(zip((key.arg for key in node.keywords), _texts(key.value for key in node.keywords), strict=True))
        schema, new = keys.get("schema"), keys.get("new_column_name")
        if schema is None or len(names) != 2 or names[0] is None or names[1] is None:
            continue
        if node.func.attr == "rename_table":
            yield Rename(schema, names[1], names[0], names[1])
        elif node.func.attr == "alter_column" and new is not None:
            yield Rename(schema, names[0], names[1], new, column=True)


def _texts(nodes: Iterable[ast.expr]) -> list[str | None]:
    return [node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None for node in nodes]
