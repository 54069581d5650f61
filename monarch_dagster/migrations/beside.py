"""A target beside a shadow: what its revisions come to there, and what the pending ones will.

Both `status` and `checks` look through here. What is compared is `drift`'s.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import URL

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.chain import Chain
from monarch_dagster.migrations.drift import Drift, find_ahead, find_drift
from monarch_dagster.migrations.moving import rehearse
from monarch_dagster.migrations.replay import chain_clone, chain_facts, made_of
from monarch_dagster.migrations.standing import Standing, look
from monarch_dagster.migrations.twins import recognised
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.schema.facts import Facts


def look_beside(chain: Chain, shadows: Callable[[], ShadowServer], url: URL) -> tuple[Standing, MonarchError | None]:
    """Return where a target stands, and why it cannot be moved as a rebase asks for; None where it can.

    Raises `MonarchError` when the target cannot be read.
    """
    chain, standing = recognised(chain, look(chain, url), shadows, url)
    if standing.move is None or standing.blocked_by:
        return standing, None
    try:
        rehearse(chain, standing.move, standing, shadows(), url)
    except MonarchError as error:
        return standing, error
    return standing, None


def files_to_mend(chain: Chain, url: URL) -> str:
    """Return what is wrong with the files of revisions that a target has applied; "" also where it cannot be asked."""
    with suppress(MonarchError):
        fault = look(chain, url.update_query_dict({"connect_timeout": "2"}, append=False)).of_files
        return str(fault.error()) if fault else ""
    return ""


def drift_beside(chain: Chain, standing: Standing, shadows: ShadowServer, url: URL) -> Drift:
    """Return how a target drifted, also from what its revisions make on a shadow, and what it has ahead of them.

    Raises `MonarchError` where the chain cannot be replayed, or the target not be read.
    """
    if standing.blocked_by or standing.move or chain.problems():
        return find_drift(url)
    version = standing.target.version
    at = Facts({}) if version is None else _facts_at(chain, version, shadows)
    found = find_drift(url, None if version is None else at, shadows.major)
    if not standing.pending(chain):
        return found
    same = standing.target.major == shadows.major
    return replace(found, ahead=find_ahead(url, at, _facts_at(chain, chain.head, shadows), comparable=same))


def _facts_at(chain: Chain, revision: str | None, shadows: ShadowServer) -> Facts:
    with chain_clone(shadows, chain, revision) as clone:
        return made_of(shadows, chain, chain_facts(clone))
