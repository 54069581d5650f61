"""Generate: from sources and chain to a proposed revision, proved and written whole (DESIGN rules 2 to 6).

`propose` is the one way to a revision file, for command, asset and sensor alike. It never looks at the target.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.files import delete_file, folder_lock, replace_file
from monarch_dagster.memory import uncollected
from monarch_dagster.migrations.chain import Chain, load_chain
from monarch_dagster.migrations.changes import ProviderColumn, provider_columns
from monarch_dagster.migrations.coverage import NOTHING, Kept, checked_sources
from monarch_dagster.migrations.proofs import Proofs
from monarch_dagster.migrations.replay import Replayed, desired_facts, keep_clone, keep_facts, known_tables, replayed
from monarch_dagster.migrations.revisions import BASE, Hazard, Revision, file_name, revision_id
from monarch_dagster.migrations.undeclared import remedy, undeclared
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Desired, Sources
from monarch_dagster.schema.facts import Difference, Facts, carry, differences, read_facts, user_schemas

if TYPE_CHECKING:
    from monarch_dagster.migrations.compose import Draft, Way
    from monarch_dagster.migrations.prove import Proved
    from monarch_dagster.migrations.renames import Rename
    from monarch_dagster.migrations.superseding import OpenProposals

log = logging.getLogger(__name__)

# People and other runs may take up a draft while its successor is proved.
MOST_TRIES = 3


@dataclass(frozen=True)
class ProposedRevision:
    """A revision that was proved; `path` is where it stands, or would stand after a dry run."""

    revision: str
    down_revision: str | None
    path: Path
    text: str
    upgrade_sql: str
    downgrade_sql: str
    hazards: tuple[Hazard, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What generating came to: the head before, the revisions proposed (none: nothing to do), and the changes.

    `id` is what the revisions share; "" where there are none.
    """

    head_before: str | None
    revisions: tuple[ProposedRevision, ...] = ()
    changes: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = field(default=())
    id: str = ""
    # What the chain made and no model can declare: it stays as it is.
    carried: tuple[str, ...] = ()
    # What was proposed before and nobody has taken up: its files are gone, or would go after a dry run.
    superseded: tuple[Revision, ...] = ()
    columns: tuple[ProviderColumn, ...] = ()
    # The major version that it was proved on (0: none), and how long the proof and the whole took: no part of it.
    postgresql: int = field(default=0, compare=False)
    proof_seconds: float = field(default=0.0, compare=False)
    seconds: float = field(default=0.0, compare=False)

    @property
    def head(self) -> str | None:
        """The head after the proposal."""
        return self.revisions[-1].revision if self.revisions else self.head_before


@uncollected()
def propose(
    sources: Sources,
    shadows: ShadowServer,
    proofs: Proofs,
    *,
    message: str = "",
    dry_run: bool = False,
    empty: bool = False,
    open_proposals: OpenProposals | None = None,
) -> Proposal:
    """Propose the revision that takes the chain to the desired schema, or nothing where it is there already.

    Args:
        sources: what is desired; the chain is in the same schema folder.
        shadows: where chain and desired schema are built and the revision is proved.
        proofs: where it is kept that the revision was proved.
        message: the revision's message, in its docstring and its file's name.
        dry_run: prove, but write nothing.
        empty: write a revision without operations, to be filled in by hand.
        open_proposals: tells which revisions at the chain's end a new proposal supersedes whole; None: it comes behind
            them. Asked only where the chain does not come to the desired schema.

    Raises `MonarchError`, with nothing written, for sources or a chain that cannot be trusted, and for a difference
    that the generated operations do not remove.
    """
    message, started = message.strip(), time.monotonic()
    with folder_lock(sources.schema_dir, write=not dry_run):
        for _ in range(MOST_TRIES):
            chain = load_chain(sources.schema_dir)
            if empty:
                proposal = _propose_empty(chain, message)
            else:
                proposal = _propose_changes(sources, chain, shadows, message, open_proposals)
            if dry_run or _written(proposal, open_proposals):
                break
        else:
            raise MonarchError(
                "What was proposed before is edited, committed or applied again and again. Nothing was written.",
                remedy="Generate again when nobody works at it.",
            )
        if not (dry_run or empty):
            chain = chain.less({item.revision for item in proposal.superseded})
            for item in proposal.revisions:
                chain = chain.extended(_as_read(item))
                proofs.keep(chain, item.revision, shadows.major)
        return replace(proposal, seconds=time.monotonic() - started)


def _written(proposal: Proposal, open_proposals: OpenProposals | None) -> bool:
    """Write what is proposed; False, and nothing written, where somebody took up meanwhile what it supersedes."""
    if open_proposals is None or not proposal.superseded:
        _write(proposal)
        return True
    with open_proposals.holding(proposal.superseded) as still:
        if still:
            _write(proposal)
        return still


def _write(proposal: Proposal) -> None:
    """Delete what is superseded, from its end, then write what is proposed: cut off anywhere, the files are a chain."""
    for old in reversed(proposal.superseded):
        delete_file(old.path)
        log.info("Superseded, as nobody has edited, committed or applied it: %s", old.path)
    for item in proposal.revisions:
        replace_file(item.path, item.text.encode())
        log.info("Proposed revision %s: %s", item.revision, item.path)


def _propose_empty(chain: Chain, message: str) -> Proposal:
    from monarch_dagster.migrations.rendering import render_revision

    # Two empty revisions behind one head would be one and the same; the message tells them apart.
    revision = revision_id(chain.head, message, "empty")
    said = {"message": message, "upgrades": "pass", "downgrades": "pass"}
    text = render_revision(revision=revision, down_revision=chain.head, hazards=(), **said)
    path = chain.directory / file_name(revision, message, datetime.now(UTC))
    return Proposal(chain.head, (ProposedRevision(revision, chain.head, path, text, "", ""),))


def _propose_changes(
    sources: Sources,
    chain: Chain,
    shadows: ShadowServer,
    message: str,
    open_proposals: OpenProposals | None,
) -> Proposal:
    from monarch_dagster.migrations.limits import TooManyColumnsError

    try:
        return _propose_on(sources, chain, shadows, message, open_proposals)
    except TooManyColumnsError:
        # On a clone that is kept, proofs have dropped columns, too.
        return _propose_on(sources, chain, shadows, message, open_proposals, fresh=True)


def _propose_on(
    sources: Sources,
    chain: Chain,
    shadows: ShadowServer,
    message: str,
    open_proposals: OpenProposals | None,
    *,
    fresh: bool = False,
) -> Proposal:
    from monarch_dagster.migrations.renames import find_renames
    from monarch_dagster.migrations.said_renames import said_renames

    with replayed(shadows, chain, fresh=fresh) as here, sources.taking() as taken, ExitStack() as stack:
        nothing = Kept(NOTHING, shadows, chain)
        if (kept := nothing.value(taken)) is not None:
            return _nothing(chain, *map(tuple, kept))
        before = here.facts
        built = checked_sources(sources, before, taken, known_tables(shadows, chain))
        desired = stack.enter_context(closing(built))
        declared = desired_facts(shadows, chain, desired)
        if any(before.relations.get(f"table {key}") != item.facts for key, item in desired.provider.known.items()):
            # What is to be proposed is written in the words of its declaration.
            desired = stack.enter_context(closing(checked_sources(sources, before, taken)))
        made = [rename for item in chain.revisions for rename in said_renames(item.path.read_text())]
        renames: tuple[Rename, ...] = ()
        refusal: MonarchError | None = None
        try:
            renames = find_renames(before, declared, desired.metadata, made)
        except MonarchError as error:
            refusal = error  # of what a draft made, perhaps
        if refusal is None and carry(before, declared) == before:
            nothing.keep([desired.warnings, before.carried()], desired)
            return _nothing(chain, desired.warnings, before.carried())
        for warning in desired.warnings:
            log.warning("%s", warning)
        if open_proposals is not None and (superseded := open_proposals.find(chain)):
            rest = chain.less({item.revision for item in superseded})
            return replace(_propose_on(sources, rest, shadows, message, None, fresh=fresh), superseded=superseded)
        if refusal is not None:
            raise refusal
        return _propose_way(sources, chain, shadows, message, here, desired, declared, renames)


def _propose_way(
    sources: Sources,
    chain: Chain,
    shadows: ShadowServer,
    message: str,
    here: Replayed,
    desired: Desired,
    declared: Facts,
    renames: tuple[Rename, ...],
) -> Proposal:
    """Compose what takes the chain to what is declared, and prove it on the chain's clone."""
    from monarch_dagster.migrations.compose import Way, compose, summarise
    from monarch_dagster.migrations.limits import check_columns, used_after
    from monarch_dagster.migrations.prove import prove_drafts

    before, url = here.facts, here.url
    renamed = renamed_facts(url, before, renames)
    way = Way(before, renamed, carry(renamed, declared), renames)
    check_columns(renamed, way.wanted, used_after(url, renames))
    changes = tuple(differences(way.wanted, way.renamed))
    drafts = compose(chain.head, way, desired, message or summarise(changes, renames))
    proofs = prove_drafts(url, drafts, before, shadows.memo)
    revisions = tuple(_proposed(chain, item, message, proof) for item, proof in zip(drafts, proofs, strict=True))
    # The clone is now what the next command would have to replay, and compare with the same.
    extended, end = chain.extended(*map(_as_read, revisions)), proofs[-1].facts
    keep_clone(shadows, extended, url)
    keep_facts(shadows, extended, end)
    if not renames and carry(end, declared) == end:
        Kept(NOTHING, shadows, extended).keep([desired.warnings, end.carried()], desired)
    changes = (*(item.change for item in renames), *changes)
    return Proposal(
        chain.head,
        revisions,
        changes,
        (*desired.warnings, *_hints(sources, chain, way, desired)),
        drafts[0].proposal,
        before.carried(),
        columns=provider_columns(changes, way.wanted, desired.metadata),
        postgresql=shadows.major,
        proof_seconds=sum(item.seconds for item in proofs),
    )


def _hints(sources: Sources, chain: Chain, way: Way, desired: Desired) -> tuple[str, ...]:
    """Return what a person should know of renames and of what no source declares; it is logged, too."""
    from monarch_dagster.migrations.provider_renames import provider_hints
    from monarch_dagster.migrations.renames import likely_renames

    file = str(sources.object_meta_path)
    hints = (
        *likely_renames(way.renamed, way.wanted, desired.metadata),
        *provider_hints(way.before, way.renamed, desired.meta, sources.provider_schema, file),
    )
    if lines := undeclared(chain, way.wanted, way.renamed):
        hints = (*hints, remedy(lines))
    for hint in hints:
        log.warning("%s", hint)
    return hints


def _nothing(chain: Chain, warnings: tuple[str, ...], carried: tuple[str, ...]) -> Proposal:
    for warning in warnings:
        log.warning("%s", warning)
    log.info("Nothing to generate: the chain comes to the desired schema (head %s)", chain.head or BASE)
    return Proposal(chain.head, warnings=warnings, carried=carried)


def _proposed(chain: Chain, draft: Draft, message: str, proof: Proved) -> ProposedRevision:
    # A minute apart, so that a listing has them in their order.
    now = datetime.now(UTC) + timedelta(minutes=draft.number - 1)
    path = chain.directory / file_name(draft.revision, f"{message} {draft.part}", now)
    ends, sql = (draft.revision, draft.down_revision), (proof.upgrade_sql, proof.downgrade_sql)
    return ProposedRevision(*ends, path, draft.text, *sql, draft.hazards)


def renamed_facts(url: URL, before: Facts, renames: Sequence[Rename]) -> Facts:
    """Return the facts that renames lead to from `before`: PostgreSQL renames, they are read, and nothing stays."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    if not renames:
        return before
    with connect(url) as connection:
        running = Operations(MigrationContext.configure(connection))
        for item in renames:
            running.invoke(item.action())
        renamed = read_facts(connection, user_schemas(connection))
        connection.rollback()
    return renamed


def _as_read(proposed: ProposedRevision) -> Revision:
    """Return a proposed revision as the chain will read it."""
    digest = hashlib.sha256(proposed.text.encode()).hexdigest()
    return Revision(proposed.revision, proposed.down_revision, proposed.path, digest, "")
