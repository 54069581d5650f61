"""What tests of broken projects share: what the schema folder holds, a refusal, and a chain that works. No tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.generate import Proposal
from monarch_dagster_tests.support import SMALL_MODELS, Project

NAME = {"type": "string", "length": 80}
COLUMN = "    extra: Mapped[int | None] = mapped_column(Integer)\n"
MORE = SMALL_MODELS + COLUMN


def files(project: Project) -> dict[Path, bytes]:
    """Return what stands in the schema folder, all of it."""
    return {path: path.read_bytes() for path in project.sources.schema_dir.rglob("*") if path.is_file()}


def refused(project: Project, told: str) -> MonarchError:
    """Generating ends in an error with a remedy, and writes nothing."""
    before = files(project)
    with pytest.raises(MonarchError, match=told) as caught:
        project.generate()
    assert files(project) == before
    assert caught.value.remedy
    return caught.value


def ids(proposal: Proposal) -> list[str]:
    return [item.revision for item in proposal.revisions]


def applies(project: Project) -> None:
    """The chain leads an empty target to what the sources declare, and back."""
    project.apply()
    tables = project.facts().relations
    assert "column extra" in tables["table landing.note"]
    assert "column name" in tables["table salesforce.account"]
    assert project.generate().revisions == ()
    project.revert("base")
    assert project.facts().relations == {}
