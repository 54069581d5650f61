"""What tests of merges share: branches that grow from one chain, and their merge in a project. No tests."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monarch_dagster.migrations.rebase import Rebased, rebase
from monarch_dagster_tests.support import Project

ID = "id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)"
BODY = "body: Mapped[str] = mapped_column(Text)"
# Columns that branches add to the table `note`.
COLUMNS = {name: f"{name}: Mapped[int | None]" for name in "abc"}
A, B, C = COLUMNS.values()


def table(name: str, *lines: str) -> str:
    """Return the model of a table in the schema `landing`, with an id and what `lines` say."""
    body = [f'__tablename__ = "{name}"', '__table_args__ = {"schema": "landing"}', ID, *lines]
    return f"class {name.title()}(Base):\n{textwrap.indent(chr(10).join(body), '    ')}\n"


def note(*lines: str) -> str:
    """Return the model of the table `note`, which is there from the beginning."""
    return table("note", BODY, *lines)


@dataclass
class Branch:
    """The revisions of a branch, in chain order: ids, and files with their contents."""

    ids: list[str] = field(default_factory=list)
    files: dict[Path, bytes] = field(default_factory=dict)


@contextmanager
def branch(project: Project) -> Iterator[Branch]:
    """Take what is generated or written meanwhile off the chain at the end: it is the branch's."""
    known, made = project.chain().revisions, Branch()
    yield made
    for item in project.chain().revisions:
        if item not in known:
            made.ids.append(item.revision)
            made.files[item.path] = item.path.read_bytes()
            item.path.unlink()


def grow(project: Project, *models: str, **options: Any) -> Branch:
    """Return the branch that comes of generating for each of `models` in turn."""
    with branch(project) as made:
        for text in models:
            project.write_models(text)
            project.generate(**options)
    return made


def merge(project: Project, models: str, *branches: Branch) -> None:
    """Put branches into one chain, as git does, and the models that a person made of theirs."""
    project.write_models(models)
    for item in branches:
        for path, content in item.files.items():
            path.write_bytes(content)


def put_behind(project: Project, onto: str, **options: Any) -> Rebased:
    """Rebase a project's files behind a head."""
    return rebase(project.sources, project.shadows, project.prover.proofs, onto=onto, **options)


def contents(project: Project) -> dict[str, bytes]:
    """Return the revision files of a project, by name."""
    return {path.name: path.read_bytes() for path in project.versions.glob("*.py")}


def works(project: Project) -> None:
    """The chain comes to the sources, and a target to the chain's head."""
    assert project.generate(dry_run=True).revisions == ()
    assert project.apply().after == project.chain().head


@dataclass
class Forks:
    """A project with one table, and branches that add columns to it, each by its columns in their order."""

    project: Project
    branches: dict[str, Branch]

    def merge(self, models: str, *names: str) -> list[Branch]:
        """Merge branches; return them."""
        found = [self.branches[name] for name in names]
        merge(self.project, models, *found)
        return found
