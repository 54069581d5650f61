"""What tests of git share: an origin and clones of it, with nothing of the machine's own configuration. No tests."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Somebody",
    "GIT_AUTHOR_EMAIL": "somebody@example.com",
    "GIT_COMMITTER_NAME": "Somebody",
    "GIT_COMMITTER_EMAIL": "somebody@example.com",
}


@dataclass
class Repository:
    """A work tree."""

    folder: Path

    def git(self, *arguments: str) -> str:
        """Run git in the work tree; return what it printed."""
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def commit(self, message: str, **files: str) -> None:
        """Write files into `schema/versions/`, each by its name without .py, and commit all that has changed."""
        for name, text in files.items():
            path = self.versions / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)

    @property
    def versions(self) -> Path:
        """The folder that revisions are in."""
        return self.folder / "schema" / "versions"

    def clone(self, folder: Path) -> Repository:
        """Return a clone of this one's origin."""
        return clone(Path(self.git("remote", "get-url", "origin")), folder)


def clone(origin: Path, folder: Path) -> Repository:
    """Return a clone of `origin`; where that is not there, it is made, and the clone has a first commit on main."""
    new = not origin.exists()
    if new:
        origin.mkdir(parents=True)
        Repository(origin).git("init", "--quiet", "--bare", "--initial-branch=main")
    folder.parent.mkdir(parents=True, exist_ok=True)
    Repository(folder.parent).git("clone", "--quiet", str(origin), str(folder))
    made = Repository(folder)
    if new:
        made.git("checkout", "--quiet", "-B", "main")
        made.commit("first")
        made.git("push", "--quiet", "--set-upstream", "origin", "main")
        made.git("remote", "set-head", "origin", "main")
    return made
