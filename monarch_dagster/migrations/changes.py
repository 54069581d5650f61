"""What kind of change each difference of a proposal is: one word for people who read the list of changes. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import MetaData

from monarch_dagster.errors import counted
from monarch_dagster.postgres.types import change_of
from monarch_dagster.schema.facts import Difference, Facts, parse_column
from monarch_dagster.schema.provider import ENTRY

COLUMN = "column "
NAME = "the name"
NAME_OF = f"{NAME} of "
# In the order in which a summary has them.
KINDS = ("added", "widened", "narrowed", "retyped", "renamed", "changed", "dropped")


@dataclass(frozen=True)
class ProviderColumn:
    """A column of a table of the provider's that a proposal adds or changes, as it will be.

    The type is as PostgreSQL prints it. `field` is the entry of `object_meta.json` that it comes from
    ("Account.Name"), `change` a kind of change, "" for a column that stays as it is.
    """

    table: str
    name: str
    type: str
    nullable: bool
    field: str
    label: str
    change: str


def provider_columns(changes: Iterable[Difference], wanted: Facts, metadata: MetaData) -> tuple[ProviderColumn, ...]:
    """Return the columns of all tables of the provider's that changes are about, those that change first.

    Args:
        changes: the proposal's changes, renames included.
        wanted: the facts that the proposal comes to.
        metadata: the tables that are declared; the provider's say from which entry they come.
    """
    kinds: dict[str, dict[str, str]] = defaultdict(dict)
    for change in changes:
        # A column that is renamed may be converted as well, which is told later, and is what counts.
        kinds[change.relation][change.aspect.removeprefix(NAME_OF)] = change_kind(change)
    found = []
    for key, table in sorted(metadata.tables.items()):
        relation = f"table {key}"
        if ENTRY not in table.info or relation not in kinds or relation not in wanted.relations:
            continue
        whole = kinds[relation].get("the table", "")
        for aspect, definition in wanted.relations[relation].items():
            column = table.columns.get(aspect.removeprefix(COLUMN))
            if not aspect.startswith(COLUMN) or column is None:
                continue
            entry, parts = column.info[ENTRY], parse_column(definition)
            kind = kinds[relation].get(aspect, whole)
            found.append(
                ProviderColumn(key, column.name, parts.type, not parts.not_null, str(entry), entry.field.label, kind)
            )
    return tuple(sorted(found, key=lambda item: not item.change))


def change_kind(change: Difference) -> str:
    """Return "added", "dropped" or "renamed"; of a column's type "widened", "narrowed" or "retyped"; else "changed"."""
    if change.aspect.startswith(NAME):
        return "renamed"
    if not change.found:
        return "added"
    if not change.expected:
        return "dropped"
    if change.aspect.startswith(COLUMN):
        found = change_of(parse_column(change.found).type, parse_column(change.expected).type)
        if found != "same":
            return found
    return "changed"


def count_columns(changes: Iterable[Difference]) -> str:
    """Return what happens to the columns of tables that stay, such as "2 columns added, 1 column widened"."""
    kinds = Counter(change_kind(change) for change in changes if change.aspect.startswith(COLUMN))
    return ", ".join(f"{counted(kinds[kind], 'column')} {kind}" for kind in KINDS if kinds[kind])
