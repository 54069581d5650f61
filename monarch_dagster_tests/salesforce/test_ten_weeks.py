"""Ten weeks of a real org, day by day: fetched over HTTP, generated, proved and applied to a target with rows."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from monarch_dagster.migrations.status import read_status
from monarch_dagster.salesforce.changes import KINDS, counts
from monarch_dagster.salesforce.fetch import FetchResult, fetch_from
from monarch_dagster.salesforce.sample_org.running import running
from monarch_dagster_tests.salesforce.history import History
from monarch_dagster_tests.support import Project

# Objects of some days in which fields are added, change and only their picklists change.
SAMPLE = ("Account", "RecordType", "User", "Task", "Lead", "Name")
COLUMNS = ("day", "objects", *KINDS, "picklists", "revisions", "fetch s", "generate s", "apply s")


@dataclass
class Day:
    """What a day came to."""

    date: str
    objects: int
    result: FetchResult
    revisions: int
    seconds: tuple[float, float, float]

    @property
    def row(self) -> str:
        """The day as a row of a table."""
        found = counts(self.result.merge.changes)
        numbers = (*(found.get(kind, 0) for kind in KINDS), self.result.unaffected, self.revisions)
        cells = [self.date, str(self.objects), *(str(number or "·") for number in numbers)]
        return f"| {' | '.join([*cells, *(f'{spent:.1f}' for spent in self.seconds)])} |"


def columns(project: Project) -> set[tuple[str, str]]:
    rows = project.execute(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'salesforce'"
    )
    return {(str(table), str(column)) for table, column in rows}


def rows(project: Project) -> dict[str, int]:
    """Return how many rows each table of the provider has."""
    tables = sorted({table for table, _ in columns(project)})
    counted = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM salesforce.\"{name}\"" for name in tables)
    return {str(name): int(count) for name, count in project.execute(counted)}


def live(date: str, objects: int, project: Project, fetch: dict[str, str]) -> Day:
    """Do what a day brings: fetch, generate, apply."""
    times = [time.monotonic()]
    result = fetch_from(fetch, project.sources.object_meta_path, home=project.root / ".monarch")
    times.append(time.monotonic())
    proposal = project.generate()
    times.append(time.monotonic())
    if proposal.revisions:
        project.apply()
    times.append(time.monotonic())
    spent = times[1] - times[0], times[2] - times[1], times[3] - times[2]
    return Day(date, objects, result, len(proposal.revisions), spent)


@pytest.mark.parametrize("only", [SAMPLE, pytest.param((), marks=pytest.mark.soak)], ids=["sample", "whole"])
def test_every_day_of_ten_weeks_ends_and_no_column_is_dropped(
    only: tuple[str, ...], real_describes: Path, project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder := tmp_path / "history").mkdir()
    history = History(real_describes, folder, only)
    with running(history.served, home=tmp_path / "home") as org:
        days = [live("day one", len(list(history.served.iterdir())), project, org.environment)]
        for table in {table for table, _ in columns(project)}:
            project.execute(f"INSERT INTO salesforce.\"{table}\" (id) VALUES ('a'), ('b')")
        known = columns(project)
        for date in history:
            day = live(date, len(history.days[date]), project, org.environment)
            days.append(day)
            if not counts(day.result.merge.changes).keys() - {"label", "attributes"}:
                assert day.revisions == 0, date
            assert day.result.written == bool(day.result.merge.changes)
            assert known <= (known := columns(project)), date
    if not only:
        with capsys.disabled():
            sys.stdout.write("\n".join(["", f"| {' | '.join(COLUMNS)} |", *(day.row for day in days), ""]))
    assert set(rows(project).values()) <= {0, 2}
    found = read_status(project.sources, lambda: project.shadows, project.target)
    assert (found.sources_covered, found.pending, found.drift.findings, found.problems) == (True, (), (), ())
