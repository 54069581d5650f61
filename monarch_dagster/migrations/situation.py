"""What the checks look at: files, target and shadow, each read once and only as far as a check asks.

What a check makes of it belongs in `checks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.beside import drift_beside, look_beside
from monarch_dagster.migrations.chain import Chain, read_chain
from monarch_dagster.migrations.drift import Drift, find_drift
from monarch_dagster.migrations.proofs import Prover
from monarch_dagster.migrations.revisions import Revision
from monarch_dagster.migrations.standing import Standing


@dataclass
class Situation:
    """What the checks look at: the files, what proves them, and the target (None: the checks of files alone).

    `approved` are revisions whose loss a person has accepted, "REV" or "FROM:TO".
    """

    prover: Prover
    url: URL | None
    approved: Sequence[str] = field(default=())

    @cached_property
    def chain(self) -> Chain:
        """The chain as far as it is one."""
        return read_chain(self.prover.sources.schema_dir)

    @cached_property
    def _looked(self) -> tuple[Standing, MonarchError | None]:
        assert self.url is not None
        return look_beside(self.chain, self.prover.shadows, self.url)

    @property
    def standing(self) -> Standing:
        """Where the target stands. Raises `MonarchError` when it cannot be read."""
        return self._looked[0]

    @property
    def in_the_way(self) -> MonarchError | None:
        """What keeps revisions from being applied, each with its remedy, None where nothing does."""
        standing, immovable = self._looked
        fault = standing.blocked_by
        return fault.error() if fault else immovable or self.set_up_already

    @cached_property
    def pending(self) -> tuple[Revision, ...]:
        """What would run; all revisions where there is no target."""
        return self.chain.revisions if self.url is None else self.standing.pending(self.chain)

    @cached_property
    def drift(self) -> Drift:
        """What drifted on the target, also beside a shadow where one can be had."""
        assert self.url is not None
        try:
            return drift_beside(self.chain, self.standing, self.prover.shadows(), self.url)
        except MonarchError as error:
            found = find_drift(self.url)
            return replace(found, not_compared=found.not_compared or f"Not compared with a shadow: {error}")

    @property
    def set_up_already(self) -> MonarchError | None:
        """What to do where the target has what pending revisions make."""
        # Beside a target at the head, nothing is pending, and a shadow not needed.
        return self.drift.set_up_already(self.standing.target.version) if self.pending else None
