"""What is sent to PostgreSQL does not grow with the tables: three times as many objects take as many round trips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from monarch_dagster.migrations.checks import FILE_CHECKS, TARGET_CHECKS, run_check
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.status import read_status
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import TEMPLATE_PREFIX, ShadowServer
from monarch_dagster_tests.support import Project, counted_statements, new_project

FEW, MANY = 5, 15
NAME = {"name": "Name", "type": "string", "length": 80}
CODE = {"name": "Code__c", "type": "string", "length": 9, "externalId": True}
ADDED = {"name": "Added__c", "type": "string", "length": 20}


def write(project: Project, count: int, changed: int = 0) -> None:
    """Write an org of so many objects, the first of which have a field more."""
    described = [{"name": "Id", "type": "id"}, NAME, CODE]
    project.write_meta(
        {
            f"Thing_{number:02}__c": {"fields": [*described, ADDED] if number < changed else described}
            for number in range(count)
        }
    )


def look(project: Project) -> None:
    read_status(project.sources, lambda: project.shadows, project.target)


def check(project: Project) -> None:
    situation = Situation(project.prover, project.target)
    for item in (*FILE_CHECKS.values(), *TARGET_CHECKS.values()):
        run_check(item, situation)


def measured(project: Project, count: int) -> dict[str, int]:
    """Return how many statements each step of a project's life sends, with so many objects."""
    steps: list[tuple[str, tuple[int, int], Callable[[Project], Any]]] = [
        ("first generate", (count, 0), Project.generate),
        ("first apply", (count, 0), Project.apply),
        ("no change", (count, 0), Project.generate),
        ("nothing to apply", (count, 0), Project.apply),
        ("status", (count, 0), look),
        ("checks", (count, 0), check),
        ("one field", (count, 1), Project.generate),
        ("apply one field", (count, 1), Project.apply),
        ("one object", (count + 1, 1), Project.generate),
        ("apply one object", (count + 1, 1), Project.apply),
        # Its apply gives each ALTER a time of its own to wait for locks.
        ("a field on each", (count + 1, count), Project.generate),
    ]
    found = {}
    for name, size, action in steps:
        write(project, *size)
        with counted_statements() as sent:
            action(project)
        # Templates of other tests go when there are too many.
        found[name] = sum(f'"{TEMPLATE_PREFIX}' not in statement for statement in sent)
    return found


def test_no_step_sends_more_for_more_objects(server: EmbeddedCluster, shadows: ShadowServer, tmp_path: Path) -> None:
    found = []
    # What the first one finds out, of the server itself and of the core models, the others know.
    for count in (1, FEW, MANY):
        root = tmp_path / str(count)
        root.mkdir()
        with new_project(root, server, shadows) as project:
            found.append(measured(project, count))
    _, few, many = found
    assert many == few
    assert few["no change"] <= 5
