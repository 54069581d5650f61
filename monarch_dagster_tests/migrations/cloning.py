"""What tests of two clones share: each changes and applies, both are merged, one is rebased. No tests."""

from __future__ import annotations

import shutil
from typing import Any

from monarch_dagster.migrations.checks import CHECKS, run_check
from monarch_dagster.migrations.ledger import read_target
from monarch_dagster.migrations.rebase import Rebased, rebase
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.migrations.status import read_status
from monarch_dagster_tests.support import SMALL_MODELS, Project

OURS = """    mine: Mapped[str | None] = mapped_column(Text, index=True)
"""
THEIRS = """    theirs: Mapped[int | None] = mapped_column(Integer)
"""
MEMO = SMALL_MODELS.replace("Note", "Memo").replace('"note"', '"memo"')
INSERT = "INSERT INTO landing.note (body) VALUES ('kept')"


def models(*columns: str) -> str:
    return SMALL_MODELS + "".join(columns)


def change(project: Project, body: str, message: str) -> str:
    """Change the models, generate and apply; return the new head."""
    project.write_models(body)
    head = project.generate(message=message).head
    project.apply()
    return str(head)


def merge(ours: Project, theirs: Project, body: str) -> None:
    """Bring the files of theirs to ours, as git does, and merge the models to `body`."""
    for path in theirs.versions.iterdir():
        shutil.copy(path, ours.versions)
    ours.write_models(body)


def rebased(project: Project, onto: str) -> Rebased:
    return rebase(project.sources, project.shadows, project.prover.proofs, onto=onto)


def pull(project: Project, source: Project) -> None:
    """Take over the files of `source`, as a git pull does."""
    shutil.rmtree(project.sources.schema_dir)
    shutil.copytree(source.sources.schema_dir, project.sources.schema_dir)
    shutil.copy(source.root / "client_models.py", project.root)
    shutil.copytree(source.root / ".monarch", project.root / ".monarch", dirs_exist_ok=True)


def in_force(project: Project) -> list[tuple[str, str | None, str]]:
    """Return revision, down revision and digest of what the ledger has in force."""
    return [(entry.revision, entry.down_revision, entry.digest) for entry in read_target(project.target).entries]


def failing(project: Project) -> dict[str, str]:
    """Return the checks that fail, with what they found and what to do."""
    situation = Situation(project.prover, project.target)
    outcomes = {name: run_check(check, situation) for name, check in CHECKS.items()}
    return {name: f"{item.stored} | {item.remedy}" for name, item in outcomes.items() if not item.passed}


def assert_alike(ours: Project, theirs: Project) -> None:
    """Both targets are at the head, with equal facts, agreeing ledgers and records, and every row."""
    assert in_force(ours) == in_force(theirs)
    assert [item[0] for item in in_force(ours)] == [item.revision for item in ours.chain().revisions]
    assert ours.facts() == theirs.facts()
    for project in (ours, theirs):
        assert failing(project) == {}
        target = read_target(project.target)
        assert target.versions == (target.head,) == (project.chain().head,)
        recorded = dict(map(tuple, project.execute("SELECT relation, hash FROM alembic.facts_hash")))
        assert recorded == project.facts().hashes
        assert project.execute("SELECT body FROM landing.note") == [("kept",)]


def status(project: Project) -> Any:
    return read_status(project.sources, lambda: project.shadows, project.target)
