"""Views: created, dropped, and built again where what they stand on is altered. Pure.

PostgreSQL refuses to alter or drop a column under a view; so the view is dropped before and created after, with all
that is attached to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from monarch_dagster.migrations.hazards import LOCK
from monarch_dagster.migrations.planning.operation import Operation, Phase, Sql, qualified, split, view_kind
from monarch_dagster.migrations.planning.tables import table_order
from monarch_dagster.migrations.planning.words import Words
from monarch_dagster.migrations.revisions import Hazard
from monarch_dagster.schema.facts import Facts

KINDS = ("view ", "materialized view ")


def plan_views(found: Facts, wanted: Facts, words: Words, altered: set[tuple[str, str]]) -> Iterator[Operation]:
    """Give the operations on views.

    `altered` has the (relation, column) pairs that are dropped or get another type; "" stands for the whole relation.
    """
    before, after = _views(found), _views(wanted)
    gone = {name for name in before if name not in after or found.relations[name] != wanted.relations[name]}
    moved = altered | {(name, "") for name in gone}
    while more := {name for name in before.keys() - gone if before[name] & moved}:
        gone |= more
        moved |= {(name, "") for name in more}
    placed = [name for name, _ in table_order(_among(before, gone))]
    for position, name in enumerate(reversed(placed)):
        rebuilt = Hazard(LOCK, ".".join(split(name)), "it is dropped and created again; grants on it must be renewed")
        drop = Sql(f"DROP {view_kind(name)} {qualified(name)}")
        yield Operation(Phase.DROP_VIEW, (position,), (drop,), (rebuilt,) if name in after else ())
    come = {name for name in after if name not in before or name in gone}
    for position, (name, _) in enumerate(table_order(_among(after, come))):
        yield Operation(Phase.CREATE_VIEW, (position,), words.view(name))


def _views(facts: Facts) -> dict[str, frozenset[tuple[str, str]]]:
    return {name: facts.dependencies.get(name, frozenset()) for name in facts.relations if name.startswith(KINDS)}


def _among(views: Mapping[str, frozenset[tuple[str, str]]], chosen: set[str]) -> dict[str, set[str]]:
    return {name: {relation for relation, _ in views[name]} & chosen - {name} for name in chosen}
