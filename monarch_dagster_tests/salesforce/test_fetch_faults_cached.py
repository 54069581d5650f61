"""Faults in a fetch that asks for changes only, and a cache that is torn or wrong: the right file, or the old one."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.salesforce.sample_org.faults import Fault
from monarch_dagster_tests.salesforce.faulty import OBJECTS, Faulty, faulty

COMPOSITE = "/composite"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty(tmp_path_factory.mktemp("faulty")) as started:
        yield started


@pytest.fixture
def made(served: Faulty, path: Path) -> Iterator[Faulty]:
    """The org, with the file of an earlier fetch at `path` and the cache that it left."""
    served.restore(path, path.parents[1] / "home")
    yield served
    served.heal()


def cache_file(made: Faulty) -> Path:
    assert made.home is not None
    (file,) = (made.home / "describes").iterdir()
    return file


def test_the_second_fetch_has_only_what_changed_sent_and_gives_the_file_of_a_whole_one(
    made: Faulty, path: Path
) -> None:
    result = made.survives(path)
    assert 5 < result.unchanged < len(OBJECTS) - 5
    assert made.survives(path).unchanged >= result.unchanged


@pytest.mark.parametrize(
    "fault",
    [
        *(
            Fault(kind=kind, path=COMPOSITE, after=1)
            for kind in ("session_expired", "server_error", "unavailable", "html", "truncated", "dropped", "cut_off")
        ),
        *(Fault(kind="subrequest_error", object=name) for name in OBJECTS[:4]),
        Fault(kind="latency", seconds=0.05, path=COMPOSITE, times=None),
    ],
    ids=lambda fault: f"{fault.kind} {fault.object}",
)
def test_a_passing_fault_in_the_second_fetch_is_survived(made: Faulty, path: Path, fault: Fault) -> None:
    assert made.survives(path, fault).unchanged > 5


@pytest.mark.parametrize("kind", ["limit_exceeded", "unauthorized", "server_error", "truncated", "dropped", "html"])
def test_a_lasting_fault_in_the_second_fetch_leaves_file_and_cache_for_the_third(
    made: Faulty, path: Path, kind: Any
) -> None:
    before = cache_file(made).read_bytes()
    made.refuses(path, Fault(kind=kind, path=COMPOSITE, after=1, times=None))
    assert cache_file(made).read_bytes() == before
    made.org.faults.clear()
    made.survives(path)


def _with_entries(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """Return a change of the file's entries, its checksum left as it was."""

    def changed(content: bytes) -> bytes:
        read = json.loads(content)
        change(read["entries"])
        return json.dumps(read).encode()

    return changed


def _swap(entries: dict[str, Any]) -> None:
    names = list(entries)
    values = list(entries.values())
    entries.update(zip(names, values[1:] + values[:1], strict=True))


def _date_ahead(entries: dict[str, Any]) -> None:
    for name, (_, digest) in entries.items():
        entries[name] = ["Fri, 01 Jan 2100 00:00:00 GMT", digest]


WRONG: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "torn": lambda content: content[: len(content) // 2],
    "binary": lambda _: b"\x00\xff" * 99,
    "deep": lambda _: b"[" * 100_000,
    "a list": lambda _: b"[]",
    "nothing known": lambda _: b"{}",
    "numbers": _with_entries(lambda entries: entries.update(dict.fromkeys(entries, 7))),
    "too long": _with_entries(lambda entries: entries.update({name: ["a", "b", "c"] for name in entries})),
    "no dates": _with_entries(lambda entries: entries.update({name: ["yesterday", "x"] for name in entries})),
    "each other's": _with_entries(_swap),
    "dates ahead": _with_entries(_date_ahead),
}


@pytest.mark.parametrize("how", WRONG)
def test_a_wrong_cache_costs_time_only(made: Faulty, path: Path, how: str) -> None:
    file = cache_file(made)
    file.write_bytes(WRONG[how](file.read_bytes()))
    made.survives(path)
    assert made.survives(path).unchanged > 5  # it was made anew


def test_a_cache_that_cannot_be_read_or_written_costs_time_only(made: Faulty, path: Path) -> None:
    file = cache_file(made)
    file.unlink()
    file.mkdir()
    made.survives(path)


@pytest.mark.soak
def test_no_flipped_byte_of_the_cache_gives_a_wrong_file(made: Faulty, path: Path) -> None:
    draw = random.Random(5)
    for _ in range(150):
        made.restore(path, path.parents[1] / "home")
        file = cache_file(made)
        content = bytearray(file.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        file.write_bytes(content)
        made.survives(path)
