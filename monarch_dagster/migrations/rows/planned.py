"""Planned: what the facts after a change will ask of rows that are there before it, beside the rules of now."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from monarch_dagster.migrations.rows.rules import Check, Key, Reference
from monarch_dagster.migrations.rows.values import Kind, Kinds, literals, named
from monarch_dagster.postgres.quoting import quote
from monarch_dagster.schema.facts import Aspects

CHECK = re.compile(r"CHECK (\(.*\))", re.DOTALL)
_KEY = re.compile(
    r"(?:PRIMARY KEY|UNIQUE|CREATE UNIQUE INDEX .*? USING \w+)\b.*?(\(.*?\))"
    r"(?= WHERE| INCLUDE| WITH| NULLS| DEFERRABLE|$)"
)
_FOREIGN_KEY = re.compile(r"FOREIGN KEY \((.*?)\) REFERENCES (.*?)\((.*?)\)")


def with_referred(names: Sequence[str], plans: Mapping[str, Aspects]) -> list[str]:
    """Return the named tables and those that they are to refer to."""
    found, queue = set(names), list(names)
    while queue:
        for definition in plans.get(f"table {queue.pop()}", {}).values():
            if (key := _FOREIGN_KEY.match(definition)) and (name := key[2].replace('"', "")) not in found:
                found.add(name)
                queue.append(name)
    return sorted(found)


def with_planned_enums(kinds: dict[str, Kind], plans: Mapping[str, Aspects]) -> Kinds:
    """Return the types with the enum types to come; of one that is to change, the labels that stay come first."""
    for relation, aspects in plans.items():
        if relation.startswith("enum "):
            name = ".".join(_as_printed(part) for part in relation.removeprefix("enum ").split(".", 1))
            labels = tuple(literals(aspects["definition"])[0])
            now = kinds.get(name, Kind("e", labels=labels))
            kinds[name] = replace(now, labels=tuple(sorted(now.labels, key=lambda label: label not in labels)))
    return kinds


def planned_keys(plan: Aspects, columns: Sequence[str], known: Collection[str]) -> Iterator[Key]:
    """Give the unique keys of a table to come, but for those `known` by name."""
    for aspect, definition in plan.items():
        name = aspect.partition(" ")[2]
        if aspect.startswith(("constraint ", "index ")) and name not in known and (found := _KEY.match(definition)):
            # One of a column to come is kept by whatever that column gets.
            parts = named(found[1], columns)
            if parts and len(parts) == found[1].count(",") + 1:
                yield Key(name, parts, "NULLS NOT DISTINCT" not in definition, planned=True)


def planned_checks(plan: Aspects, columns: Sequence[str], known: Collection[str]) -> Iterator[Check]:
    """Give the checks of a table to come, but for those `known` by expression."""
    for aspect, definition in plan.items():
        if aspect.startswith("constraint ") and (found := CHECK.match(definition)) and found[1] not in known:
            yield Check(aspect, found[1], named(found[1], columns), planned=True)


def planned_references(
    plan: Aspects, columns: Sequence[str], tables: Mapping[str, int], known: Collection[Reference]
) -> Iterator[Reference]:
    """Give the foreign keys of a table to come, but for those `known`; `tables` are the oids of those that exist."""
    for definition in plan.values():
        if found := _FOREIGN_KEY.match(definition):
            own, referred = (tuple(part.replace('"', "") for part in found[n].split(", ")) for n in (1, 3))
            other = tables.get(found[2].replace('"', ""), 0)
            reference = Reference(own, other, referred, "MATCH FULL" in definition, planned=True)
            if reference not in known and set(own) <= set(columns):
                yield reference


def _as_printed(name: str) -> str:
    return name if re.fullmatch(r"[a-z_][a-z0-9_$]*", name) else quote(name)
