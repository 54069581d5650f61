"""Status: where target, chain and sources stand, read without changing anything and without Dagster."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations import runner
from monarch_dagster.migrations.apply import database_revision
from monarch_dagster.migrations.chain import Chain, Revision, load_chain
from monarch_dagster.migrations.generate import coverage
from monarch_dagster.migrations.replay import chain_clone, chain_facts
from monarch_dagster.migrations.sizes import Sizes, live_hazards, read_sizes, sizes_for
from monarch_dagster.postgres.engines import reading, server_major
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.object_meta import ObjectMeta, digest, read_object_meta
from monarch_dagster.schema.desired import Sources
from monarch_dagster.schema.facts import Facts, differences, read_facts


@dataclass(frozen=True)
class Finding:
    """One relation of the target that is not as it should be, or is nobody's."""

    relation: str
    detail: str


@dataclass(frozen=True)
class Status:
    """Where everything stands.

    `foreign` lists relations in managed schemas that no revision made, `carried` what revisions made and no model can
    declare; neither is an error. `sizes` has the tables of the target that the hazards of `pending` name. `problems`
    says, with remedies, what kept sources, revisions and target from being compared; the rest is told all the same.
    """

    database_revision: str | None
    heads: tuple[str, ...]
    pending: tuple[Revision, ...]
    sources_covered: bool
    drift: tuple[Finding, ...]
    foreign: tuple[str, ...]
    carried: tuple[str, ...]
    sizes: Sizes
    meta: ObjectMeta
    meta_path: str
    meta_digest: str
    problems: tuple[str, ...]

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
                }
                for item in self.pending
                for tables in [sizes_for(item, self.sizes)]
            ],
            "sources_covered": self.sources_covered,
            "missing": [{"object": name, "field": field} for name, field in self.meta.missing()],
            "drift": [{"relation": item.relation, "detail": item.detail} for item in self.drift],
            "foreign": list(self.foreign),
            "carried": list(self.carried),
            "problems": list(self.problems),
            "object_meta": {
                "path": self.meta_path,
                "sha256": self.meta_digest,
                "objects": len(self.meta.objects),
                "fields": self.meta.field_count,
            },
        }


def read_status(sources: Sources, shadows: Callable[[], ShadowServer], target: URL) -> Status:
    """Read the status; `shadows` returns the server for shadow databases, started where it has to be.

    Raises `MonarchError` when `object_meta.json`, the chain's files or the target cannot be read.
    """
    chain = load_chain(sources.schema_dir)
    meta = read_object_meta(sources.object_meta_path) or ObjectMeta()
    linear = len(chain.heads) < 2
    revision = database_revision(chain, target) if linear else next(iter(runner.read_versions(target)), None)
    pending = chain.after(revision) if linear else ()
    problems: list[str] = []
    compared = _compare(chain, sources, shadows, revision, problems) if linear else _Compared()
    drift, foreign = (
        find_drift(compared.expected, compared.major, target) if compared.expected is not None else ((), ())
    )
    return Status(
        database_revision=revision,
        heads=chain.heads,
        pending=pending,
        sources_covered=compared.covered,
        drift=drift,
        foreign=foreign,
        carried=compared.carried,
        sizes=read_sizes(target, pending),
        meta=meta,
        meta_path=str(sources.object_meta_path),
        meta_digest=digest(sources.object_meta_path),
        problems=tuple(problems),
    )


@dataclass
class _Compared:
    """What shadows told: each as far as it came."""

    covered: bool = False
    carried: tuple[str, ...] = ()
    expected: Facts | None = None
    major: int = 0


def _compare(
    chain: Chain, sources: Sources, shadows: Callable[[], ShadowServer], revision: str | None, problems: list[str]
) -> _Compared:
    """Ask the shadow what sources and chain come to, the latter at `revision`; what fails is added to `problems`."""
    found = _Compared()
    with _noting(problems):
        server = shadows()
        found.major = server.major
        with _noting(problems):
            found.covered, found.carried = coverage(sources, server)
        if revision is not None:
            with chain_clone(server, chain, revision) as url:
                found.expected = chain_facts(url)
    return found


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    try:
        yield
    except MonarchError as error:
        if str(error) not in problems:  # both comparisons stumble over the same revision
            problems.append(str(error))


def find_drift(expected: Facts, major: int, target: URL) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Compare the target with the facts of its revision, from a shadow of version `major`; return drift and foreign.

    Servers of two major versions print facts differently, so there the comparison is reported as not made (rule 3).
    """
    with reading(target) as connection:
        if (here := server_major(connection)) != major:
            detail = (
                f"not compared: the target is PostgreSQL {here}, the shadow {major}; set MONARCH_SHADOW_URL to a "
                f"server of version {here}"
            )
            return (Finding("the target", detail),), ()
        found = read_facts(connection, sorted(expected.schemas()))
    foreign = tuple(sorted(found.relations.keys() - expected.relations.keys()))
    left = differences(expected, found.only(expected.relations))
    return tuple(Finding(item.relation, str(item).partition(": ")[2]) for item in left), foreign
