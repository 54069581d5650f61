"""What tests of the chain share: revisions written by hand, which need no generation, and plain Alembic. No tests."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from monarch_dagster_tests import warm
from monarch_dagster_tests.support import Project

PYPROJECT = """
[tool.alembic]
script_location = "{script_location}"
version_locations = ["{versions}"]
"""


@dataclass
class Alembic:
    """Plain `alembic` in the project's folder."""

    project: Project

    def run(self, *arguments: str, code: int = 0, **extra: str) -> str:
        """Run a command, which must end with exit code `code`; return what it printed."""
        environment = self.project.environment(**extra)
        done = warm.run("alembic", arguments, folder=self.project.root, environment=environment)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr


def write_revision(
    folder: Path, revision: str, down: str | None, *, up: str = "pass", back: str = "pass", doc: str = "by hand"
) -> Path:
    """Write a revision whose `upgrade` and `downgrade` are these statements of Python."""
    path = folder / f"2025_01_01_0000-{revision}_.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        f'"""{doc}\n"""\n\nimport sqlalchemy as sa\nfrom alembic import op\n\n'
        f"revision = {revision!r}\ndown_revision = {down!r}\nbranch_labels = None\ndepends_on = None\n\n\n"
        f"def upgrade() -> None:\n{textwrap.indent(textwrap.dedent(up), '    ')}\n\n\n"
        f"def downgrade() -> None:\n{textwrap.indent(textwrap.dedent(back), '    ')}\n"
    )
    return path


def sql(*statements: str) -> str:
    """Return Python that executes the statements."""
    return "\n".join(f"op.execute({statement!r})" for statement in statements)


def write_chain(project: Project, *steps: tuple[str, str]) -> Sequence[str]:
    """Write a chain of revisions r1, r2, … that run a statement up and one down each; return their ids."""
    names = [f"r{number}" for number in range(1, len(steps) + 1)]
    for name, below, (up, back) in zip(names, [None, *names], steps, strict=False):
        write_revision(project.versions, name, below, up=sql(up), back=sql(back))
    return names
