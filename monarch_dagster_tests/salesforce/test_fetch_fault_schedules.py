"""Random faults at random requests of a fetch: the right file, or the untouched old one; never a third thing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from monarch_dagster_tests.salesforce.faulty import Ending, Faulty, faulty, run_schedule


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty(tmp_path_factory.mktemp("faulty")) as served:
        yield served


def run(
    made: Faulty, seeds: range, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> tuple[list[Ending], list[Ending]]:
    """Return the endings with the right file, and those with an error; only the ones in which a fault struck."""
    path = tmp_path / "schema" / "object_meta.json"
    endings = [run_schedule(made, seed, path, caplog) for seed in seeds]
    struck = [ending for ending in endings if ending.struck]
    assert len(struck) > len(endings) * 0.7
    return [ending for ending in struck if not ending.message], [ending for ending in struck if ending.message]


def test_a_few_random_schedules_of_faults_give_the_right_file_or_leave_the_old_one(
    made: Faulty, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right, refused = run(made, range(20), tmp_path, caplog)
    assert right
    assert refused


@pytest.mark.soak
def test_200_random_schedules_of_faults_give_the_right_file_or_leave_the_old_one(
    made: Faulty, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right, refused = run(made, range(1000, 1200), tmp_path, caplog)
    assert len(right) > 50
    assert len(refused) > 50
