"""Reading what PostgreSQL prints: the definitions of constraints and indexes, taken apart as far as a plan needs. Pure.

Sources: PostgreSQL, "System Information Functions" (`pg_get_constraintdef`, `pg_get_indexdef`) and "Lexical Structure".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

NOT_VALID = " NOT VALID"
_IDENTIFIER = r'(?:"(?:[^"]|"")+"|[^\s".,()]+)'
_LIST = rf"\(({_IDENTIFIER}(?:, {_IDENTIFIER})*)\)"
_REFERENCES = re.compile(rf"FOREIGN KEY {_LIST} REFERENCES ({_IDENTIFIER})\.({_IDENTIFIER}){_LIST}")
_UNIQUE = re.compile(rf"(?:PRIMARY KEY|UNIQUE)( NULLS NOT DISTINCT)? {_LIST}((?: INCLUDE {_LIST})?)")
_INDEX = re.compile(rf"CREATE (UNIQUE )?INDEX ({_IDENTIFIER}) ON (?:ONLY )?(.*)", re.DOTALL)
# No foreign key can refer to an index of some rows.
_PARTIAL = rf"(?: INCLUDE {_LIST})?(?: NULLS NOT DISTINCT)?(?: WITH \([^)]*\))? WHERE "
_UNIQUE_INDEX = re.compile(rf"{_IDENTIFIER}\.{_IDENTIFIER} USING btree {_LIST}(?!{_PARTIAL})")
_NOT_NULL = re.compile(rf"CHECK \(\(({_IDENTIFIER}) IS NOT NULL\)\)(?:{NOT_VALID})?")


@dataclass(frozen=True)
class Reference:
    """A foreign key: its columns, and the table ("schema.name") and columns that it refers to."""

    columns: tuple[str, ...]
    table: str
    referred: tuple[str, ...]


def reference(definition: str) -> Reference | None:
    """Read a constraint's definition; None for one that is no foreign key."""
    found = _REFERENCES.match(definition)
    if found is None:
        return None
    return Reference(_names(found[1]), f"{_unquote(found[2])}.{_unquote(found[3])}", _names(found[4]))


def unique_columns(definition: str) -> tuple[str, ...] | None:
    """Return the columns of a key, a unique constraint or a plain unique index; None for anything else."""
    if found := _UNIQUE.match(definition):
        return _names(found[2])
    if (index := _INDEX.match(definition)) and index[1] and (found := _UNIQUE_INDEX.match(index[3])):
        return _names(found[1])
    return None


def key_columns(definition: str) -> tuple[str, ...]:
    """Return the columns of a primary key; none for any other constraint."""
    return (unique_columns(definition) or ()) if definition.startswith("PRIMARY KEY") else ()


def index_of_unique(table: str, name: str, definition: str) -> str | None:
    """Return the definition of the index that carries a unique constraint; None where it must be built with it.

    `table` and `name` are quoted. A deferrable constraint has an index that checks later, which cannot be built alone.
    """
    found = _UNIQUE.fullmatch(definition)
    if found is None or not definition.startswith("UNIQUE"):
        return None
    return f"CREATE UNIQUE INDEX {name} ON {table} USING btree ({found[2]}){found[3]}{found[1] or ''}"


def index_body(definition: str) -> str:
    """Return an index's definition without its name: two that are equal here differ in their names only."""
    found = _INDEX.match(definition)
    return f"{found[1] or ''}{found[3]}" if found else definition


def concurrent_index(definition: str) -> str:
    """Return the statement that builds an index while others write, and does nothing where it is there."""
    return re.sub(r"^CREATE (UNIQUE )?INDEX ", r"CREATE \1INDEX CONCURRENTLY IF NOT EXISTS ", definition)


def proven_column(definition: str) -> str:
    """Return the column of a check that says no more than that it is not null, "" for any other."""
    found = _NOT_NULL.fullmatch(definition)
    return _unquote(found[1]) if found else ""


def mentions(definition: str, quoted: str) -> bool:
    """Say whether a definition names `quoted`, a column or a type as PostgreSQL writes it; it may say so too often.

    Which words are quoted is another matter in each major version, so a plain name is found in quotes, too.
    """
    name = re.escape(quoted)
    return re.search(rf'(?<![\w"$])(?:{name}|"{name}")(?![\w"$])', definition) is not None


def column_path(owner: str) -> tuple[str, str]:
    """Take `schema.table.column`, each as PostgreSQL quotes it, apart into "schema.table" and the column."""
    schema, table, column = (_unquote(part) for part in re.findall(_IDENTIFIER, owner))
    return f"{schema}.{table}", column


def _names(listed: str) -> tuple[str, ...]:
    return tuple(_unquote(name) for name in re.findall(_IDENTIFIER, listed))


def _unquote(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name
