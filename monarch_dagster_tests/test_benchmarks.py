"""The benchmark runs, and no step of it sends a statement more for more objects: CI sees a change of complexity."""

from __future__ import annotations

from pathlib import Path

from benchmarks.__main__ import Results, Servers, run_alembic, run_monarch
from benchmarks.synthetic import synthetic_org
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer

CHANGED = 2


def measured(folder: Path, objects: int, servers: Servers) -> tuple[Results, Results]:
    monarch, alembic = Results(), Results()
    org = synthetic_org(objects, 4)
    run_monarch(folder / f"monarch_{objects}", org, CHANGED, servers, monarch)
    run_alembic(folder / f"alembic_{objects}", org, CHANGED, servers, alembic)
    return monarch, alembic


def test_a_small_benchmark_sends_as_much_for_few_objects_as_for_many(
    server: EmbeddedCluster, shadows: ShadowServer, tmp_path: Path
) -> None:
    servers = Servers(server, shadows)
    # What the first one finds out, of the server itself and of the core models, the others know.
    measured(tmp_path, 1 + CHANGED, servers)
    (few, plain), (many, _) = measured(tmp_path, 4, servers), measured(tmp_path, 12, servers)
    assert many.statements == few.statements
    assert few.statements["no change"] == 0
    assert not plain.failed
    assert set(plain.seconds) == {name for name in few.seconds if "deleted" not in name} - {"status", "checks"}
