"""Names and texts in statements that are put together. What is a value goes as a parameter wherever one can be."""

from __future__ import annotations

import re

# PostgreSQL's text holds neither; JSON does.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
# What pg_get_keywords() of PostgreSQL 18 has that is not "unreserved"; earlier ones have some less.
_KEYWORDS = """
all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both case
cast char character check coalesce collate collation column concurrently constraint create cross current_catalog
current_date current_role current_schema current_time current_timestamp current_user dec decimal default
deferrable desc distinct do else end except exists extract false fetch float for foreign freeze from full grant
greatest group grouping having ilike in initially inner inout int integer intersect interval into is isnull join
json json_array json_arrayagg json_exists json_object json_objectagg json_query json_scalar json_serialize
json_table json_value lateral leading least left like limit localtime localtimestamp merge_action national
natural nchar none normalize not notnull null nullif numeric offset on only or order out outer overlaps overlay
placing position precision primary real references returning right row select session_user setof similar
smallint some substring symmetric system_user table tablesample then time timestamp to trailing treat trim true
union unique user using values varchar variadic verbose when where window with xmlattributes xmlconcat
xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable
"""
_QUOTED_WORDS = frozenset(_KEYWORDS.split())


def quote(name: str) -> str:
    """Return a name as an identifier of SQL, always in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def identifier(name: str) -> str:
    """Return a name as an identifier of SQL as PostgreSQL prints it: in double quotes where it needs them.

    Source: PostgreSQL, "String Functions and Operators", `quote_ident`.
    """
    return name if _PLAIN.fullmatch(name) and name not in _QUOTED_WORDS else quote(name)


def literal(text: str) -> str:
    """Return `text` as a string constant that reads the same whatever `standard_conforming_strings` says."""
    quoted = text.replace("'", "''")
    return f"E'{quoted.replace(chr(92), chr(92) * 2)}'" if "\\" in text else f"'{quoted}'"


def storable(text: str) -> str:
    """Return a text as PostgreSQL and UTF-8 can hold it: for what they cannot, it has the replacement character."""
    # Few texts need it, and there are many.
    return text if text.isprintable() else _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
