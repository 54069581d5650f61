"""What kind of change each difference of a proposal is: one word for people who read the list of changes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from monarch_dagster.errors import counted
from monarch_dagster.postgres.types import change_of
from monarch_dagster.schema.facts import Difference, parse_column

COLUMN = "column "
NAME = "the name"
# In the order in which a summary has them.
KINDS = ("added", "widened", "narrowed", "retyped", "renamed", "changed", "dropped")


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
