"""The path: the facts between now and then, one set after each revision of a proposal. Pure.

Where PostgreSQL has a form with a weaker lock, the way leads through facts of its own: a constraint that is not valid
yet, an index that carries no constraint yet. A revision is then a plan from one set of facts to the next. Sources:
PostgreSQL, "ALTER TABLE" (NOT VALID, SET NOT NULL, USING INDEX) and "Building Indexes Concurrently".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from monarch_dagster.migrations.hazards import LOCK_BUDGET, locks_of
from monarch_dagster.migrations.planning.columns import altered_columns, columns_of
from monarch_dagster.migrations.planning.constraints import CONSTRAINT, INDEX, changes_of
from monarch_dagster.migrations.planning.definitions import (
    NOT_VALID,
    index_of_unique,
    key_columns,
    mentions,
    reference,
    unique_columns,
)
from monarch_dagster.migrations.planning.operation import qualified
from monarch_dagster.migrations.planning.tables import created_order
from monarch_dagster.migrations.planning.types import ENUM, added_labels
from monarch_dagster.postgres.quoting import identifier
from monarch_dagster.salesforce.namespaces import namespace_of
from monarch_dagster.schema.facts import Aspects, Facts
from monarch_dagster.schema.naming import PROVEN_PREFIX, PROVEN_SUFFIX, shorten

NOT_NULL = " NOT NULL"
# Indexes of tables that are there are built one by one while others write. Where there are many, such as after a rule
# that gives each table one, that would be a revision each; they are built together then, and writers wait.
MOST_REVISIONS_OF_ONE_INDEX = 20
INDEXES_A_REVISION = 100
_T = TypeVar("_T")


@dataclass(frozen=True)
class Leg:
    """One revision's part of the path: the facts that it passes through, the last of which it ends at."""

    through: tuple[Facts, ...]
    concurrent: bool = False

    @property
    def end(self) -> Facts:
        """The facts after the revision."""
        return self.through[-1]


@dataclass
class _Later:
    """What a first revision leaves to later ones: overrides of what is wanted, by relation and aspect."""

    unchecked: dict[str, dict[str, str | None]] = field(default_factory=lambda: defaultdict(dict))
    indexes: dict[tuple[str, str], str] = field(default_factory=dict)


def path(found: Facts, wanted: Facts) -> list[Leg]:
    """Return the legs from `found` to `wanted`, at least one."""
    legs: list[Leg] = []
    start = found
    enlarged = _with_labels(found, wanted)
    if enlarged is not None and enlarged.relations != wanted.relations:
        # A new value cannot be used in the transaction that adds it.
        legs.append(Leg((enlarged,)))
        found = enlarged
    later = _postponed(found, wanted)
    state = _overridden(wanted, later.unchecked)
    legs += [Leg((facts,)) for facts in _in_budget(found, state)]
    legs.append(Leg((state,)))
    size = 1 if len(later.indexes) <= MOST_REVISIONS_OF_ONE_INDEX else INDEXES_A_REVISION
    for built in _batches(sorted(later.indexes.items()), size):
        overrides: dict[str, dict[str, str]] = defaultdict(dict)
        for (relation, aspect), definition in built:
            overrides[relation][aspect] = definition
        state = _overridden(state, overrides)
        legs.append(Leg((state,), concurrent=size == 1))
    if state.relations != wanted.relations:
        validated = {
            relation: {
                aspect: value.removesuffix(NOT_VALID)
                for aspect, value in overrides.items()
                if value is not None and value.endswith(NOT_VALID)
            }
            for relation, overrides in later.unchecked.items()
        }
        legs.append(Leg((_overridden(state, validated), wanted)))
    previous = [start, *(leg.end for leg in legs)]
    return [leg for leg, before in zip(legs, previous, strict=False) if leg.end.relations != before.relations]


def _batches(items: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _with_labels(found: Facts, wanted: Facts) -> Facts | None:
    """Return `found` with the values that enums gain; None where none gains any."""
    gained: dict[str, Aspects] = {}
    for name, aspects in found.relations.items():
        if name.startswith(ENUM) and name in wanted.relations:
            after = wanted.relations[name]
            if added_labels(aspects["definition"], after["definition"]):
                gained[name] = {**aspects, "definition": after["definition"]}
    return replace(found, relations={**found.relations, **gained}) if gained else None


def _postponed(found: Facts, wanted: Facts) -> _Later:
    later = _Later()
    referred = {
        (key.table, frozenset(key.referred))
        for aspects in wanted.relations.values()
        for aspect, definition in aspects.items()
        if aspect.startswith(CONSTRAINT) and (key := reference(definition)) is not None
    }
    for relation in sorted(found.relations.keys() & wanted.relations.keys()):
        before, after = found.relations[relation], wanted.relations[relation]
        if relation.startswith("table ") and before != after:
            _postpone(relation, before, after, referred, later)
    return later


def _postpone(
    relation: str, before: Aspects, after: Aspects, referred: set[tuple[str, frozenset[str]]], later: _Later
) -> None:
    partitioned = "partitioned by" in after
    overrides = later.unchecked[relation]
    changes = changes_of(relation, before, after, ())
    altered = altered_columns(before, after)
    for aspect in sorted(changes.add):
        definition = after[aspect]
        if definition.endswith(NOT_VALID):
            continue
        if _is_unique(aspect, definition) and any(_is_on(definition, name) for name in altered.retyped):
            continue  # of values that differed one may have been made: then nothing of it may stay
        if aspect.startswith(INDEX):
            if not partitioned:
                overrides |= _without(aspect)
                later.indexes[relation, aspect] = definition
        elif definition.startswith("CHECK") or (definition.startswith("FOREIGN KEY") and not partitioned):
            overrides[aspect] = definition + NOT_VALID
        elif not partitioned and _free_unique(relation, definition, referred):
            name = aspect.removeprefix(CONSTRAINT)
            index = index_of_unique(qualified(relation), identifier(name), definition)
            assert index is not None  # _free_unique asked for it
            overrides |= _without(aspect)
            later.indexes[relation, f"{INDEX}{name}"] = index
    built = [index for (table, _), index in later.indexes.items() if table == relation]
    for aspect in _to_be_kept(before, after, sorted(changes.drop - changes.add), built):
        kept = (aspect, f"comment on {aspect}")
        overrides |= {name: before[name] for name in kept if name in before}
    for name in _to_be_proven(before, after):
        check = f"{CONSTRAINT}{shorten(f'{PROVEN_PREFIX}{name}{PROVEN_SUFFIX}')}"
        overrides[f"column {name}"] = after[f"column {name}"].removesuffix(NOT_NULL)
        overrides[check] = f"CHECK (({identifier(name)} IS NOT NULL)){NOT_VALID}"


def _to_be_kept(before: Aspects, after: Aspects, dropped: Sequence[str], built: Sequence[str]) -> Iterator[str]:
    """Give the indexes that stay until those are built which come in their place: a build may fail, on values."""
    altered = altered_columns(before, after)
    for aspect in dropped:
        if not aspect.startswith(INDEX):
            continue
        columns = {name for name in columns_of(before) if _is_on(before[aspect], name)}
        if columns & (altered.all | altered.converted):
            continue  # it goes with the column, or is in the way of its change
        if any(_is_on(index, name) for index in built for name in columns):
            yield aspect


def _is_on(definition: str, column: str) -> bool:
    """Say whether an index, or a constraint, is on a column: by what stands behind the table's name."""
    return mentions(definition.partition(" USING ")[2] or definition, identifier(column))


def _is_unique(aspect: str, definition: str) -> bool:
    return definition.startswith("CREATE UNIQUE" if aspect.startswith(INDEX) else "UNIQUE")


def _without(aspect: str) -> dict[str, str | None]:
    return {aspect: None, f"comment on {aspect}": None}


def _free_unique(relation: str, definition: str, referred: set[tuple[str, frozenset[str]]]) -> bool:
    """Say whether a unique constraint's index can be built first: no foreign key needs it in the meantime."""
    columns = frozenset(unique_columns(definition) or ())
    table = relation.removeprefix("table ")
    return index_of_unique("t", "i", definition) is not None and (table, columns) not in referred


def _to_be_proven(before: Aspects, after: Aspects) -> Iterator[str]:
    """Give the columns that get NOT NULL through a validated check: those that stay and are in no new key."""
    old, new = columns_of(before), columns_of(after)
    keys = {
        column
        for aspect, definition in after.items()
        if aspect.startswith(CONSTRAINT) and before.get(aspect) != definition
        for column in key_columns(definition)
    }
    replaced = altered_columns(before, after).replaced
    for name in sorted(old.keys() & new.keys()):
        becomes = new[name].not_null and not old[name].not_null
        if becomes and not new[name].identity and name not in keys | replaced:
            yield name


def _overridden(facts: Facts, overrides: Mapping[str, Mapping[str, str | None]]) -> Facts:
    relations = dict(facts.relations)
    for relation, aspects in overrides.items():
        if aspects:
            merged: dict[str, str | None] = {**relations[relation], **aspects}
            relations[relation] = {name: value for name, value in merged.items() if value is not None}
    return replace(facts, relations=relations)


def _in_budget(found: Facts, wanted: Facts) -> Iterator[Facts]:
    """Give the facts in between where a transaction that creates all new tables would take too many locks.

    The tables of a managed package stay together, unless they alone are too many for half of what may be taken.
    """
    order = created_order(
        wanted, [name for name in wanted.relations if name.startswith("table ") and name not in found.relations]
    )
    if sum(locks_of(wanted.relations[name]) for name in order) <= LOCK_BUDGET:
        return
    needed = ("schema ", ENUM, "sequence ")
    relations = dict(found.relations)
    relations |= {
        name: value for name, value in wanted.relations.items() if name.startswith(needed) and name not in relations
    }
    spent = 0
    for previous, name in zip([order[0], *order], order, strict=False):
        cost = locks_of(wanted.relations[name])
        enough = LOCK_BUDGET // 2 if _package(name) != _package(previous) else LOCK_BUDGET - cost
        if spent and spent > enough:
            yield replace(found, relations=dict(relations))
            spent = 0
        spent += cost
        relations[name] = {
            aspect: value
            for aspect, value in wanted.relations[name].items()
            if (key := reference(value)) is None or f"table {key.table}" in relations or f"table {key.table}" == name
        }


def _package(relation: str) -> str | None:
    return namespace_of(relation.rpartition(".")[2])
