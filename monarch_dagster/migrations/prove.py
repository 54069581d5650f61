"""Proof: a proposed revision, run up, down and up again on a clone of the shadow (DESIGN rules 4 and 6).

Holds what counts as a difference, and the errors for those that remain. How a revision comes about is `generate`'s.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.chain import BASE, VERSIONS
from monarch_dagster.migrations.environment import Options
from monarch_dagster.migrations.replay import chain_facts
from monarch_dagster.schema.facts import Difference, Facts, differences

SHOWN_DIFFERENCES = 10
BY_HAND = (
    "Write these changes by hand in a revision of their own (monarch generate-migrations --empty), or undo them in the "
    f"model. Files are in {VERSIONS}/."
)


def model_changes(before: Facts, wanted: Facts) -> tuple[Difference, ...]:
    """Return how `wanted` differs from `before`, in what a model can declare."""
    return tuple(differences(wanted.declarable(), before.declarable()))


def check_kinds(changes: Sequence[Difference], before: Facts, wanted: Facts) -> None:
    """Refuse changes of what autogenerate knows nothing of: enum types, sequences that no column owns."""
    relations = {**before.relations, **wanted.relations}
    left = [
        change
        for change in changes
        if not change.relation.startswith(("table ", "schema "))
        and " owned by " not in relations[change.relation].get("definition", "")
    ]
    if left:
        raise _not_generated("Monarch generates tables and schemas; these changes it cannot generate yet", left)


def prove(url: URL, revision: str, down_revision: str | None, text: str, *, before: Facts, wanted: Facts) -> str:
    """Run a revision's text on a clone at `down_revision`: up, down and up again. Return the SQL of the upgrade.

    Raises `MonarchError` for a difference that remains, or a step that PostgreSQL refuses.
    """
    options = Options(url, shadow=True)
    with tempfile.TemporaryDirectory(prefix="monarch-proof-") as folder:
        versions = [Path(folder)]
        (versions[0] / "proposed.py").write_text(text)
        if down_revision is not None:
            # It stands for the chain, which is on the clone already and need not be loaded.
            (versions[0] / "down.py").write_text(f"revision = {down_revision!r}\ndown_revision = None\n")
        for leg in ("upgrade", "downgrade", "second upgrade"):
            try:
                if leg == "downgrade":
                    runner.downgrade(versions, down_revision or BASE, options)
                else:
                    runner.upgrade(versions, revision, options)
            except MonarchError as error:
                told = f"The generated revision does not run on a shadow (its {leg}); nothing was written."
                raise MonarchError(f"{told} {error.message}", remedy=BY_HAND) from None
            found = chain_facts(url)
            left = tuple(differences(before, found)) if leg == "downgrade" else model_changes(found, wanted)
            if left:
                told = "The generated revision does not do all that the sources ask for"
                raise _not_generated(f"{told}; after its {leg} on a shadow", left)
        return runner.upgrade_sql(versions, down_revision, revision, options)


def _not_generated(told: str, left: Sequence[Difference]) -> MonarchError:
    lines = [f"  {item}" for item in left[:SHOWN_DIFFERENCES]]
    if len(left) > SHOWN_DIFFERENCES:
        lines.append(f"  … and {len(left) - SHOWN_DIFFERENCES} more")
    return MonarchError(f"{told}:\n" + "\n".join(lines) + "\nNothing was written.", remedy=BY_HAND)
