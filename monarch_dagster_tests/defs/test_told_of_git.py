"""What git says is seen where somebody is about to generate: in the run's log and metadata, and in the status."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import dagster as dg
import pytest

from monarch_dagster_tests.defs.support import reported, run
from monarch_dagster_tests.migrations.repositories import Repository, clone
from monarch_dagster_tests.support import Project, squeeze

THEIRS = 'revision = "bbbbbbbbbbbb"\ndown_revision = None\n'


@pytest.fixture
def work(here: Project, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The project as a clone in which the models are new, and somebody else has pushed a revision."""
    folder = tmp_path_factory.mktemp("git")
    made = clone(folder / "origin.git", folder / "work")
    (made.folder / ".git").rename(here.root / ".git")
    made.folder = here.root
    there = made.clone(folder / "there")
    there.commit("theirs", **{"2026_01_01_0000-bbbbbbbbbbbb_x": THEIRS})
    there.git("push", "--quiet")
    made.git("fetch", "--quiet")
    return made


def test_a_run_that_generates_warns_first_and_keeps_the_rows(
    work: Repository, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "monarch_dagster")
    told = reported(run(instance, "generate_migrations"))["revision_files"]
    assert told["uncommitted"] == [{"path": "client_models.py", "kind": "models", "state": "untracked"}]
    assert [(row["branch"], row["revision"]) for row in told["lacking"]] == [("origin/main", "bbbbbbbbbbbb")]
    lines = [record.getMessage() for record in caplog.records]
    commit, merge = (next(n for n, line in enumerate(lines) if word in line) for word in ("Not committed", "git pull"))
    assert max(commit, merge) < next(n for n, line in enumerate(lines) if line.startswith("Proposed revision"))


def test_a_run_that_generates_nothing_and_one_in_no_work_tree_tell_nothing(
    work: Repository, here: Project, instance: dg.DagsterInstance
) -> None:
    here.generate()
    assert "uncommitted" not in reported(run(instance, "setup_provider_schema"))["revision_files"]
    (here.root / ".git").rename(here.root / "elsewhere")
    told = reported(run(instance, "generate_migrations"))["revision_files"]
    assert (told["uncommitted"], told["lacking"]) == ([], [])


def test_the_status_tells_it_to_programs_and_to_people(work: Repository, here: Project) -> None:
    (here.root / ".gitignore").write_text(".monarch/\n")
    path = here.generate().revisions[0].path
    found = json.loads(here.monarch("status", "--json").stdout)["git"]
    assert found["work_tree"] == str(Path(here.root).resolve())
    assert [(row["path"], row["state"]) for row in found["uncommitted"]] == [
        ("client_models.py", "untracked"),
        (f"schema/versions/{path.name}", "untracked"),
    ]
    assert [row["branch"] for row in found["lacking"]] == ["origin/main"]
    shown = here.monarch("status")
    assert "Not committed to git" in shown.stdout
    assert "has, as last fetched, 1 revision that this chain lacks: bbbbbbbbbbbb." in squeeze(shown.stderr)
