"""An org in which anything changes every day: over HTTP, generated, proved and applied to tables with rows."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from monarch_dagster.migrations.status import read_status
from monarch_dagster.postgres.types import change_of
from monarch_dagster.salesforce.fetch import fetch_from
from monarch_dagster.salesforce.guards import Guards
from monarch_dagster.salesforce.sample_org.org import sample_describes
from monarch_dagster.salesforce.sample_org.running import running
from monarch_dagster_tests.support import Project

DAYS = 25
CHANGES = 12
NUMBERS = ("currency", "double", "percent")
TEXTS = ("string", "picklist", "phone", "email", "textarea")
OTHERS = ("boolean", "date", "datetime", "int", "multipicklist", "hologram")
Describe = dict[str, Any]


class WildOrg:
    """Describes in a folder, of which some change every day; what is hidden is shown again some day."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        self.hidden: dict[str, Describe] = {}
        self.fields: dict[str, list[Describe]] = {}
        folder.mkdir()
        for name, described in sample_describes().items():
            self._write(name, described)

    def change(self) -> None:
        """Change something at random."""
        kind = self.draw.choice(["hide", "show", "add", "label", *["retype"] * 4, "object", "objects back"])
        name = self.draw.choice(sorted(path.stem for path in self.folder.iterdir()))
        described = json.loads((self.folder / f"{name}.json").read_text())
        fields = [field for field in described["fields"] if field["name"] != "Id"]
        field = self.draw.choice(fields) if fields else None
        if kind == "objects back" and self.hidden:
            back = self.draw.choice(sorted(self.hidden))
            self._write(back, self.hidden.pop(back))
            return
        if kind == "object":
            self.hidden[name] = described
            (self.folder / f"{name}.json").unlink()
            return
        if kind == "hide" and field:
            described["fields"].remove(field)
            self.fields.setdefault(name, []).append(field)
        elif kind == "show" and self.fields.get(name):
            described["fields"].append(self.fields[name].pop())
        elif kind == "add":
            number = self.draw.randrange(10**9)
            described["fields"].append({"name": f"New_{number}__c", "label": "New", **self._type()})
        elif kind == "label" and field:
            field["label"] = f"Label {self.draw.random()}"
        elif kind == "retype" and field:
            field.update(self._type())
        self._write(name, described)

    def _type(self) -> Describe:
        kind = self.draw.choice([*NUMBERS, *TEXTS, *OTHERS])
        precision = self.draw.choice([9, 16, 18]) if kind in NUMBERS else 0
        return {
            "type": kind,
            "length": self.draw.choice([0, 18, 40, 80, 255, 4000]) if kind in TEXTS else 0,
            "precision": precision,
            "scale": self.draw.choice([0, 2, 4]) if precision else 0,
            "digits": self.draw.choice([8, 18]) if kind == "int" else 0,
        }

    def _write(self, name: str, described: Describe) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(described))


def columns(project: Project) -> dict[tuple[str, str], str]:
    rows = project.execute(
        "SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'salesforce'::regnamespace "
        "AND relkind = 'r' AND attnum > 0 AND NOT attisdropped"
    )
    return {(str(table), str(column)): str(kind) for table, column, kind in rows}


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(3))
def test_whatever_an_org_does_no_column_goes_or_gets_smaller(seed: int, project: Project, tmp_path: Path) -> None:
    wild = WildOrg(tmp_path / "wild", seed)
    known: dict[tuple[str, str], str] = {}
    widened = 0
    with running(wild.folder, home=tmp_path / "home") as org:
        for _ in range(DAYS):
            fetch_from(
                org.environment,
                project.sources.object_meta_path,
                guards=Guards(max_missing_percent=100),
                home=project.root / ".monarch",
            )
            project.generate()
            project.apply()
            now = columns(project)
            assert known.keys() <= now.keys()
            for name, kind in known.items():
                assert change_of(kind, now[name]) in ("same", "widened"), (name, kind, now[name])
                widened += kind != now[name]
            for table in {table for table, _ in now} - {table for table, _ in known}:
                project.execute(f"INSERT INTO {table} (id) VALUES ('a'), ('b')")
            counts = [project.execute(f"SELECT count(*) FROM {table}")[0][0] for table in {table for table, _ in now}]
            assert set(counts) == {2}
            known = now
            for _ in range(CHANGES):
                wild.change()
    assert widened > 3
    found = read_status(project.sources, lambda: project.shadows, project.target)
    assert (found.sources_covered, found.pending, found.drift.findings, found.problems) == (True, (), (), ())
