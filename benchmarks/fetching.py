"""A fetch of a large org at a network's latency, beside one describe after the other: seconds, calls, peak memory.

The org is the sample org in a process of its own, with describes that have every key that Salesforce sends, and each
request to its API held back. Each fetch is a process too, so that its peak memory is its own. Run by `make bench`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from simple_salesforce.api import Salesforce

from benchmarks.synthetic import synthetic_org
from monarch_dagster.salesforce.budget import Budget
from monarch_dagster.salesforce.describes import project
from monarch_dagster.salesforce.fetch import fetch_from
from monarch_dagster.salesforce.object_meta import Field
from monarch_dagster.salesforce.sample_org.describe import Describe, sobject
from monarch_dagster.salesforce.sample_org.faults import Fault
from monarch_dagster.salesforce.sample_org.fields import field, picklist_values
from monarch_dagster.salesforce.sample_org.running import running
from monarch_dagster.salesforce.transport import Patience, open_session


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="benchmarks.fetching", description=__doc__)
    parser.add_argument("--objects", type=int, default=1500)
    parser.add_argument("--fields", type=int, default=60)
    parser.add_argument("--latency", type=float, default=0.15, help="seconds that each request takes at least")
    parser.add_argument("--one-by-one", type=int, default=100, help="objects of the slow way; the rest is extrapolated")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fetch", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        _serve(arguments.serve, arguments.latency)
    elif arguments.fetch:
        print(json.dumps(_fetch(arguments.fetch, json.load(sys.stdin))))  # noqa: T201 - read by the process that began this one
    else:
        _measure(arguments)


def describes(objects: int, fields: int) -> Iterator[Describe]:
    """Give the describes of an org of that size, with all their keys and some picklists."""
    for name, item in synthetic_org(objects, fields).objects.items():
        made = [_described(part) for part in item.fields]
        yield sobject(name, name, name, prefix=None, fields=made)


def _described(part: Field) -> dict[str, Any]:
    keys = part.model_dump(exclude_defaults=True, exclude={"name", "type"})
    if part.type == "picklist":
        keys["picklistValues"] = picklist_values(f"Value {number}" for number in range(20))
    return field(part.name, part.name, part.type, **keys)


def _measure(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory(prefix="monarch-bench-") as folder:
        root = Path(folder)
        (root / "describes").mkdir()
        size = 0
        for item in describes(arguments.objects, arguments.fields):
            size += (root / "describes" / f"{item['name']}.json").write_text(json.dumps(item))
        with _served(root, arguments.latency) as environment:
            sampled = min(arguments.one_by_one, arguments.objects)
            seconds = _one_by_one(environment, sampled) * arguments.objects / sampled
            first, second = (_in_a_process(root, environment) for _ in range(2))
    title = (
        f"{arguments.objects} objects of {arguments.fields} fields, {size / 1e6:.0f} MB, latency {arguments.latency} s"
    )
    table = Table("", "seconds", "share", "CPU seconds", "calls", "unchanged", "peak memory", title=title)
    note = "" if sampled == arguments.objects else f" (from {sampled})"
    table.add_row(f"one by one{note}", f"{seconds:.1f}", "100 %", "", f"{arguments.objects}", "", "")
    for name, found in (("fetch", first), ("fetch again, unchanged", second)):
        table.add_row(
            name,
            f"{found['seconds']:.1f}",
            f"{found['seconds'] / seconds:.1%}",
            f"{found['cpu']:.1f}",
            str(found["calls"]),
            str(found["unchanged"]),
            f"{found['peak_mb']:.0f} MB",
        )
    Console().print(table)


@contextmanager
def _served(root: Path, latency: float) -> Iterator[Mapping[str, str]]:
    """Serve the describes below `root` in another process; give the variables of a login."""
    command = [sys.executable, "-m", "benchmarks.fetching", "--serve", str(root), "--latency", str(latency)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin and server.stdout
        yield json.loads(server.stdout.readline())
        server.stdin.close()


def _serve(root: Path, latency: float) -> None:
    with running(root / "describes", home=root / "home") as org:
        time.sleep(1)  # until each describe's date is a second old: dates of this very second are not relied on
        org.faults.add(Fault(kind="latency", seconds=latency, times=None))
        print(json.dumps(org.environment), flush=True)  # noqa: T201 - read by the process that began this one
        sys.stdin.read()


def _one_by_one(environment: Mapping[str, str], objects: int) -> float:
    """Describe so many objects with plain simple-salesforce, on a connection that is kept; return the seconds."""
    session = open_session(environment["SALESFORCE_BASE_URL"], Patience(), Budget(), threading.Event())
    names = ("DOMAIN", "CONSUMER_KEY", "CONSUMER_SECRET")
    login = {name.lower(): environment[f"SALESFORCE_{name}"] for name in names}
    org: Any = Salesforce(session=session, version="64.0", **login)
    started = time.perf_counter()
    for name in synthetic_org(objects, 1).objects:
        assert project(getattr(org, name).describe(), name)
    return time.perf_counter() - started


def _in_a_process(root: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.fetching", "--fetch", str(root)]
    done = subprocess.run(command, input=json.dumps(environment), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _fetch(root: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    started = time.perf_counter()
    result = fetch_from(environment, root / "schema" / "object_meta.json", home=root / "home")
    return {
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time(),
        "calls": result.calls,
        "unchanged": result.unchanged,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # kilobytes on Linux
    }


if __name__ == "__main__":
    main()
