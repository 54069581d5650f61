"""What git knows of a folder: the branches that others share. Reads only, and nothing but what was fetched."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monarch_dagster.errors import MonarchError

TIMEOUT_SECONDS = 60
# A hook's environment leads git to the repository that it runs for, by paths that hold in another folder.
# Source: git, "git rev-parse --local-env-vars".
_LOCAL = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY")
_NO_REPOSITORY = "fatal: not a git repository"
# Where a remote does not say which of its branches is the default one.
_USUAL_NAMES = ("main", "master")


class GitError(MonarchError):
    """git is not there, or does not know the folder."""


class NoWorkTreeError(GitError):
    """Nothing of the folder can be in git: there is no git, or no repository that it is in."""


@dataclass(frozen=True)
class Branch:
    """A branch as it was last fetched: its name, such as "origin/main", and the files that it has in the folder."""

    name: str
    files: Mapping[str, bytes]


def default_branches(folder: Path) -> list[Branch]:
    """Return the default branch of each remote, with what it has in `folder`.

    Raises `GitError` where git is not there or `folder` is in no work tree.
    """
    remotes = _git(folder, "remote").decode().split()
    listed = _git(folder, "for-each-ref", "--format=%(refname) %(symref)", "refs/remotes").decode().splitlines()
    refs = dict(line.split(" ", 1) for line in listed)
    found = []
    for remote in remotes:
        prefix = f"refs/remotes/{remote}/"
        candidates = (refs.get(f"{prefix}HEAD", ""), *(prefix + name for name in _USUAL_NAMES))
        if (ref := next((name for name in candidates if name in refs), None)) is not None:
            found.append(_branch(folder, ref))
    return found


def upstream_branch(folder: Path) -> Branch | None:
    """Return the upstream branch of the branch that is checked out, with what it has in `folder`.

    None where no branch is checked out or it has no upstream. Raises `GitError` as `default_branches` does.
    """
    # A star stands before the branch that is checked out here.
    branches = _git(folder, "for-each-ref", "--format=%(HEAD)%(upstream)", "refs/heads").decode().splitlines()
    ref = next((line[1:] for line in branches if line.startswith("*")), "")
    known = ref and _git(folder, "for-each-ref", "--format=%(refname)", ref).strip()
    return _branch(folder, ref) if known else None


def tracked_files(folder: Path) -> frozenset[str]:
    """Return the names of the files in `folder` that git tracks; none where git is not there or has no work tree there.

    Raises `GitError` where git does not read its repository, such as one of another user.
    """
    try:
        listed = _git(folder, "ls-files", "-z", "--", ".")
    except NoWorkTreeError:
        return frozenset()
    return frozenset(filter(None, listed.decode(errors="surrogateescape").split("\0")))


def _branch(folder: Path, ref: str) -> Branch:
    name = ref.removeprefix("refs/remotes/").removeprefix("refs/heads/")
    blobs: dict[str, str] = {}
    # Of a folder, git lists what is in there, by names without it: "mode type id", a tabulator, the name.
    for entry in _git(folder, "ls-tree", "-z", ref).decode(errors="surrogateescape").split("\0"):
        described, _, path = entry.partition("\t")
        if path.endswith(".py") and described.split()[1] == "blob":
            blobs[path] = described.split()[2]
    return Branch(name, dict(zip(blobs, _contents(folder, list(blobs.values())), strict=True)))


def _contents(folder: Path, blobs: Sequence[str]) -> list[bytes]:
    """Read blobs. Source: git, "git cat-file", BATCH OUTPUT: a line "id type size", the content, a line feed."""
    if not blobs:
        return []
    output = _git(folder, "cat-file", "--batch", stdin="".join(f"{blob}\n" for blob in blobs).encode())
    contents, position = [], 0
    for blob in blobs:
        end = output.index(b"\n", position)
        head = output[position:end].split()
        if len(head) != 3:
            raise GitError(f"git does not have the object {blob} here.", remedy="Run `git fetch`.")
        begin, size = end + 1, int(head[2])
        contents.append(output[begin : begin + size])
        position = begin + size + 1
    return contents


def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    environment = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    # A partial clone would fetch what it lacks.
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            input=stdin,
            capture_output=True,
            env=environment,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise NoWorkTreeError("git is not installed.") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GitError(f"git could not be run: {error}.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        kind = NoWorkTreeError if said[0].startswith(_NO_REPOSITORY) else GitError
        raise kind(f"{said[0].removeprefix('fatal: ')}.")
    return done.stdout
