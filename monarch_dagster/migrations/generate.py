"""Generate: from sources and chain to a proposed revision, proved and written whole (DESIGN rules 2 to 6).

`propose` is the one way to a revision file, for command, asset and sensor alike. It never looks at the target.
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.files import replace_file
from monarch_dagster.migrations.chain import BASE, Chain, Hazard, Revision, load_chain
from monarch_dagster.migrations.prove import check_kinds, model_changes, prove
from monarch_dagster.migrations.replay import chain_clone, chain_facts, desired_facts, keep_clone
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.desired import Desired, Sources, build_desired
from monarch_dagster.schema.facts import Difference, Facts

log = logging.getLogger(__name__)

# Alembic's own length; version_num is VARCHAR(32).
REVISION_LENGTH = 12
LONGEST_SLUG = 40


@dataclass(frozen=True)
class ProposedRevision:
    """A revision that was proved; `path` is where it stands, or would stand after a dry run."""

    revision: str
    down_revision: str | None
    path: Path
    text: str
    upgrade_sql: str
    hazards: tuple[Hazard, ...] = ()


@dataclass(frozen=True)
class Proposal:
    """What generating came to: the head before, the revisions proposed (none: nothing to do), and the changes."""

    head_before: str | None
    revisions: tuple[ProposedRevision, ...] = ()
    changes: tuple[Difference, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    @property
    def head(self) -> str | None:
        """The head after the proposal."""
        return self.revisions[-1].revision if self.revisions else self.head_before


def propose(
    sources: Sources, shadows: ShadowServer, *, message: str = "", dry_run: bool = False, empty: bool = False
) -> Proposal:
    """Propose the revision that takes the chain to the desired schema, or nothing where it is there already.

    Args:
        sources: what is desired; the chain is in the same schema folder.
        shadows: where chain and desired schema are built and the revision is proved.
        message: the revision's message, in its docstring and its file's name.
        dry_run: prove, but write nothing.
        empty: write a revision without operations, to be filled in by hand.

    Raises `MonarchError`, with nothing written, for sources or a chain that cannot be trusted, and for a difference
    that the generated operations do not remove.
    """
    message = message.strip()
    with folder_lock(sources.schema_dir, write=not dry_run):
        chain = load_chain(sources.schema_dir)
        proposal = _propose_empty(chain, message) if empty else _propose_changes(sources, chain, shadows, message)
        if not dry_run:
            for item in proposal.revisions:
                replace_file(item.path, item.text.encode())
                log.info("Proposed revision %s: %s", item.revision, item.path)
        return proposal


def sources_covered(sources: Sources, shadows: ShadowServer) -> bool:
    """Say whether the chain comes to the desired schema, so that generating would propose nothing.

    Raises `MonarchError` as `propose` does.
    """
    chain = load_chain(sources.schema_dir)
    with chain_clone(shadows, chain, chain.head) as url:
        before = chain_facts(url)
        desired = _checked_sources(sources, before)
        return not model_changes(before, desired_facts(shadows, chain, desired))


@contextmanager
def folder_lock(folder: Path, *, write: bool) -> Iterator[None]:
    """Hold the schema folder's lock; it is made where it is not there and `write` is set.

    The lock is on the folder itself, so no file of it can be committed by mistake. Raises `MonarchError` where the
    folder cannot be made.
    """
    try:
        if write:
            folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        yield  # nothing is there to be locked
        return
    except OSError as error:
        raise MonarchError(
            f"The schema folder {folder} cannot be used: {error.strerror}. Nothing was written.",
            remedy="Make it a folder that can be written, or set MONARCH_SCHEMA_DIR.",
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def revision_id(down_revision: str | None, upgrades: str, downgrades: str) -> str:
    """Return the id of a revision: a hash of the one below it and of its canonical operations, both ways (rule 5)."""
    parts = "\0".join((down_revision or BASE, upgrades, downgrades))
    return hashlib.sha256(parts.encode()).hexdigest()[:REVISION_LENGTH]


def file_name(revision: str, message: str, now: datetime) -> str:
    """Return `YYYY_MM_DD_HHMM-<revision>_<slug>.py`; `now` is in UTC, the slug is empty without a message."""
    slug = "_".join(re.findall(r"[a-z0-9]+", message.lower()))[:LONGEST_SLUG].rstrip("_")
    return f"{now:%Y_%m_%d_%H%M}-{revision}_{slug}.py"


def summarise(changes: Sequence[Difference]) -> str:
    """Return what a revision does in a line, for the docstring of one without a message."""
    new = Counter(change.relation.partition(" ")[0] for change in changes if change.aspect.startswith("the "))
    altered = {change.relation for change in changes if not change.aspect.startswith("the ")}
    gone = Counter(
        change.relation.partition(" ")[0] for change in changes if change.aspect.startswith("the ") and change.found
    )
    new -= gone
    parts = [
        f"{verb} {counted(count, kind)}"
        for verb, kinds in (("add", new), ("drop", gone))
        for kind, count in sorted(kinds.items())
    ]
    if altered:
        parts.append(f"change {counted(len(altered), 'relation')}")
    return ", ".join(parts)


def _propose_empty(chain: Chain, message: str) -> Proposal:
    from monarch_dagster.migrations.autogenerate import render_revision

    # Two empty revisions behind one head would be one and the same; the message tells them apart.
    revision = revision_id(chain.head, message, "empty")
    body = "pass"
    text = render_revision(
        revision=revision, down_revision=chain.head, message=message, hazards=(), upgrades=body, downgrades=body
    )
    path = chain.directory / file_name(revision, message, datetime.now(UTC))
    return Proposal(chain.head, (ProposedRevision(revision, chain.head, path, text, ""),))


def _propose_changes(sources: Sources, chain: Chain, shadows: ShadowServer, message: str) -> Proposal:
    with chain_clone(shadows, chain, chain.head) as url:
        before = chain_facts(url)
        desired = _checked_sources(sources, before)
        for warning in desired.warnings:
            log.warning("%s", warning)
        wanted = desired_facts(shadows, chain, desired)
        changes = model_changes(before, wanted)
        if not changes:
            log.info("Nothing to generate: the chain comes to the desired schema (head %s)", chain.head or BASE)
            return Proposal(chain.head, warnings=desired.warnings)
        check_kinds(changes, before, wanted)
        revision = _render(chain, desired, changes, url, message)
        sql = prove(url, revision.revision, chain.head, revision.text, before=before, wanted=wanted)
        proved = replace(revision, upgrade_sql=sql)
        # The clone is now what the next command would have to replay.
        keep_clone(shadows, chain.extended(_as_read(proved)), url)
    return Proposal(chain.head, (proved,), changes, desired.warnings)


def _as_read(proposed: ProposedRevision) -> Revision:
    """Return a proposed revision as the chain will read it."""
    digest = hashlib.sha256(proposed.text.encode()).hexdigest()
    return Revision(proposed.revision, proposed.down_revision, proposed.path, digest, "")


def _checked_sources(sources: Sources, chain: Facts) -> Desired:
    """Build the desired schema; a source that is not there is not an empty source (DESIGN rule 1)."""
    held = sorted(name for name in chain.tables() if name.startswith(f"{sources.provider_schema}."))
    if held and not sources.object_meta_path.exists():
        raise MonarchError(
            f"There is no {sources.object_meta_path}, but the chain holds {counted(len(held), 'table')} of the "
            f"provider ({', '.join(held[:3])}{', …' if len(held) > 3 else ''}).",
            remedy="Bring it back with git, or run `monarch fetch`. A file that is missing never drops a table.",
        )
    return build_desired(sources)


def _render(chain: Chain, desired: Desired, changes: Sequence[Difference], url: URL, message: str) -> ProposedRevision:
    from monarch_dagster.migrations.autogenerate import detect, render_bodies, render_revision
    from monarch_dagster.migrations.hazards import step_hazards
    from monarch_dagster.migrations.operations import canonical_steps

    schemas = {change.relation.removeprefix("schema "): change for change in changes if _is_schema(change)}
    with connect(url) as connection:
        steps = canonical_steps(
            detect(connection, desired.metadata, changes),
            new_schemas=[name for name, change in schemas.items() if change.expected],
            old_schemas=[name for name, change in schemas.items() if not change.expected],
        )
        upgrades, downgrades = render_bodies(steps)
    revision = revision_id(chain.head, upgrades, downgrades)
    hazards = step_hazards(steps)
    text = render_revision(
        revision=revision,
        down_revision=chain.head,
        message=message or summarise(changes),
        hazards=hazards,
        upgrades=upgrades,
        downgrades=downgrades,
    )
    path = chain.directory / file_name(revision, message, datetime.now(UTC))
    return ProposedRevision(revision, chain.head, path, text, "", hazards)


def _is_schema(change: Difference) -> bool:
    return change.relation.startswith("schema ") and change.aspect == "the schema"
