"""Reading which columns a statement gives another type: `ALTER TABLE … ALTER COLUMN … TYPE … [USING …]`. Pure.

What becomes of the values in them is `converting`'s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

# PostgreSQL, "Lexical Structure".
_TOKEN = re.compile(
    r"""
    (?P<space> \s+ | --[^\n]* | /\*.*?\*/ )
  | (?P<quoted> "(?:[^"]|"")*" )
  | (?P<string> [eE]'(?:[^'\\]|\\.|'')*' | '(?:[^']|'')*' | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
  | (?P<word> \w[\w$]* )
  | (?P<sign> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_OPENING, _CLOSING = "([", ")]"
# What is looked for, before a statement is read word by word.
_HINT = re.compile(r"\bALTER\s+TABLE\b.*\bTYPE\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Conversion:
    """A column that gets another type: its name, the type, and the expression of USING, "" for none."""

    column: str
    type: str
    using: str = ""


@dataclass(frozen=True)
class Conversions:
    """The columns of one table that a statement converts; the table is written as it stands, with ONLY where given."""

    table: str
    only: bool
    columns: tuple[Conversion, ...]


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int

    def says(self, *words: str) -> bool:
        return self.kind in ("word", "sign") and self.text.upper() in words

    @property
    def name(self) -> str:
        """Return the name that it is, as the catalog has it; "" where it is none."""
        if self.kind == "quoted":
            return self.text[1:-1].replace('""', '"')
        return self.text.lower() if self.kind == "word" else ""


def read_conversions(statement: str) -> Conversions | None:
    """Return the columns that a statement converts; None where it converts none, or is more than one statement."""
    if not _HINT.search(statement):
        return None
    tokens = [token for token in _tokens(statement) if token.kind != "space"]
    while tokens and tokens[-1].says(";"):
        tokens.pop()
    if any(token.says(";") for token in tokens) or not _take(tokens, "ALTER", "TABLE"):
        return None
    _take(tokens, "IF", "EXISTS")
    only = _take(tokens, "ONLY")
    start = end = tokens[0].start if tokens else 0
    while tokens and tokens[0].name:
        end = tokens.pop(0).end
        if not _take(tokens, "."):
            break
    _take(tokens, "*")
    found = tuple(item for action in _actions(tokens) if (item := _conversion(statement, action)) is not None)
    return Conversions(statement[start:end], only, found) if found and end > start else None


def names_in(expression: str) -> set[str]:
    """Return the names and words that an expression is made of, as the catalog would have them."""
    return {token.name for token in _tokens(expression) if token.name}


def _tokens(text: str) -> Iterator[_Token]:
    for found in _TOKEN.finditer(text):
        yield _Token(next(kind for kind in _KINDS if found[kind] is not None), found[0], found.start(), found.end())


_KINDS = ("space", "quoted", "string", "word", "sign")


def _take(tokens: list[_Token], *words: str) -> bool:
    """Take words off the beginning where they stand there; say whether they did."""
    found = len(tokens) >= len(words) and all(token.says(word) for token, word in zip(tokens, words, strict=False))
    if found:
        del tokens[: len(words)]
    return found


def _actions(tokens: Sequence[_Token]) -> list[list[_Token]]:
    """Part the actions of a statement at the commas that are between no brackets."""
    actions: list[list[_Token]] = [[]]
    depth = 0
    for token in tokens:
        if token.kind == "sign":
            depth += (token.text in _OPENING) - (token.text in _CLOSING)
        if depth == 0 and token.says(","):
            actions.append([])
        else:
            actions[-1].append(token)
    return actions


def _conversion(statement: str, tokens: list[_Token]) -> Conversion | None:
    if not _take(tokens, "ALTER"):
        return None
    _take(tokens, "COLUMN")
    if not tokens or not tokens[0].name:
        return None
    column = tokens.pop(0).name
    _take(tokens, "SET", "DATA")
    if not _take(tokens, "TYPE") or not tokens:
        return None
    ends = [position for position, token in enumerate(tokens) if token.says("COLLATE", "USING")]
    kind = tokens[: ends[0]] if ends else tokens
    using = next((position for position in ends if tokens[position].says("USING")), None)
    if not kind or (using is not None and using + 1 >= len(tokens)):
        return None
    expression = statement[tokens[using + 1].start : tokens[-1].end] if using is not None else ""
    return Conversion(column, statement[kind[0].start : kind[-1].end], expression)
