"""Monarch beside plain Alembic on the same server, in one process and alternating: medians and their ratios.

Monarch's figures include the proof (up, down, up on a clone) and the import of the core models in a fresh process;
Alembic's are its autogenerate in its best configuration (one schema), rendering, and the invocation of its operations.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from alembic.autogenerate import produce_migrations, render_python_code
from alembic.operations import Operations, ops
from alembic.runtime.migration import MigrationContext
from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, Connection, MetaData

from benchmarks.synthetic import synthetic_org, with_field_added
from monarch_dagster.migrations.apply import apply_revisions
from monarch_dagster.migrations.chain import load_chain
from monarch_dagster.migrations.generate import propose
from monarch_dagster.migrations.proofs import Proofs, Prover
from monarch_dagster.postgres.embedded import SHADOW_SETTINGS, EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster.salesforce.object_meta import ObjectMeta, write_object_meta
from monarch_dagster.schema.desired import Sources
from monarch_dagster.schema.provider import add_provider_tables

SCHEMA = "salesforce"
Timings = dict[str, list[float]]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--fields", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    org = synthetic_org(arguments.objects, arguments.fields)
    monarch: Timings = defaultdict(list)
    alembic: Timings = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="monarch-bench-") as folder:
        cluster = EmbeddedCluster(Path(folder) / "pg" / "data", SHADOW_SETTINGS)
        shadows = ShadowServer(cluster.url("postgres"), owned=True)
        try:
            for number in range(arguments.repeat):
                _monarch(Path(folder) / str(number), org, shadows, cluster.url(f"monarch_{number}"), monarch)
                _alembic(org, cluster.url(f"alembic_{number}"), alembic)
        finally:
            cluster.stop()
    _print(arguments, monarch, alembic)


def _monarch(root: Path, org: ObjectMeta, shadows: ShadowServer, target: URL, timings: Timings) -> None:
    root.mkdir()
    # A core model that is as small as can be: the org is what is measured.
    (root / "client_models.py").write_text(
        "from sqlalchemy import Column, Integer, MetaData, Table\n"
        "metadata = MetaData()\nTable('note', metadata, Column('id', Integer, primary_key=True), schema='landing')\n"
    )
    sources = Sources(root, root / "schema", "client_models", SCHEMA)
    prover = Prover(sources, lambda: shadows, Proofs(root / "proofs"))

    def generate() -> None:
        propose(sources, shadows, prover.proofs)

    write_object_meta(sources.object_meta_path, org)
    _time(timings, "first generate", generate)
    _time(timings, "first apply", lambda: apply_revisions(load_chain(sources.schema_dir), target, prover))
    generate()  # the chain's template is made once
    _time(timings, "no change", generate)
    write_object_meta(sources.object_meta_path, with_field_added(org))
    _time(timings, "one field added", generate)


def _alembic(org: ObjectMeta, target: URL, timings: Timings) -> None:
    with connect(target) as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        found: list[ops.UpgradeOps] = []

        def generate(meta: ObjectMeta) -> None:
            found[:] = [_autogenerate(connection, meta)]

        _time(timings, "first generate", lambda: generate(org))
        _time(timings, "first apply", lambda: _invoke(connection, found[0]))
        _time(timings, "no change", lambda: generate(org))
        _time(timings, "one field added", lambda: generate(with_field_added(org)))


def _autogenerate(connection: Connection, meta: ObjectMeta) -> ops.UpgradeOps:
    metadata = MetaData()
    add_provider_tables(metadata, meta, SCHEMA)
    options = {
        "include_schemas": True,
        "include_name": lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
        "target_metadata": metadata,
    }
    context = MigrationContext.configure(connection, opts=options)
    upgrade = produce_migrations(context, metadata).upgrade_ops
    assert upgrade is not None
    render_python_code(upgrade, migration_context=context)
    return upgrade


def _invoke(connection: Connection, upgrade: ops.UpgradeOps) -> None:
    operations = Operations(MigrationContext.configure(connection))
    for item in upgrade.ops:
        operations.invoke(item)
    connection.commit()


def _time(timings: Timings, name: str, action: Callable[[], object]) -> None:
    started = time.perf_counter()
    action()
    timings[name].append(time.perf_counter() - started)


def _print(arguments: argparse.Namespace, monarch: Timings, alembic: Timings) -> None:
    title = f"{arguments.objects} objects of {arguments.fields} fields, median of {arguments.repeat}, seconds"
    table = Table("work", "Monarch", "plain Alembic", "ratio", title=title)
    for name, seconds in monarch.items():
        ours, theirs = statistics.median(seconds), statistics.median(alembic[name])
        table.add_row(name, f"{ours:.2f}", f"{theirs:.2f}", f"{ours / theirs:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
