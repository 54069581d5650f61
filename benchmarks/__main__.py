"""Monarch beside plain Alembic on the same work, in one process and alternating: medians and their ratios.

Alembic is its own commands in their best configuration: one schema, one connection, one script folder; it proves
nothing. Monarch's figures include the proof (up, down, up on a clone), hazards and ledger. Its shadow is where
the embedded one is, in memory where there is room; the target of both is on disk. Run by `make bench`.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import URL, MetaData, event, exc
from sqlalchemy.engine import Engine

from benchmarks.plain import PlainAlembic
from benchmarks.processes import embedded_servers, ending, output_of
from benchmarks.synthetic import synthetic_org, with_field_added, with_object_added
from monarch_dagster.memo import Memo
from monarch_dagster.migrations.apply import apply_revisions
from monarch_dagster.migrations.chain import load_chain
from monarch_dagster.migrations.checks import CHECKS, run_check
from monarch_dagster.migrations.generate import propose
from monarch_dagster.migrations.proofs import Proofs, Prover
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.status import read_status
from monarch_dagster.migrations.transcript import batches, joined
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect, first_line, run_script
from monarch_dagster.postgres.shadow import TEMPLATE_PREFIX, ShadowServer
from monarch_dagster.salesforce.object_meta import ObjectMeta, write_object_meta
from monarch_dagster.schema.desired import Desired, Sources, ddl
from monarch_dagster.schema.facts import read_facts
from monarch_dagster.schema.provider import add_provider_tables

SCHEMA = "salesforce"
# A core model that is as small as can be: the org is what is measured.
MODELS = (
    "from sqlalchemy import Column, Integer, MetaData, Table\n"
    "metadata = MetaData()\nTable('note', metadata, Column('id', Integer, primary_key=True), schema='landing')\n"
)
FLOORS = ("floor: facts from the catalog", "floor: the DDL in batches", "floor: clone of a template")
# What Alembic has nothing to set against, and what it is set against instead.
AGAINST = {"no change, memos deleted": "no change", "no change, shadows deleted too": "no change"}


@dataclass
class Results:
    """What was measured, by the name of the work: seconds a time, and statements sent."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    statements: dict[str, int] = field(default_factory=dict)
    failed: str = ""

    def time(self, name: str, action: Callable[[], object]) -> None:
        """Run `action` and note how long it took."""
        with _sending() as sent:
            started = time.perf_counter()
            action()
            self.seconds[name].append(time.perf_counter() - started)
        self.statements[name] = sent[0]

    def median(self, name: str) -> float | None:
        """Return the median of the times, None where there is none."""
        return statistics.median(self.seconds[name]) if name in self.seconds else None


@dataclass
class Servers:
    """The servers that both use: targets on disk, shadows as the embedded ones are."""

    targets: EmbeddedCluster
    shadows: ShadowServer


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--objects", type=int, default=300)
    parser.add_argument("--fields", type=int, default=30)
    parser.add_argument("--changed", type=int, default=100, help="objects that get a field at once")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--folder", type=Path, help="where to work, and leave what was made; else a temporary folder")
    parser.add_argument("--only", choices=list(ROUNDS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    logging.getLogger("alembic").setLevel(logging.WARNING)
    org = synthetic_org(arguments.objects, arguments.fields)
    results = {name: Results() for name in ROUNDS}
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="monarch-bench-")))
        folder.mkdir(exist_ok=True)
        if arguments.only:
            _measure(folder, [arguments.only], org, arguments, results)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)  # noqa: T201 - read by who began this
            return
        # Before this process grows: a process begins with the peak of the one that began it. What these leave stays to
        # the end: some file systems are slow to create files for minutes after many were deleted.
        memory = {name: _peak(name, folder / f"peak_{name}", arguments) for name in ROUNDS}
        _measure(folder, list(ROUNDS), org, arguments, results)
    if arguments.json:
        found = {name: {"seconds": item.seconds, "statements": item.statements} for name, item in results.items()}
        print(json.dumps({"megabytes": memory, **found}))  # noqa: T201 - the result
    else:
        _print(arguments, results["monarch"], results["alembic"], memory)


def _measure(
    folder: Path, names: Sequence[str], org: ObjectMeta, arguments: argparse.Namespace, results: dict[str, Results]
) -> None:
    with _servers(folder) as servers:
        for number in range(arguments.repeat):
            for name in names:
                ROUNDS[name](folder / f"{name}_{number}", org, arguments.changed, servers, results[name])
            if len(names) > 1:
                _measure_floors(f"floor_{number}", org, servers, results["monarch"])


@contextmanager
def _servers(folder: Path) -> Iterator[Servers]:
    with embedded_servers(folder) as (targets, shadows):
        yield Servers(targets, ShadowServer(shadows.url("postgres"), owned=True))


def run_monarch(root: Path, org: ObjectMeta, changed: int, servers: Servers, results: Results) -> None:
    """Do all the work once with Monarch, in a folder and a database of its own; note what it takes in `results`."""
    root.mkdir()
    (root / "client_models.py").write_text(MODELS)
    memo, target = Memo(root / "memo"), servers.targets.url(root.name)
    _forget(memo, servers.shadows)
    shadows = ShadowServer(servers.shadows.url, owned=True, memo=memo)
    sources = Sources(root, root / "schema", "client_models", SCHEMA, memo=memo)
    prover = Prover(sources, lambda: shadows, Proofs(root / "proofs"))

    def generate(name: str, meta: ObjectMeta) -> None:
        write_object_meta(sources.object_meta_path, meta)
        results.time(name, lambda: propose(sources, shadows, prover.proofs))

    def apply(name: str) -> None:
        results.time(name, lambda: apply_revisions(load_chain(sources.schema_dir), target, prover))

    def check() -> None:
        situation = Situation(prover, target)
        for item in CHECKS.values():
            run_check(item, situation)

    generate("first generate", org)
    apply("first apply")
    generate("no change", org)
    results.time("status", lambda: read_status(sources, lambda: shadows, target))
    results.time("checks", check)
    _forget(memo)
    generate("no change, memos deleted", org)
    _forget(memo, shadows)
    generate("no change, shadows deleted too", org)
    generate("one field added", with_field_added(org))
    apply("one field applied")
    generate("one object added", with_object_added(with_field_added(org)))
    apply("one object applied")
    generate(f"{changed} objects changed", with_field_added(with_object_added(org), changed))
    apply(f"{changed} objects applied")


def run_alembic(root: Path, org: ObjectMeta, changed: int, servers: Servers, results: Results) -> None:
    """Do the same once with plain Alembic, as far as it comes."""
    with connect(servers.targets.url(root.name)) as connection, _failing(results):
        plain = PlainAlembic(root, connection, SCHEMA)

        def generate(name: str, meta: ObjectMeta) -> None:
            results.time(name, lambda: plain.generate(meta))

        generate("first generate", org)
        results.time("first apply", plain.apply)
        results.time("no change", lambda: plain.check(org))
        generate("one field added", with_field_added(org))
        results.time("one field applied", plain.apply)
        generate("one object added", with_object_added(with_field_added(org)))
        results.time("one object applied", plain.apply)
        generate(f"{changed} objects changed", with_field_added(with_object_added(org), changed))
        results.time(f"{changed} objects applied", plain.apply)


ROUNDS = {"monarch": run_monarch, "alembic": run_alembic}


def _measure_floors(name: str, org: ObjectMeta, servers: Servers, results: Results) -> None:
    """Measure what nobody can go below: the catalog's answer, the statements themselves, a copy of the files."""
    metadata = MetaData()
    add_provider_tables(metadata, org, SCHEMA)
    scripts = [joined(batch) for batch in batches(ddl(Desired(metadata, (SCHEMA,))), together=True)]
    facts, ddl_floor, clone = FLOORS
    target = servers.targets.url(name)
    results.time(ddl_floor, lambda: _run(target, scripts))
    with connect(target) as connection:
        results.time(facts, lambda: read_facts(connection, [SCHEMA]))
    servers.shadows.make_template(name, lambda url: _run(url, scripts))

    def copy() -> None:
        with servers.shadows.clone(name):
            pass

    results.time(clone, copy)


def _run(url: URL, scripts: Sequence[str]) -> None:
    """Run scripts, each in a transaction: in one, thousands of tables take more locks than there are."""
    with connect(url) as connection:
        for script in scripts:
            run_script(connection, script)
            connection.commit()


def _forget(memo: Memo, shadows: ShadowServer | None = None) -> None:
    """Delete what was found out before, and with `shadows` the databases that chains were built into."""
    if memo.folder is not None:
        shutil.rmtree(memo.folder, ignore_errors=True)
    if shadows is None:
        return
    with connect(shadows.url, autocommit=True) as connection:
        query = "SELECT datname FROM pg_database WHERE datname ^@ %s"
        for name in connection.exec_driver_sql(query, (TEMPLATE_PREFIX,)).scalars().all():
            run_script(connection, f'ALTER DATABASE "{name}" WITH is_template false')
            run_script(connection, f'DROP DATABASE "{name}"')


def _peak(name: str, folder: Path, arguments: argparse.Namespace) -> int:
    """Return the peak memory, in megabytes, of a process that does one round, in a folder that stays."""
    sizes = ["--objects", arguments.objects, "--fields", arguments.fields, "--changed", arguments.changed]
    return int(
        output_of("-m", "benchmarks", *map(str, sizes), "--repeat", "1", "--only", name, "--folder", str(folder))
    )


@contextmanager
def _failing(results: Results) -> Iterator[None]:
    """Go on where PostgreSQL refuses the work; what was not measured stays without a figure."""
    try:
        yield
    except exc.DBAPIError as error:
        results.failed = first_line(error)


@contextmanager
def _sending() -> Iterator[list[int]]:
    """Count the statements that this process sends meanwhile."""
    sent = [0]

    def note(*_arguments: object) -> None:
        sent[0] += 1

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def _print(arguments: argparse.Namespace, monarch: Results, alembic: Results, memory: dict[str, int]) -> None:
    title = f"{arguments.objects} objects of {arguments.fields} fields, median of {arguments.repeat}, seconds"
    table = Table("work", "Monarch", "plain Alembic", "ratio", "statements", "Alembic's", title=title)
    for name in monarch.seconds:
        ours, theirs = monarch.median(name) or 0.0, alembic.median(AGAINST.get(name, name))
        ratio = "" if theirs is None else f"{ours / theirs:.3f}"
        counts = monarch.statements[name], alembic.statements.get(AGAINST.get(name, name), "")
        table.add_row(name, f"{ours:.2f}", "" if theirs is None else f"{theirs:.2f}", ratio, *map(str, counts))
    both = [_both(item) for item in (monarch, alembic)]
    shown = ["fails" if seconds is None else f"{seconds:.2f}" for seconds in both]
    table.add_row("first install, both", *shown, "" if None in both else f"{both[0] / both[1]:.3f}")
    table.add_row("peak memory, MB", *map(str, memory.values()), f"{memory['monarch'] / memory['alembic']:.3f}")
    Console().print(table)
    if alembic.failed:
        Console().print(f"Plain Alembic failed: {alembic.failed}")


def _both(results: Results) -> float | None:
    """Return the seconds of a first install, None where it failed."""
    first, second = results.median("first generate"), results.median("first apply")
    return None if first is None or second is None else first + second


if __name__ == "__main__":
    ending(main)
