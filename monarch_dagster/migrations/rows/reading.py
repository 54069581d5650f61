"""Reading: the rules of many tables, from the catalog in a fixed number of queries, and from facts to come."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from sqlalchemy import Connection

from monarch_dagster.migrations.rows import catalog
from monarch_dagster.migrations.rows.planned import (
    CHECK,
    planned_checks,
    planned_keys,
    planned_references,
    with_planned_enums,
    with_referred,
)
from monarch_dagster.migrations.rows.rules import Check, Column, Key, Reference, Table
from monarch_dagster.migrations.rows.values import Kind, Kinds, base_type, candidates, named
from monarch_dagster.postgres.quoting import quote
from monarch_dagster.schema.facts import Aspects, Facts, column_parts

_VALUE = re.compile(r"\bVALUE\b")


def read_tables(connection: Connection, names: Sequence[str], wanted: Facts | None) -> dict[int, Table]:
    """Read the rules of the named tables, and of all that they refer to, by oid.

    `wanted` are the facts after the change at hand, whose rules the rows should satisfy as well.
    """
    run = connection.exec_driver_sql
    plans = {} if wanted is None else wanted.relations
    # Types and expressions are printed with their schema unless the search path shows it.
    path = run("SHOW search_path").scalar_one()
    run("SET LOCAL search_path TO pg_catalog")
    rows = run(catalog.TABLES, {"names": with_referred(names, plans)}).all()
    # A reference to a partitioned table is in the catalog once more for each partition, which asks nothing of a row.
    partitions = {part for *_, parts, _ in rows for part in parts}
    by_name = {name: oid for oid, name, *_ in rows if oid not in partitions}
    arguments = {"oids": [oid for oid, *_ in rows]}
    kinds = with_planned_enums(
        {
            name: Kind(kind, base, tuple(labels), required, tuple(map(tuple, checks)))
            for name, kind, base, labels, required, checks in run(catalog.KINDS)
        },
        plans,
    )
    columns, checks, keys, references = (defaultdict[int, list[Any]](list) for _ in range(4))
    for oid, *column in run(catalog.COLUMNS, arguments):
        columns[oid].append(column)
    for oid, name, kind, definition, other, whole, own, referred in run(catalog.CONSTRAINTS, arguments):
        if kind == "f":
            references[oid].append(Reference(tuple(own), other, tuple(referred), whole))
        elif found := CHECK.match(definition):
            checks[oid].append(Check(name, found[1], tuple(own)))
    for oid, name, definition, expressions, own, deferrable in run(catalog.KEYS, arguments):
        parts = dict.fromkeys((*own, *named(expressions, (column[0] for column in columns[oid]))))
        keys[oid].append(Key(name, tuple(parts), "NULLS NOT DISTINCT" not in definition, deferrable))
    run("SELECT set_config('search_path', %s, true)", (path,))
    plain = cache(lambda type_, becomes: candidates(type_, kinds, (), becomes))
    tables = {}
    for oid, name, quoted, fillable, parts, bound in rows:
        names_of = [column[0] for column in columns[oid]]
        if bound:
            checks[oid].append(Check("", f"({bound})", named(bound, names_of)))
        plan = plans.get(f"table {name}", {})
        computed = {column[0]: column[3] for column in columns[oid] if column[5]}
        its_keys = (*keys[oid], *planned_keys(plan, names_of, {key.name for key in keys[oid]}))
        its_checks = (*checks[oid], *planned_checks(plan, names_of, {check.expression for check in checks[oid]}))
        table = Table(
            oid,
            name,
            quoted,
            fillable and bool(names_of),
            tuple(parts),
            checks=tuple(_computed_check(check, computed, names_of) for check in its_checks),
            keys=tuple(replace(key, columns=_stored(key.columns, computed, names_of)) for key in its_keys),
            references=(*references[oid], *planned_references(plan, names_of, by_name, references[oid])),
        )
        tables[oid] = _with_columns(table, columns[oid], kinds, plain, plan)
    of_table = {oid: {column[0] for column in columns[oid]} for oid in tables}
    return {oid: _with_possible_references(table, of_table) for oid, table in tables.items()}


def _with_columns(
    table: Table,
    described: Iterable[Sequence[Any]],
    kinds: Kinds,
    plain: Callable[[str, str], tuple[str, ...]],
    plan: Aspects,
) -> Table:
    columns, checks = {}, list(table.checks)
    primary = [key for key in table.keys if plan.get(f"constraint {key.name}", "").startswith("PRIMARY KEY")]
    never_null = {name for key in primary for name in key.columns}
    for name, type_, required, default, numbered, computed in described:
        domain = _domain_checks(name, type_, kinds)
        checks += domain
        if numbered or computed or (default and default.startswith("nextval(")):
            continue
        planned, _, planned_required = column_parts(plan.get(f"column {name}", type_))
        planned = planned.partition(" COLLATE ")[0]
        becomes = planned if planned != type_ else ""
        expressions = [check.expression for check in (*table.checks, *domain) if name in check.columns]
        columns[name] = Column(
            name,
            base_type(type_, kinds),
            candidates(type_, kinds, expressions, becomes) if expressions else plain(type_, becomes),
            bool(required or planned_required or name in never_null or _forbids_null(type_, kinds)),
            default,
            bool(becomes),
        )
    return replace(table, columns=columns, checks=tuple(checks))


def _stored(columns: Iterable[str], computed: Mapping[str, str], names: Sequence[str]) -> tuple[str, ...]:
    """Return the columns with what a generated one is computed from in its place."""
    return tuple(
        dict.fromkeys(
            part for name in columns for part in (named(computed[name], names) if name in computed else (name,))
        )
    )


def _computed_check(check: Check, computed: Mapping[str, str], names: Sequence[str]) -> Check:
    """Return the check as one of the columns that generated ones are computed from."""
    if not (used := [name for name in check.columns if name in computed]):
        return check
    values = ", ".join(f"{computed[name]} AS {quote(name)}" for name in used)
    expression = f"(SELECT {check.expression} FROM (SELECT {values}) computed)"
    return replace(check, expression=expression, columns=_stored(check.columns, computed, names))


def _domain_checks(column: str, type_: str, kinds: Kinds) -> list[Check]:
    """Return the checks of a column's domain, or of its elements' domain, as checks of the table."""
    found = []
    inner = type_.removesuffix("[]")
    value, is_array = (quote(column), False) if inner == type_ else ("e", True)
    while (kind := kinds.get(inner)) and kind.kind == "d":
        for name, definition in kind.checks:
            if check := CHECK.match(definition):
                expression = _VALUE.sub(lambda _: value, check[1])
                if is_array:
                    expression = f"NOT EXISTS (SELECT FROM unnest({quote(column)}) e WHERE NOT {expression})"
                found.append(Check(name, expression, (column,)))
        inner = kind.base
    return found


def _forbids_null(type_: str, kinds: Kinds) -> bool:
    kind = kinds.get(type_)
    return kind is not None and kind.kind == "d" and (kind.required or _forbids_null(kind.base, kinds))


def _with_possible_references(table: Table, columns: Mapping[int, set[str]]) -> Table:
    """Let references to what is to come be null, or drop them where they cannot be."""
    found = []
    for item in table.references:
        if set(item.referred) <= columns.get(item.table, set()):
            found.append(item)
        elif any(name in table.columns and not table.columns[name].required for name in item.columns):
            found.append(replace(item, table=0))
    return replace(table, references=tuple(found))
