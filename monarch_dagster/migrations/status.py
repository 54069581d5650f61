"""Status: where target, chain and sources stand, read without changing anything and without Dagster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import URL

from monarch_dagster.migrations import runner
from monarch_dagster.migrations.apply import database_revision
from monarch_dagster.migrations.chain import Chain, Revision, load_chain
from monarch_dagster.migrations.generate import sources_covered
from monarch_dagster.migrations.replay import chain_clone, chain_facts
from monarch_dagster.postgres.engines import reading, server_major
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.object_meta import ObjectMeta, digest, read_object_meta
from monarch_dagster.schema.desired import Sources
from monarch_dagster.schema.facts import differences, read_facts


@dataclass(frozen=True)
class Finding:
    """One relation of the target that is not as it should be, or is nobody's."""

    relation: str
    detail: str


@dataclass(frozen=True)
class Status:
    """Where everything stands. `foreign` lists relations in managed schemas that no revision made; never an error."""

    database_revision: str | None
    heads: tuple[str, ...]
    pending: tuple[Revision, ...]
    sources_covered: bool
    drift: tuple[Finding, ...]
    foreign: tuple[str, ...]
    meta: ObjectMeta
    meta_path: str
    meta_digest: str

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
                        for hazard in item.hazards
                    ],
                }
                for item in self.pending
            ],
            "sources_covered": self.sources_covered,
            "missing": [{"object": name, "field": field} for name, field in self.meta.missing()],
            "drift": [{"relation": item.relation, "detail": item.detail} for item in self.drift],
            "foreign": list(self.foreign),
            "object_meta": {
                "path": self.meta_path,
                "sha256": self.meta_digest,
                "objects": len(self.meta.objects),
                "fields": self.meta.field_count,
            },
        }


def read_status(sources: Sources, shadows: ShadowServer, target: URL) -> Status:
    """Read the status. Raises `MonarchError` when a source, the chain or a database cannot be read."""
    chain = load_chain(sources.schema_dir)
    meta = read_object_meta(sources.object_meta_path) or ObjectMeta()
    linear = len(chain.heads) < 2
    revision = database_revision(chain, target) if linear else next(iter(runner.read_versions(target)), None)
    drift, foreign = find_drift(chain, revision, shadows, target) if linear else ((), ())
    return Status(
        database_revision=revision,
        heads=chain.heads,
        pending=chain.after(revision) if linear else (),
        sources_covered=linear and sources_covered(sources, shadows),
        drift=drift,
        foreign=foreign,
        meta=meta,
        meta_path=str(sources.object_meta_path),
        meta_digest=digest(sources.object_meta_path),
    )


def find_drift(
    chain: Chain, revision: str | None, shadows: ShadowServer, target: URL
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """Compare the target with what the chain comes to at `revision`; return drift and foreign relations.

    Servers of two major versions print facts differently, so there the comparison is reported as not made (rule 3).
    """
    if revision is None:
        return (), ()
    with reading(target) as connection:
        major = server_major(connection)
        if major != shadows.major:
            detail = (
                f"not compared: the target is PostgreSQL {major}, the shadow {shadows.major}; set MONARCH_SHADOW_URL "
                f"to a server of version {major}"
            )
            return (Finding("the target", detail),), ()
        with chain_clone(shadows, chain, revision) as url:
            expected = chain_facts(url)
        found = read_facts(connection, sorted(expected.schemas()))
    foreign = tuple(sorted(found.relations.keys() - expected.relations.keys()))
    left = differences(expected, found.only(expected.relations))
    return tuple(Finding(item.relation, str(item).partition(": ")[2]) for item in left), foreign
