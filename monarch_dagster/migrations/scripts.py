"""Scripts for Alembic that are not the files in `versions/`: revisions set on others than their files name.

Written to a folder for as long as they run. Which revisions, and on what, is the caller's.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from monarch_dagster.migrations.revisions import moved_text

# What stands for a script that is not run.
STUB = b"revision = ''\ndown_revision = None\n\n\ndef upgrade(): ...\n\n\ndef downgrade(): ...\n"


@dataclass(frozen=True)
class Script:
    """A revision as Alembic is to see it: the content of its file, and the revision that it stands on."""

    revision: str
    down_revision: str | None
    content: bytes


@contextmanager
def script_folder(scripts: Sequence[Script]) -> Iterator[list[Path]]:
    """Give the folders to hand to `runner`: the scripts, and a stub for what the first one stands on."""
    with tempfile.TemporaryDirectory(prefix="monarch-scripts-") as name:
        folder = Path(name)
        for script in scripts:
            text = moved_text(script.content.decode(), script.revision, script.down_revision)
            (folder / f"{script.revision}.py").write_text(text)
        if scripts and scripts[0].down_revision is not None:
            write_stub(folder, scripts[0].down_revision)
        yield [folder]


def stacked(base: str | None, revisions: Sequence[tuple[str, bytes]]) -> list[Script]:
    """Return scripts for revisions (id and content) that stand on each other in this order, the first one on `base`."""
    downs = [base, *(revision for revision, _ in revisions)]
    return [Script(revision, down, content) for (revision, content), down in zip(revisions, downs, strict=False)]


def write_stub(folder: Path, revision: str) -> None:
    """Write what stands for a chain up to `revision` that is on the database already and need not be loaded."""
    (folder / "down.py").write_text(moved_text(STUB.decode(), revision, None))
