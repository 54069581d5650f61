"""Status: where target, chain and sources stand, read without changing anything and without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.memory import uncollected
from monarch_dagster.migrations.beside import drift_beside, look_beside
from monarch_dagster.migrations.chain import Chain, read_chain
from monarch_dagster.migrations.coverage import Coverage, coverage
from monarch_dagster.migrations.drift import Drift, find_drift
from monarch_dagster.migrations.git_state import GitState, read_git
from monarch_dagster.migrations.preview import Preview, preview_conversions
from monarch_dagster.migrations.registering import behind
from monarch_dagster.migrations.revisions import Revision
from monarch_dagster.migrations.sizes import Sizes, live_hazards, read_sizes, sizes_for
from monarch_dagster.migrations.standing import Standing
from monarch_dagster.postgres.locks import who_migrates
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.kept_types import tight_choices
from monarch_dagster.salesforce.namespaces import count_namespaces
from monarch_dagster.salesforce.object_meta import ObjectMeta, digest, read_object_meta
from monarch_dagster.salesforce.renamed import declared
from monarch_dagster.schema.desired import Sources


@dataclass(frozen=True)
class Status:
    """Where everything stands.

    `drift.foreign` lists relations in managed schemas that no revision made, `carried` what revisions made and no model
    can declare, `undeclared` what revisions written by hand do and the sources should say; none is an error. `sizes`
    has the tables of the target that the hazards of `pending` name. `problems` says, with remedies, where version,
    ledger and files disagree, and what kept sources, revisions and target from being compared; the rest is told all the
    same. `moving` says what a rebase has the next run do, `running` who migrates the target now, `conversions` what
    those of `pending` would do to values, `registry` how far the registry of objects and fields is from the file, `git`
    where the files stand there.
    """

    database_revision: str | None
    heads: tuple[str, ...]
    pending: tuple[Revision, ...]
    sources_covered: bool
    drift: Drift
    carried: tuple[str, ...]
    sizes: Sizes
    meta: ObjectMeta
    meta_path: str
    meta_digest: str
    problems: tuple[str, ...]
    moving: str = ""
    undeclared: tuple[str, ...] = ()
    running: str = ""
    conversions: tuple[Preview, ...] = ()
    registry: str = ""
    git: GitState = field(default_factory=GitState)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `monarch status --json` (DESIGN section 5)."""
        return {
            "database_revision": self.database_revision,
            "head_revision": self.heads[0] if len(self.heads) == 1 else None,
            "heads": list(self.heads),
            "pending": [
                {
                    "revision": item.revision,
                    "down_revision": item.down_revision,
                    "path": str(item.path),
                    "hazards": [
                        {"kind": hazard.kind, "object": hazard.object, "detail": hazard.detail}
                        for hazard in (*item.hazards, *live_hazards(tables))
                    ],
                    "tables": [asdict(size) for size in tables.values()],
                    "conversions": [
                        preview.to_json() for preview in self.conversions if preview.revision == item.revision
                    ],
                }
                for item in self.pending
                for tables in [sizes_for(item, self.sizes)]
            ],
            "sources_covered": self.sources_covered,
            "missing": [{"object": name, "field": field} for name, field in declared(self.meta).missing()],
            "tight_choices": [asdict(item) for item in tight_choices(self.meta)],
            "namespaces": [asdict(item) for item in count_namespaces(self.meta)],
            "drift": [
                {"relation": item.relation, "detail": f"{item.kind}: {item.detail}"} for item in self.drift.findings
            ],
            "not_compared": self.drift.not_compared,
            "foreign": list(self.drift.foreign),
            "carried": list(self.carried),
            "problems": list(self.problems),
            "moving": self.moving,
            "undeclared": list(self.undeclared),
            "running": self.running,
            "registry": self.registry,
            "git": self.git.to_json(),
            "object_meta": {
                "path": self.meta_path,
                "sha256": self.meta_digest,
                "objects": len(self.meta.objects),
                "fields": self.meta.field_count,
            },
        }


@uncollected()
def read_status(sources: Sources, shadows: Callable[[], ShadowServer], target: URL) -> Status:
    """Read the status; `shadows` returns the server for shadow databases, started where it has to be.

    Raises `MonarchError` when the target cannot be read.
    """
    chain = read_chain(sources.schema_dir)
    standing, immovable = look_beside(chain, shadows, target)
    problems = [str(error) for error in chain.problems()] + [str(fault.error()) for fault in standing.faults]
    if immovable is not None:
        problems.append(str(immovable))
    if not problems and (error := chain.no_folder()):
        problems.append(str(error))
    meta: ObjectMeta | None = None
    compared = _Compared()
    with _noting(problems):
        meta = read_object_meta(sources.object_meta_path)
    if not chain.problems():
        compared = _compare(chain, sources, shadows, standing, target, problems)
    if compared.drift and (ahead := compared.drift.set_up_already(standing.target.version)):
        problems.append(str(ahead))
    pending = standing.pending(chain)
    return Status(
        database_revision=standing.target.said,
        heads=chain.heads,
        pending=pending,
        sources_covered=compared.coverage.covered,
        drift=compared.drift or find_drift(target),
        carried=compared.coverage.carried,
        undeclared=compared.coverage.undeclared,
        sizes=read_sizes(target, pending),
        meta=meta or ObjectMeta(),
        meta_path=str(sources.object_meta_path),
        meta_digest=digest(sources.object_meta_path),
        problems=tuple(problems),
        running=who_migrates(target),
        conversions=preview_conversions(target, pending),
        git=read_git(sources, chain),
        moving="" if immovable else _moving(standing),
        registry=behind(sources, target, meta),
    )


@dataclass
class _Compared:
    """What shadows told: each as far as it came."""

    coverage: Coverage = field(default_factory=Coverage)
    drift: Drift | None = None


def _compare(
    chain: Chain,
    sources: Sources,
    shadows: Callable[[], ShadowServer],
    standing: Standing,
    target: URL,
    problems: list[str],
) -> _Compared:
    """Ask the shadow what sources and chain come to, the latter at the target's; what fails is added to `problems`."""
    found = _Compared()
    with _noting(problems):
        server = shadows()
        with _noting(problems):
            found.coverage = coverage(sources, server)
        found.drift = drift_beside(chain, standing, server, target)
    return found


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except MonarchError as error:
        if str(error) not in problems:  # both comparisons stumble over the same revision
            problems.append(str(error))


def _moving(standing: Standing) -> str:
    if standing.move is None:
        return ""
    own = ", ".join(entry.revision for entry in standing.move.own)
    missing = ", ".join(item.revision for item in standing.move.missing)
    first = f"applies {missing}, then " if missing else ""
    return f"{own}: rebased since; `monarch run-migrations` {first}moves version and ledger to the chain's revisions."
