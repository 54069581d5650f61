"""Kept proofs: which revisions were proved here, and the demand for a proof before they are applied (DESIGN rule 6).

A proof is a file under `MONARCH_HOME`, named by what it holds for: the revision with all those before it, the major
version of the server it ran on, and the version of this package.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from monarch_dagster.errors import MonarchError
from monarch_dagster.files import replace_file
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.replay import SHADOW_SQL, chain_clone, chain_facts, desired_facts
from monarch_dagster.migrations.revisions import BASE, Revision
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Sources, build_desired
from monarch_dagster.schema.facts import Difference, Facts, carry, differences

log = logging.getLogger(__name__)

FOLDER = "proofs"
SHOWN_DIFFERENCES = 10


@dataclass(frozen=True)
class Proofs:
    """The proofs kept in one folder."""

    folder: Path

    def holds(self, chain: Chain, revision: str, major: int | None) -> bool:
        """Say whether the revision was proved on a server of that major version; None: of any."""
        return any(self.folder.glob(f"{_key(chain, revision)}-{major or '*'}.json"))

    def keep(self, chain: Chain, revision: str, major: int) -> None:
        """Keep that the revision was proved. A folder that cannot be written costs a proof next time, and no more."""
        content = {"revision": revision, "postgresql": major, "monarch": version("monarch-dagster")}
        try:
            path = self.folder / f"{_key(chain, revision)}-{major}.json"
            replace_file(path, json.dumps(content, indent=2).encode() + b"\n")
        except MonarchError as error:
            log.warning("The proof of %s is not kept: %s", revision, error.message)


@dataclass(frozen=True)
class Prover:
    """What it takes to prove revisions: the sources, a server for shadows (started when it is needed), kept proofs."""

    sources: Sources
    shadows: Callable[[], ShadowServer]
    proofs: Proofs

    def demand(self, chain: Chain, pending: Sequence[Revision], unproved: Collection[str]) -> tuple[str, ...]:
        """Prove what is pending and has no proof here; return the revisions that go without one.

        Args:
            chain: the revisions.
            pending: those to be applied, in chain order.
            unproved: ids that a person named to be applied without a proof.

        Raises `MonarchError` for a revision that does not prove, or cannot be proved here and was not named.
        """
        if not pending:
            return ()
        try:
            shadows = self.shadows()
            major: int | None = shadows.major
        except MonarchError as error:
            return self._without_shadow(chain, pending, unproved, error)
        missing = [item for item in pending if not self.proofs.holds(chain, item.revision, major)]
        wanting = [item for item in missing if item.revision not in unproved]
        for item in wanting:
            if item.empty:
                raise MonarchError(
                    f"{item.path.name} does nothing yet; nothing was applied.",
                    remedy="Fill in its upgrade and downgrade, or delete the file: filled in later, it never runs.",
                )
        if wanting:
            self._prove(chain, wanting, shadows)
        return tuple(item.revision for item in missing if item.revision in unproved)

    def _without_shadow(
        self, chain: Chain, pending: Sequence[Revision], unproved: Collection[str], error: MonarchError
    ) -> tuple[str, ...]:
        missing = [item.revision for item in pending if not self.proofs.holds(chain, item.revision, None)]
        if refused := [name for name in missing if name not in unproved]:
            raise MonarchError(
                f"{', '.join(refused)} cannot be proved before it is applied: no shadow database can be had. "
                f"{error.message}",
                remedy=f"{error.remedy} Or name what may run without a proof: --allow-unproved {refused[0]}.",
            ) from None
        return tuple(missing)

    def _prove(self, chain: Chain, wanting: Sequence[Revision], shadows: ShadowServer) -> None:
        from monarch_dagster.migrations.prove import prove_file

        last = wanting[-1].revision
        names = [item.revision for item in wanting]
        first = wanting[0].down_revision
        edits: dict[tuple[str, str], Revision] = {}
        with chain_clone(shadows, chain, first) as url:
            here = chain_facts(url)
            for item in chain.upto(last)[len(chain.upto(first)) :]:
                proved = item.revision not in names
                after = prove_file(url, item, here, shadows.memo, proved=proved)
                if not proved:
                    done = names.index(item.revision) + 1
                    progress = {"progress": (done, len(names)), "task": "Proving revisions"}
                    log.info("Proved %s (%d of %d)", item.path.name, done, len(names), extra=progress)
                if item.edited:
                    edits |= dict.fromkeys(_changed(after, here), item)
                here = after
        if edits and last == chain.head:
            self._judge(chain, here, edits, shadows)
        for item in wanting:
            self.proofs.keep(chain, item.revision, shadows.major)

    def _judge(self, chain: Chain, found: Facts, edits: dict[tuple[str, str], Revision], shadows: ShadowServer) -> None:
        """Refuse what a person's revision does and a model could declare, but does not (DESIGN section 5)."""
        with closing(build_desired(self.sources)) as desired:
            declared = desired_facts(shadows, chain, desired)
        left = [
            change for change in differences(carry(found, declared), found) if (change.relation, change.aspect) in edits
        ]
        if not left:
            return
        lines = [f"  {_name(edits[change.relation, change.aspect])}: {_told(change)}" for change in left]
        more = [f"  … and {len(lines) - SHOWN_DIFFERENCES} more"] if len(lines) > SHOWN_DIFFERENCES else []
        raise MonarchError(
            "A revision that was edited by hand does what the models do not say; nothing was applied:\n"
            + "\n".join(lines[:SHOWN_DIFFERENCES] + more),
            remedy="Declare it in the model (or in object_meta.json) too, else the next generated revision takes it "
            "back; or take it out of the revision.",
        )


def _changed(after: Facts, before: Facts) -> Iterator[tuple[str, str]]:
    """Give relation and aspect of all that a revision changed; of a relation that it made, every aspect."""
    for change in differences(after, before):
        yield change.relation, change.aspect
        if change.relation not in before.relations:
            yield from ((change.relation, aspect) for aspect in after.relations[change.relation])


def _name(revision: Revision) -> str:
    return revision.path.name


def _told(change: Difference) -> str:
    if not change.expected:
        return f"{change.relation}: {change.aspect} is in no model (found: {change.found})"
    if not change.found:
        return f"{change.relation}: {change.aspect} is dropped, the model declares {change.expected}"
    return f"{change.relation}: {change.aspect} is {change.found}, the model declares {change.expected}"


def _key(chain: Chain, revision: str) -> str:
    prelude = chain.directory.with_name(SHADOW_SQL)
    parts = (version("monarch-dagster"), prelude.read_text() if prelude.exists() else "", chain.key(revision) or BASE)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
