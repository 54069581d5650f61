"""What revisions that a person wrote do, and no source declares: generating would take it back.

Facts tell only that chain and sources differ. Which of the two is ahead is told by the revision that speaks of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.revisions import Revision
from monarch_dagster.schema.facts import Difference, Facts, differences

SHOWN = 5


def undeclared(chain: Chain, wanted: Facts, found: Facts) -> tuple[str, ...]:
    """Return a line for each thing that an edited revision speaks of, and that the chain has otherwise than wanted.

    Args:
        chain: the revisions.
        wanted: the facts that the sources come to, with what is carried.
        found: the facts that the chain comes to.
    """
    by_hand = [(item, item.path.read_text()) for item in chain.revisions if item.edited and not item.empty]
    lines = []
    for change in differences(wanted, found) if by_hand else ():
        # The last one that speaks of it made it what it is.
        who = next((item for item, text in reversed(by_hand) if change.found and _speaks(text, change)), None)
        if who is not None:
            lines.append(_line(who, change))
    return tuple(lines)


def remedy(lines: Sequence[str]) -> str:
    """Return what to do for such lines."""
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return (
        f"A revision written by hand does what the sources do not say ({'; '.join(lines[:SHOWN])}{more}). Declare it "
        "in the models or in object_meta.json: what is generated takes it back."
    )


def _speaks(text: str, change: Difference) -> bool:
    relation = change.relation.rpartition(" ")[2].rpartition(".")[2]
    names = {relation} if change.whole else {relation, change.aspect.rpartition(" ")[2]}
    return all(re.search(rf"\b{re.escape(name)}\b", text) for name in names)


def _line(item: Revision, change: Difference) -> str:
    declared = f"declared as {change.expected}" if change.expected else "declared nowhere"
    return f"{item.path.name}: {change.relation}: {change.aspect} is {change.found}, {declared}"
