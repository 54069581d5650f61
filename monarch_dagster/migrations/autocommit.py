"""Revisions that leave their transaction: whether their code can lose stored values. Pure.

What runs in an `autocommit_block()` cannot be tried and taken back, so it is judged by its text, and only what loses
nothing by its kind passes. Revisions that stay in their transaction are judged by effect, which is not done here.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence

_OPERATIONS = frozenset({"create_index", "drop_index", "get_context", "f"})
_STATEMENTS = frozenset({"text", "DDL"})
# What the columns and conditions of an index are written with.
_EXPRESSIONS = _STATEMENTS | {"literal_column", "column"}

# A comment within a comment is not matched: it stays, and is refused.
_OPAQUE = re.compile(
    r"""(?P<comment> --[^\n]* | /\*(?:(?!/\*).)*?\*/ )
    | (?<!\w)E'(?:\\.|''|[^'\\])*' | '(?:''|[^'])*' | "(?:""|[^"])*"
    | (?<!\w)(?P<tag>\$\w*\$)(?P<body>.*?)(?P=tag)""",
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_INVALID_INDEX = re.compile(
    r"BEGIN IF EXISTS ?\( ?SELECT( [^;]*)? FROM (pg_catalog\.)?pg_index [^;]*NOT (\w+\.)?indisvalid ?\) "
    r"THEN (DROP INDEX|RAISE) [^;]*; ?END IF ?; ?END ?;?",
    re.IGNORECASE,
)
_INVALID_INDEX_BODY = "$invalid index$"
_HARMLESS = re.compile(
    r"(CREATE (UNIQUE )?INDEX|DROP INDEX|REINDEX|ALTER TYPE \S+ ADD VALUE|COMMENT ON|SET|RESET|ANALY[ZS]E)\b.*"
    r"|ALTER TABLE [^,]+ VALIDATE CONSTRAINT [^,]+"
    rf"|DO (LANGUAGE plpgsql )?{re.escape(_INVALID_INDEX_BODY)}( LANGUAGE plpgsql)?",
    re.IGNORECASE,
)


def running_code(source: str, function: str) -> Sequence[ast.FunctionDef]:
    """Return the functions of a revision's text that run when `function` does: itself, and those that it names."""
    there = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)}
    running: dict[str, ast.FunctionDef] = {}
    waiting = [function]
    while waiting:
        name = waiting.pop()
        if name in there and name not in running:
            running[name] = there[name]
            waiting += [node.id for node in ast.walk(there[name]) if isinstance(node, ast.Name)]
    return list(running.values())


def leaves_transaction(code: Iterable[ast.AST]) -> bool:
    """Say whether the code opens an `autocommit_block()`."""
    # Asked of the code: in a message or a comment the word is just a word.
    return any(
        isinstance(node, ast.Attribute) and node.attr == "autocommit_block" for part in code for node in ast.walk(part)
    )


def find_unjudged(code: Sequence[ast.FunctionDef]) -> str:
    """Return the first call, with its line, of which it is not plain that it loses nothing; "" where there is none.

    Plain are indexes built, built again or dropped, labels added to enums, and constraints validated.
    """
    own = {function.name for function in code}
    calls = [node for function in code for node in ast.walk(function) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda call: (call.lineno, call.col_offset)):
        if not _loses_nothing(call, own):
            return f"line {call.lineno}, {ast.unparse(call)}"
    return ""


def only_harmless(sql: str) -> bool:
    """Say whether each statement of a text is of a kind that loses no stored value."""
    text = _OPAQUE.sub(_closed, sql)
    statements = [" ".join(part.split()) for part in text.split(";")]
    return "/*" not in text and all(_HARMLESS.fullmatch(statement) for statement in statements if statement)


def _closed(match: re.Match[str]) -> str:
    """Return what stands for a comment or a quoted text, so that no word in it counts."""
    if match["comment"]:
        return " "
    if match["body"] and _INVALID_INDEX.fullmatch(" ".join(_OPAQUE.sub(_closed, match["body"]).split())):
        return _INVALID_INDEX_BODY
    return "q"


def _loses_nothing(call: ast.Call, own: Iterable[str]) -> bool:
    match call.func:
        case ast.Name(name):
            return name in own or name in _EXPRESSIONS
        case ast.Attribute(ast.Name("op"), "execute"):
            return len(call.args) == 1 and only_harmless(_constant(call.args[0]) or "unknown")
        case ast.Attribute(ast.Name("op"), name):
            return name in _OPERATIONS
        case ast.Attribute(ast.Name("sa"), name):
            return name in _EXPRESSIONS
        case ast.Attribute(_, name):
            return name == "autocommit_block"
    return False


def _constant(node: ast.expr) -> str | None:
    """Return the text that is executed, None where it is not known before it runs."""
    match node:
        case ast.Constant(str(text)):
            return text
        case ast.Call(ast.Name(name) | ast.Attribute(ast.Name("sa"), name), [ast.Constant(str(text))], []):
            return text if name in _STATEMENTS else None
    return None
