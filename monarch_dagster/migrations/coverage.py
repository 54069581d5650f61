"""The sources beside the chain: whether they can be trusted, and whether the revisions come to what they declare.

What is proposed where they do not belongs in `generate`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from monarch_dagster.errors import MonarchError, counted
from monarch_dagster.migrations.chain import Chain, load_chain
from monarch_dagster.migrations.replay import chain_key, desired_facts, known_tables, replayed
from monarch_dagster.migrations.undeclared import undeclared
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.object_meta import read_object_meta
from monarch_dagster.schema.desired import Desired, Sources, Taken, build_desired
from monarch_dagster.schema.facts import Facts, carry
from monarch_dagster.schema.provider import Known

# Kept where generating found nothing to do: what it warned of, and what is carried.
NOTHING = "nothing"


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
    with replayed(shadows, chain) as before, sources.taking() as taken:
        if (known := Kept(NOTHING, shadows, chain).value(taken)) is not None:
            return Coverage(True, tuple(known[1]))
        kept = Kept("coverage", shadows, chain)
        if (known := kept.value(taken)) is not None:
            return Coverage(known[0], *map(tuple, known[1:]))
        with closing(checked_sources(sources, before.facts, taken, known_tables(shadows, chain))) as desired:
            wanted = carry(before.facts, desired_facts(shadows, chain, desired))
            found = Coverage(wanted == before.facts, before.facts.carried(), undeclared(chain, wanted, before.facts))
            kept.keep([found.covered, found.carried, found.undeclared], desired)
    return found


@dataclass(frozen=True)
class Kept:
    """What was found out about sources and a chain together, kept by the contents of both and the server's version."""

    kind: str
    shadows: ShadowServer
    chain: Chain

    def value(self, taken: Taken) -> Any:
        """Return what was kept, None for nothing; the models are waited for where there is anything for the rest."""
        found = self.shadows.memo.get(self.kind, *self._key(taken))
        return found[1] if found is not None and found[0] == taken.models else None

    def keep(self, value: Any, desired: Desired) -> None:
        """Keep a value that JSON can hold, which was found out of `desired`."""
        if (taken := desired.taken) is not None:
            self.shadows.memo.put(self.kind, *self._key(taken), value=[taken.models, value])

    def _key(self, taken: Taken) -> tuple[str, ...]:
        return taken.object_meta, taken.provider_schema, *chain_key(self.shadows, self.chain)


def checked_sources(
    sources: Sources, chain: Facts, taken: Taken | None = None, known: Mapping[str, Known] | None = None
) -> Desired:
    """Build the desired schema; a source that is not there is not an empty source (DESIGN rule 1).

    `chain` are the facts of the chain, `taken` and `known` are as in `build_desired`. Raises `MonarchError` for what is
    missing or cannot be read.
    """
    held = sorted(name for name in chain.tables() if name.startswith(f"{sources.provider_schema}."))
    if held and not sources.object_meta_path.exists():
        raise _missing_objects(f"There is no {sources.object_meta_path}", held)
    desired = build_desired(sources, taken, known)
    declares = bool(desired.provider.known) or any(
        table.schema == sources.provider_schema for table in desired.metadata.tables.values()
    )
    if held and not declares:
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
