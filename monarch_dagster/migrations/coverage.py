"""The sources beside the chain: whether they can be trusted, and whether the revisions come to what they declare.

What is proposed where they do not belongs in `generate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations.chain import load_chain
from monarch_dagster.migrations.replay import chain_clone, chain_facts, desired_facts
from monarch_dagster.migrations.undeclared import undeclared
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.object_meta import read_object_meta
from monarch_dagster.schema.desired import Desired, Sources, build_desired
from monarch_dagster.schema.facts import Facts, carry


@dataclass(frozen=True)
class Coverage:
    """Whether the chain comes to the desired schema, so that generating would propose nothing, and what it carries.

    `undeclared` tells where the revisions are ahead of the sources, and not the other way round.
    """

    covered: bool = False
    carried: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()


def coverage(sources: Sources, shadows: ShadowServer) -> Coverage:
    """Compare the chain with the sources.

    Raises `MonarchError` as `propose` does.
    """
    chain = load_chain(sources.schema_dir)
    with chain_clone(shadows, chain, chain.head) as url:
        before = chain_facts(url)
        declared = desired_facts(shadows, chain, checked_sources(sources, before))
    wanted = carry(before, declared)
    return Coverage(wanted == before, before.carried(), undeclared(chain, wanted, before))


def checked_sources(sources: Sources, chain: Facts) -> Desired:
    """Build the desired schema; a source that is not there is not an empty source (DESIGN rule 1).

    `chain` are the facts of the chain. Raises `MonarchError` for a source that is missing or cannot be read.
    """
    held = sorted(name for name in chain.tables() if name.startswith(f"{sources.provider_schema}."))
    if held and not sources.object_meta_path.exists():
        raise _missing_objects(f"There is no {sources.object_meta_path}", held)
    desired = build_desired(sources)
    if held and all(table.schema != sources.provider_schema for table in desired.metadata.tables.values()):
        meta = read_object_meta(sources.object_meta_path)
        if meta is None or "objects" not in meta.model_fields_set:
            raise _missing_objects(f"{sources.object_meta_path} has no key objects", held)
    return desired


def _missing_objects(found: str, held: Sequence[str]) -> MonarchError:
    return MonarchError(
        f"{found}, but the chain holds {counted(len(held), 'table')} of the provider "
        f"({', '.join(held[:3])}{', …' if len(held) > 3 else ''}).",
        remedy="Bring it back with git, or run `monarch fetch`. A file that is missing never drops a table.",
    )
