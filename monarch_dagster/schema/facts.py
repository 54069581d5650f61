"""Facts: what the PostgreSQL catalog says of the managed schemas, canonical and comparable (DESIGN rule 3).

Facts are read as PostgreSQL itself formats them, in a fixed number of queries, and held flat: each relation is a
mapping from an aspect ("column email", "constraint pk_account") to its definition. Comparing is then comparing text,
and a message can name relation, expected and found. Grants and owners are no facts; the order of columns is none
either.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection

Aspects = Mapping[str, str]

# What no SQLAlchemy model declares. Revisions edited by hand may add it; it is carried, never dropped.
CARRIED_RELATIONS = ("view ", "materialized view ", "foreign table ", "function ", "domain ", "composite type ")
CARRIED_ASPECTS = ("trigger ", "policy ", "rule ", "row security", "statistics ")

_NAMESPACES = "SELECT nspname, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = ANY(%(schemas)s)"

_RELATIONS = """
SELECT c.oid, n.nspname, c.relname, c.relkind, c.relpersistence, obj_description(c.oid, 'pg_class'),
       CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END,
       CASE WHEN c.relkind = 'p' THEN pg_get_partkeydef(c.oid) END,
       CASE WHEN c.relispartition THEN pg_get_expr(c.relpartbound, c.oid) END,
       (SELECT string_agg(i.inhparent::regclass::text, ', ' ORDER BY i.inhseqno)
          FROM pg_inherits i WHERE i.inhrelid = c.oid),
       c.relrowsecurity, array_to_string(c.reloptions, ', ')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

_COLUMNS = """
SELECT a.attrelid, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated,
       pg_get_expr(d.adbin, d.adrelid),
       CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END,
       CASE WHEN (s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle)
                 <> (1, 1, 1, CASE s.seqtypid WHEN 'int2'::regtype THEN 32767 WHEN 'int4'::regtype THEN 2147483647
                                              ELSE 9223372036854775807 END, 1, false)
            THEN format('(start %%s increment %%s min %%s max %%s cache %%s%%s)', s.seqstart, s.seqincrement, s.seqmin,
                        s.seqmax, s.seqcache, CASE WHEN s.seqcycle THEN ' cycle' END) END,
       col_description(a.attrelid, a.attnum)
FROM pg_attribute a
JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_depend i ON i.refclassid = 'pg_class'::regclass AND i.refobjid = a.attrelid AND i.refobjsubid = a.attnum
                     AND i.classid = 'pg_class'::regclass AND i.deptype = 'i' AND a.attidentity <> ''
LEFT JOIN pg_sequence s ON s.seqrelid = i.objid
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'f') AND a.attnum > 0 AND NOT a.attisdropped
"""

# From 18 on NOT NULL is a constraint in the catalog (contype n); here it is an attribute of the column on every major.
_CONSTRAINTS = """
SELECT k.conrelid, k.conname, pg_get_constraintdef(k.oid), obj_description(k.oid, 'pg_constraint')
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND k.contype IN ('c', 'f', 'p', 'u', 'x')
"""

_INDEXES = """
SELECT i.indrelid, c.relname, pg_get_indexdef(i.indexrelid), i.indisvalid, obj_description(c.oid, 'pg_class')
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s)
  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))
"""

_ATTACHED = """
SELECT t.tgrelid, 'trigger ' || t.tgname, pg_get_triggerdef(t.oid)
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND NOT t.tgisinternal
UNION ALL
SELECT p.polrelid, 'policy ' || p.polname,
       concat_ws(' ', p.polcmd, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
                 pg_get_expr(p.polwithcheck, p.polrelid))
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s)
UNION ALL
SELECT r.ev_class, 'rule ' || r.rulename, pg_get_ruledef(r.oid)
FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND r.rulename <> '_RETURN'
UNION ALL
SELECT s.stxrelid, 'statistics ' || s.stxname, pg_get_statisticsobjdef(s.oid)
FROM pg_statistic_ext s JOIN pg_class c ON c.oid = s.stxrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s)
"""

_TYPES = """
SELECT CASE t.typtype WHEN 'e' THEN 'enum ' WHEN 'd' THEN 'domain ' WHEN 'r' THEN 'range type '
                      ELSE 'composite type ' END || n.nspname || '.' || t.typname,
       CASE t.typtype WHEN 'e' THEN (SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder)
                                       FROM pg_enum e WHERE e.enumtypid = t.oid)
                      WHEN 'd' THEN concat_ws(' ', format_type(t.typbasetype, t.typtypmod), t.typdefault,
                            CASE WHEN t.typnotnull THEN 'NOT NULL' END,
                            (SELECT string_agg(pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname)
                               FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'))
                      WHEN 'c' THEN (SELECT string_agg(a.attname || ' ' || format_type(a.atttypid, a.atttypmod), ', '
                                                       ORDER BY a.attnum)
                                       FROM pg_attribute a WHERE a.attrelid = t.typrelid AND NOT a.attisdropped)
                      ELSE '' END,
       obj_description(t.oid, 'pg_type')
FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace LEFT JOIN pg_class c ON c.oid = t.typrelid
WHERE n.nspname = ANY(%(schemas)s) AND (t.typtype IN ('e', 'd', 'r') OR t.typtype = 'c' AND c.relkind = 'c')
"""

# A sequence that an identity column owns is an attribute of that column.
_SEQUENCES = """
SELECT 'sequence ' || n.nspname || '.' || c.relname,
       concat_ws(' ', format_type(s.seqtypid, NULL), 'start', s.seqstart, 'increment', s.seqincrement,
                 'min', s.seqmin, 'max', s.seqmax, 'cache', s.seqcache, CASE WHEN s.seqcycle THEN 'cycle' END,
                 'owned by ' || d.refobjid::regclass::text || '.' || a.attname),
       obj_description(c.oid, 'pg_class')
FROM pg_sequence s JOIN pg_class c ON c.oid = s.seqrelid JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')
                     AND d.refclassid = 'pg_class'::regclass AND d.refobjsubid > 0
LEFT JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
WHERE n.nspname = ANY(%(schemas)s) AND d.deptype IS DISTINCT FROM 'i'
"""

_FUNCTIONS = """
SELECT 'function ' || n.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
       CASE WHEN p.prokind IN ('f', 'p', 'w') THEN pg_get_functiondef(p.oid) ELSE 'aggregate ' || p.prosrc END,
       obj_description(p.oid, 'pg_proc')
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
WHERE n.nspname = ANY(%(schemas)s)
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.classid = 'pg_proc'::regclass AND d.deptype = 'e')
"""

_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
_PERSISTENCE = {"p": "permanent", "u": "unlogged", "t": "temporary"}
_IDENTITY = {"a": "GENERATED ALWAYS AS IDENTITY", "d": "GENERATED BY DEFAULT AS IDENTITY"}
_COLUMN_PARTS = re.compile(r"(.*?)( DEFAULT .*?| GENERATED .*?)?( NOT NULL)?", re.DOTALL)
_GENERATED = {"s": "STORED", "v": "VIRTUAL"}


@dataclass(frozen=True)
class Difference:
    """One aspect of one relation that two sets of facts give differently; "" stands for "not there"."""

    relation: str
    aspect: str
    expected: str
    found: str

    def __str__(self) -> str:
        if not self.found:
            return f"{self.relation}: {self.aspect} is missing (expected: {self.expected})"
        if not self.expected:
            return f"{self.relation}: {self.aspect} is extra (found: {self.found})"
        return f"{self.relation}: {self.aspect} is {self.found}, expected {self.expected}"


@dataclass(frozen=True)
class Facts:
    """The facts of some schemas: relation ("table salesforce.account") → aspect → definition."""

    relations: Mapping[str, Aspects]

    @cached_property
    def hash(self) -> str:
        """One hash for all, in hex."""
        return hashlib.sha256(json.dumps(self.relations, sort_keys=True).encode()).hexdigest()

    def schemas(self) -> set[str]:
        """Return the names of the schemas that exist."""
        return {name.removeprefix("schema ") for name in self.relations if name.startswith("schema ")}

    def tables(self) -> set[str]:
        """Return the tables as `schema.name`."""
        return {name.removeprefix("table ") for name in self.relations if name.startswith("table ")}

    def declarable(self) -> Facts:
        """Return the facts without what no model can declare."""
        return Facts(
            {
                name: {aspect: value for aspect, value in aspects.items() if not aspect.startswith(CARRIED_ASPECTS)}
                for name, aspects in self.relations.items()
                if not name.startswith(CARRIED_RELATIONS)
            }
        )

    def only(self, names: Iterable[str]) -> Facts:
        """Return the facts of the named relations."""
        wanted = set(names)
        return Facts({name: aspects for name, aspects in self.relations.items() if name in wanted})


def differences(expected: Facts, found: Facts) -> Iterator[Difference]:
    """Give every aspect in which `found` is not what is `expected`, sorted by relation and aspect."""
    for name in sorted(expected.relations.keys() | found.relations.keys()):
        before, after = expected.relations.get(name), found.relations.get(name)
        if before == after:
            continue
        if before is None or after is None:
            kind = name.partition(" ")[0]
            yield Difference(name, f"the {kind}", "" if before is None else "there", "" if after is None else "there")
            continue
        for aspect in sorted(before.keys() | after.keys()):
            if before.get(aspect) != after.get(aspect):
                yield Difference(name, aspect, before.get(aspect, ""), after.get(aspect, ""))


def column_parts(definition: str) -> tuple[str, str, str]:
    """Take the definition of a column apart: its type, where its value comes from, and whether it may be null."""
    parts = _COLUMN_PARTS.fullmatch(definition)
    assert parts is not None  # it matches any text
    return parts[1], parts[2] or "", parts[3] or ""


def read_facts(connection: Connection, schemas: Sequence[str]) -> Facts:
    """Read the facts of `schemas` (those that do not exist count as absent) inside the connection's transaction.

    For one snapshot of all queries the transaction should be repeatable read, or hold locks on what it looks at.
    """
    run = connection.exec_driver_sql
    # Types and expressions are printed with their schema unless the search path shows it.
    path = run("SHOW search_path").scalar_one()
    run("SET LOCAL search_path TO pg_catalog")
    arguments = {"schemas": list(schemas)}
    relations: dict[str, dict[str, str]] = {}
    for name, comment in run(_NAMESPACES, arguments):
        relations[f"schema {name}"] = _commented({}, comment)
    by_oid: dict[int, dict[str, str]] = {}
    for oid, schema, name, kind, *described in run(_RELATIONS, arguments):
        by_oid[oid] = relations[f"{_KINDS[kind]} {schema}.{name}"] = _relation(*described)
    for oid, name, *defined, comment in run(_COLUMNS, arguments):
        by_oid[oid].update(_aspect(f"column {name}", _column(*defined), comment))
    for oid, name, definition, comment in run(_CONSTRAINTS, arguments):
        by_oid[oid].update(_aspect(f"constraint {name}", definition, comment))
    for oid, name, definition, valid, comment in run(_INDEXES, arguments):
        by_oid[oid].update(_aspect(f"index {name}", definition if valid else f"{definition} INVALID", comment))
    for oid, aspect, definition in run(_ATTACHED, arguments):
        by_oid[oid][aspect] = definition
    for query in (_TYPES, _SEQUENCES, _FUNCTIONS):
        for name, definition, comment in run(query, arguments):
            relations[name] = _commented({"definition": definition or ""}, comment)
    run("SELECT set_config('search_path', %s, true)", (path,))
    return Facts(relations)


def _relation(
    persistence: str,
    comment: str | None,
    view: str | None,
    key: str | None,
    bound: str | None,
    parents: str | None,
    secured: bool,
    options: str | None,
) -> dict[str, str]:
    aspects = {
        "persistence": _PERSISTENCE[persistence],
        "definition": view,
        "partitioned by": key,
        "partition": bound,
        "inherits": parents,
        "options": options,
        "row security": "enabled" if secured else None,
        "comment": comment,
    }
    return {name: value for name, value in aspects.items() if value}


def _column(
    kind: str,
    not_null: bool,
    identity: str,
    generated: str,
    default: str | None,
    collation: str | None,
    counting: str | None,
) -> str:
    parts = [kind]
    if collation:
        parts.append(f"COLLATE {collation}")
    if identity:
        parts += filter(None, [_IDENTITY[identity], counting])
    elif generated:
        parts.append(f"GENERATED ALWAYS AS ({default}) {_GENERATED[generated]}")
    elif default is not None:
        parts.append(f"DEFAULT {default}")
    if not_null:
        parts.append("NOT NULL")
    return " ".join(parts)


def _aspect(name: str, definition: str, comment: str | None) -> dict[str, str]:
    return {name: definition, f"comment on {name}": comment} if comment else {name: definition}


def _commented(aspects: dict[str, str], comment: str | None) -> dict[str, str]:
    return {**aspects, "comment": comment} if comment else aspects
