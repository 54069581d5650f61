"""What tests of a target beside its files share: what is told, and how files get lost or changed. No tests."""

from __future__ import annotations

from collections.abc import Callable

from monarch_dagster.migrations.checks import CHECKS, run_check
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.status import read_status
from monarch_dagster_tests.support import SMALL_MODELS, Project

MORE = SMALL_MODELS + SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')


def failing(project: Project) -> dict[str, str]:
    """Return the checks that fail, with what they found and what to do."""
    situation = Situation(project.prover, project.target)
    outcomes = {name: run_check(check, situation) for name, check in CHECKS.items()}
    assert all(bool(outcome.remedy) != outcome.passed for outcome in outcomes.values())
    return {
        name: f"{outcome.severity} {outcome.stored} | {outcome.remedy}"
        for name, outcome in outcomes.items()
        if not outcome.passed
    }


def problems(project: Project) -> str:
    """Return what status tells as wrong, drift too."""
    found = read_status(project.sources, lambda: project.shadows, project.target)
    return "\n".join((*found.problems, *(str(item) for item in found.drift.findings)))


def change_code(project: Project) -> None:
    """Have the first file do something else."""
    path = project.chain().revisions[0].path
    path.write_text(path.read_text().replace("def upgrade() -> None:\n", "def upgrade() -> None:\n    print()\n"))


def change_comment(project: Project) -> None:
    """Have the first file only read differently."""
    path = project.chain().revisions[0].path
    path.write_text(path.read_text() + "# nothing\n")


def delete(position: int) -> Callable[[Project], None]:
    """Return what deletes the file at a place of the chain."""
    return lambda project: project.chain().revisions[position].path.unlink()
