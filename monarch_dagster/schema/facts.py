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
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sqlalchemy import Connection

from monarch_dagster.memory import uncollected
from monarch_dagster.schema import catalog
from monarch_dagster.schema.columns import ColumnParts, column_parts, parse_column

__all__ = [
    "Aspects",
    "ColumnParts",
    "Difference",
    "Facts",
    "carry",
    "column_parts",
    "combined_hash",
    "differences",
    "parse_column",
    "read_facts",
    "relation_hash",
    "user_schemas",
]

Aspects = Mapping[str, str]

# What SQLAlchemy models declare; all else may come from revisions edited by hand. It is carried, never dropped.
DECLARED_RELATIONS = ("schema ", "table ", "view ", "materialized view ", "enum ", "sequence ")
CARRIED_ASPECTS = ("trigger ", "policy ", "rule ", "row security", "statistics ", "comment on index ")
# Models have words for the comments of tables, their columns and constraints, and for the SELECT of a view.
CARRIED_ASPECTS_BESIDE_TABLES = ("comment", "options", "index ", "default of column ")
# A partition is made by hand: models declare what it is a part of.
PARTITION = "partition"

THE = "the "
_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}
_VIEWS = ("view ", "materialized view ")
_PERSISTENCE = {"p": "permanent", "u": "unlogged", "t": "temporary"}
# PostgreSQL prints `x IN ('a', 'b')` of a varchar column in one form and, given that form, in another.
_CAST_LIST = re.compile(r"\(ARRAY\[((?:'(?:[^']|'')*'::character varying(?:, )?)+)\]\)::text\[\]")
_CAST_ITEM = re.compile(r"'(?:[^']|'')*'::character varying")


@dataclass(frozen=True)
class Difference:
    """One aspect of one relation that two sets of facts give differently; "" stands for "not there"."""

    relation: str
    aspect: str
    expected: str
    found: str

    @property
    def whole(self) -> bool:
        """Whether it is about the relation as such, which one side has and the other has not."""
        return self.aspect.startswith(THE)

    def __str__(self) -> str:
        if not self.found:
            return f"{self.relation}: {self.aspect} is missing (expected: {self.expected})"
        if not self.expected:
            return f"{self.relation}: {self.aspect} is extra (found: {self.found})"
        return f"{self.relation}: {self.aspect} is {self.found}, expected {self.expected}"


@dataclass(frozen=True)
class Facts:
    """The facts of some schemas: relation ("table salesforce.account") → aspect → definition.

    Columns are in the order of their table, which does not count where facts are compared. `dependencies` tells of each
    view what its SELECT uses: relations with a column, or with "" for the whole.
    """

    relations: Mapping[str, Aspects]
    dependencies: Mapping[str, frozenset[tuple[str, str]]] = field(default_factory=dict, compare=False)

    def plain(self) -> dict[str, Any]:
        """Return them as values that JSON can hold."""
        used = {name: sorted(map(list, pairs)) for name, pairs in self.dependencies.items()}
        return {"relations": self.relations, "dependencies": used}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> Facts:
        """Return the facts that `plain` gave."""
        used = values["dependencies"].items()
        return cls(values["relations"], {name: frozenset((a, b) for a, b in pairs) for name, pairs in used})

    @cached_property
    def hash(self) -> str:
        """One hash for all, in hex."""
        return combined_hash(self.hashes)

    @cached_property
    def hashes(self) -> Mapping[str, str]:
        """A hash of each relation, in hex."""
        return {name: relation_hash(aspects) for name, aspects in self.relations.items()}

    def schemas(self) -> set[str]:
        """Return the names of the schemas that exist."""
        return {name.removeprefix("schema ") for name in self.relations if name.startswith("schema ")}

    def tables(self) -> set[str]:
        """Return the tables as `schema.name`."""
        return {name.removeprefix("table ") for name in self.relations if name.startswith("table ")}

    def declarable(self) -> Facts:
        """Return the facts without what no model can declare."""
        return self._declarable

    @cached_property
    def _declarable(self) -> Facts:
        found = {}
        for name, aspects in self.relations.items():
            if not _is_carried_whole(name, aspects):
                carried = _carried(name, aspects)
                found[name] = {key: aspects[key] for key in aspects.keys() - carried} if carried else aspects
        return self._with(found)

    def carried(self) -> tuple[str, ...]:
        """Return what no model can declare, sorted: relations, and aspects as "table landing.note: trigger x"."""
        found: list[str] = []
        for name, aspects in self.relations.items():
            if _is_carried_whole(name, aspects):
                found.append(name)
            else:
                found += [f"{name}: {aspect}" for aspect in _carried(name, aspects)]
        return tuple(sorted(found))

    def only(self, names: Iterable[str]) -> Facts:
        """Return the facts of the named relations."""
        wanted = set(names)
        return self._with({name: aspects for name, aspects in self.relations.items() if name in wanted})

    def _with(self, relations: Mapping[str, Aspects]) -> Facts:
        return Facts(relations, {name: used for name, used in self.dependencies.items() if name in relations})


def differences(expected: Facts, found: Facts) -> Iterator[Difference]:
    """Give every aspect in which `found` is not what is `expected`, sorted by relation and aspect."""
    for name in sorted(expected.relations.keys() | found.relations.keys()):
        before, after = expected.relations.get(name), found.relations.get(name)
        if before is after or before == after:
            continue
        if before is None or after is None:
            kind = name.partition(" ")[0]
            yield Difference(name, f"{THE}{kind}", "" if before is None else "there", "" if after is None else "there")
            continue
        for aspect in sorted(before.keys() | after.keys()):
            if before.get(aspect) != after.get(aspect):
                yield Difference(name, aspect, before.get(aspect, ""), after.get(aspect, ""))


def carry(before: Facts, declared: Facts) -> Facts:
    """Return the facts to come to: what is declared, and what the chain carries beyond what a model can declare."""
    declarable = before.declarable().relations
    relations: dict[str, Aspects] = {}
    for name, aspects in declared.relations.items():
        known, said = before.relations.get(name, {}), declarable.get(name, {})
        carried = {} if said is known else {key: value for key, value in known.items() if key not in said}
        relations[name] = {**aspects, **carried} if carried else aspects
    for name, aspects in before.relations.items():
        if name not in declarable and name not in relations:
            relations[name] = aspects
            schema = f"schema {name.partition('.')[0].rpartition(' ')[2]}"
            relations.setdefault(schema, before.relations.get(schema, {}))
    used = {name: pairs for name, pairs in before.dependencies.items() if name in relations}
    return Facts(relations, {**used, **declared.dependencies})


def user_schemas(connection: Connection) -> Sequence[str]:
    """Return the schemas that are neither PostgreSQL's, nor Alembic's, nor `public`."""
    return connection.exec_driver_sql(catalog.USER_SCHEMAS).scalars().all()


@uncollected()
def read_facts(connection: Connection, schemas: Sequence[str], only: Collection[str] | None = None) -> Facts:
    """Read the facts of `schemas` (those that do not exist count as absent) inside the connection's transaction.

    Of tables and views those alone that are named in `only` ("table s.t"), if it is given; all else is there anyway.

    For one snapshot of all queries the transaction must be repeatable read (`postgres.engines.snapshot`), or have made
    itself all that it looks at.
    """
    run = connection.exec_driver_sql
    settings = tuple(run(catalog.READ_SETTINGS).one())
    run(catalog.APPLY_SETTINGS, tuple(catalog.SETTINGS.values()))
    namespaces: list[int] = []
    kinds = {f"{kind} " for kind in _KINDS.values()}
    named = [name.removeprefix(kind) for name in only or () for kind in kinds if name.startswith(kind)]
    arguments: dict[str, object] = {"schemas": list(schemas), "namespaces": namespaces, "only": None, "oids": None}
    if only is not None:
        arguments["only"] = named
    relations: dict[str, dict[str, str]] = {}
    for oid, name, comment in run(catalog.NAMESPACES, arguments):
        namespaces.append(oid)
        relations[f"schema {name}"] = _commented({}, comment)
    # What belongs to an extension has no relation, and what the other queries find of it goes nowhere.
    by_oid: dict[int, dict[str, str]] = defaultdict(dict)
    names: dict[int, str] = {}
    for oid, schema, name, kind, *described in run(catalog.RELATIONS, arguments):
        names[oid] = f"{_KINDS[kind]} {schema}.{name}"
        by_oid[oid] = relations[names[oid]] = _relation(*described)
    arguments["oids"] = None if only is None else list(names)
    for oid, columns, definitions in run(catalog.COLUMNS, arguments):
        by_oid[oid].update(zip(columns, definitions, strict=True))
    for oid, name, definition, comment in run(catalog.CONSTRAINTS, arguments):
        by_oid[oid].update(_aspect(f"constraint {name}", _settled(definition), comment))
    for oid, name, definition, valid, comment in run(catalog.INDEXES, arguments):
        by_oid[oid].update(
            _aspect(f"index {name}", _settled(definition) if valid else f"{definition} INVALID", comment)
        )
    for oid, aspect, definition in run(catalog.ATTACHED, arguments):
        by_oid[oid][aspect] = definition
    for query in (catalog.TYPES, catalog.SEQUENCES, catalog.FUNCTIONS):
        for name, definition, comment in run(query, arguments):
            relations[name] = _commented({"definition": definition or ""}, comment)
    for (name,) in run(catalog.OTHERS, arguments):
        relations.setdefault(name, {"definition": ""})
    used: dict[str, set[tuple[str, str]]] = {name: set() for name in relations if name.startswith(_VIEWS)}
    for oid, relation, column in run(catalog.DEPENDENCIES, arguments) if used else ():
        if oid in names:
            used[names[oid]].add((relation, column))
    run(catalog.APPLY_SETTINGS, settings)
    return Facts(relations, {name: frozenset(items) for name, items in used.items()})


def _relation(
    persistence: str,
    comment: str | None,
    view: str | None,
    key: str | None,
    bound: str | None,
    parents: str | None,
    secured: str,
    options: str | None,
) -> dict[str, str]:
    aspects = {
        "persistence": _PERSISTENCE[persistence],
        "definition": view,
        "partitioned by": key,
        PARTITION: bound,
        "inherits": parents,
        "options": options,
        "row security": secured,
        "comment": comment,
    }
    return {name: value for name, value in aspects.items() if value}


def _is_carried_whole(relation: str, aspects: Aspects) -> bool:
    return not relation.startswith(DECLARED_RELATIONS) or PARTITION in aspects


def _carried(relation: str, aspects: Aspects) -> list[str]:
    beside = () if relation.startswith("table ") else CARRIED_ASPECTS_BESIDE_TABLES
    carried = (*CARRIED_ASPECTS, *beside)
    return [aspect for aspect in aspects if aspect.startswith(carried)]


def relation_hash(aspects: Aspects) -> str:
    """Return the hash of one relation's facts, in hex; the order of its aspects does not count."""
    return hashlib.sha256(json.dumps(aspects, sort_keys=True).encode()).hexdigest()


def combined_hash(hashes: Mapping[str, str]) -> str:
    """Return one hash for the hashes of some relations, in hex."""
    return hashlib.sha256("".join(f"{name}\0{hashes[name]}\n" for name in sorted(hashes)).encode()).hexdigest()


def _settled(expression: str) -> str:
    return _CAST_LIST.sub(lambda found: "ARRAY[" + _CAST_ITEM.sub(r"(\g<0>)::text", found[1]) + "]", expression)


def _aspect(name: str, definition: str, comment: str | None) -> dict[str, str]:
    return {name: definition, f"comment on {name}": comment} if comment else {name: definition}


def _commented(aspects: dict[str, str], comment: str | None) -> dict[str, str]:
    return {**aspects, "comment": comment} if comment else aspects
