"""What git knows of a folder: the branches that others share, and what is not committed. The one place that calls git.

Reads only, and nothing but what was fetched. What it means for a chain is `branches`' and `git_state`'s to say.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monarch_dagster.errors import MonarchError

TIMEOUT_SECONDS = 60
# Of a question that nobody asked: it must not keep a command from its work.
GLANCE_SECONDS = 5
# A hook's environment leads git to the repository that it runs for, by paths that hold in another folder, a person's
# changes how paths are read. What says where repositories are, and whom to trust, is kept.
# Source: git, "git rev-parse --local-env-vars", and git(1), "Environment Variables".
_KEPT = ("GIT_CONFIG_", "GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_EXEC_PATH")
# Where a remote does not say which of its branches is the default one.
_USUAL_NAMES = ("main", "master")


class GitError(MonarchError):
    """git is not there, or does not know the folder."""


@dataclass(frozen=True)
class Branch:
    """A branch as it was last fetched: its name, such as "origin/main", and the files that it has in the folder."""

    name: str
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Listing:
    """A branch as it was last fetched: its name, and the names of the files that it has in the folder."""

    name: str
    files: frozenset[str]


def default_branches(folder: Path) -> list[Branch]:
    """Return the default branch of each remote, with what it has in `folder`.

    Raises `GitError` where git is not there or `folder` is in no work tree.
    """
    remotes = _git(folder, "remote").decode().split()
    return [_branch(folder, ref) for ref in _default_refs(remotes, _refs(folder, "refs/remotes"))]


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
    """Return the names of the files in `folder` that git tracks; none where that is in no work tree.

    Raises `GitError` where it is, and git is not there, or does not read the repository, such as one of another user.
    """
    if work_tree(folder) is None:
        return frozenset()
    listed = _git(folder, "ls-files", "-z", "--", ".")
    return frozenset(filter(None, listed.decode(errors="surrogateescape").split("\0")))


def unmerged_branches(top: Path, folder: str, upstream: str) -> list[Listing]:
    """Return what the upstream branch and the default branch of each remote have in `folder`, the upstream first.

    Branches that are merged already are left out: nothing would come of them. Two calls of git.

    Args:
        top: the work tree.
        folder: a folder in it, by its path from there; it need not be in the work tree yet.
        upstream: the upstream branch as git status names it, "" for none.

    Raises `GitError` as `default_branches` does, and where nothing is committed.
    """
    usual = [f"refs/remotes/*/{name}" for name in ("HEAD", *_USUAL_NAMES)]
    named = [f"{prefix}{upstream}" for prefix in ("refs/remotes/", "refs/heads/") if upstream]
    refs = _refs(top, "--no-merged=HEAD", *usual, *named, timeout=GLANCE_SECONDS)
    # A star stands for one part of a name.
    remotes = list(dict.fromkeys(ref.split("/")[2] for ref in refs if ref.startswith("refs/remotes/")))
    wanted = list(dict.fromkeys([*(name for name in named if name in refs), *_default_refs(remotes, refs)]))
    if not wanted or "\n" in folder:
        return []
    trees = _objects(top, [f"{ref}:{folder}" for ref in wanted], timeout=GLANCE_SECONDS)
    return [Listing(_short(ref), frozenset(_file_names(tree))) for ref, tree in zip(wanted, trees, strict=True)]


def work_tree(folder: Path) -> Path | None:
    """Return the work tree that `folder`, which need not be there, is in, without asking git; None for none."""
    folder = folder.resolve()
    return next((place for place in (folder, *folder.parents) if (place / ".git").exists()), None)


def read_changes(top: Path, paths: Sequence[str]) -> bytes:
    """Return what `git status --porcelain=v2 -z` says of `paths` in the work tree `top`, ignored files included.

    Raises `GitError`, as `default_branches` does.
    """
    options = ("--branch", "--no-ahead-behind", "--untracked-files=all", "--ignored=matching", "--no-renames")
    return _git(
        top,
        # A monitor of files is a hook.
        *("--literal-pathspecs", "-c", "core.fsmonitor=false"),
        *("status", "--porcelain=v2", "-z", *options, "--ignore-submodules=all", "--", *paths),
        timeout=GLANCE_SECONDS,
    )


def _refs(folder: Path, *asked: str, timeout: float = TIMEOUT_SECONDS) -> dict[str, str]:
    """Return references, each with what it stands for where it is symbolic, else ""."""
    listed = _git(folder, "for-each-ref", "--format=%(refname) %(symref)", *asked, timeout=timeout)
    return dict(line.split(" ", 1) for line in listed.decode(errors="surrogateescape").splitlines())


def _default_refs(remotes: Sequence[str], refs: Mapping[str, str]) -> Iterator[str]:
    for remote in remotes:
        prefix = f"refs/remotes/{remote}/"
        if symbolic := refs.get(f"{prefix}HEAD"):
            yield symbolic
        else:
            yield from [name for name in (prefix + usual for usual in _USUAL_NAMES) if name in refs][:1]


def _short(ref: str) -> str:
    return ref.removeprefix("refs/remotes/").removeprefix("refs/heads/")


def _branch(folder: Path, ref: str) -> Branch:
    blobs: dict[str, str] = {}
    # Of a folder, git lists what is in there, by names without it: "mode type id", a tabulator, the name.
    for entry in _git(folder, "ls-tree", "-z", ref).decode(errors="surrogateescape").split("\0"):
        described, _, path = entry.partition("\t")
        if path.endswith(".py") and described.split()[1] == "blob":
            blobs[path] = described.split()[2]
    contents: dict[str, bytes] = {}
    for (path, blob), found in zip(blobs.items(), _objects(folder, list(blobs.values())), strict=True):
        if found is None:
            raise GitError(f"git does not have the object {blob} here.", remedy="Run `git fetch`.")
        contents[path] = found.content
    return Branch(_short(ref), contents)


@dataclass(frozen=True)
class _Object:
    id: str
    kind: str
    content: bytes


def _objects(folder: Path, names: Sequence[str], *, timeout: float = TIMEOUT_SECONDS) -> list[_Object | None]:
    """Read objects; None for one that is not here.

    Source: git, "git cat-file", BATCH OUTPUT: a line "id type size", the content, a line feed; or "name missing".
    """
    if not names:
        return []
    stdin = b"".join(os.fsencode(name) + b"\n" for name in names)
    output = _git(folder, "cat-file", "--batch", stdin=stdin, timeout=timeout)
    found: list[_Object | None] = []
    position = 0
    for _ in names:
        begin = output.index(b"\n", position) + 1
        *described, last = output[position : begin - 1].decode(errors="replace").split(" ")
        if last == "missing":
            found.append(None)
            position = begin
        else:
            identity, kind = described
            found.append(_Object(identity, kind, output[begin : begin + int(last)]))
            position = begin + int(last) + 1
    return found


def _file_names(tree: _Object | None) -> Iterator[str]:
    """Return the names of the files in a folder.

    Source: git, "Git Internals - Git Objects", tree objects: for each entry "mode name", a zero byte, the id as bytes.
    """
    if tree is None or tree.kind != "tree":
        return
    position = 0
    while position < len(tree.content):
        end = tree.content.index(b"\0", position)
        mode, _, name = tree.content[position:end].partition(b" ")
        if mode.startswith(b"100"):
            yield os.fsdecode(name)
        position = end + 1 + len(tree.id) // 2


def _git(folder: Path, *arguments: str, stdin: bytes = b"", timeout: float = TIMEOUT_SECONDS) -> bytes:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name.startswith(_KEPT)
    }
    environment |= {"LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"}
    # A partial clone would fetch what it lacks. The first is not known to git before 2.44.
    environment |= {"GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            input=stdin,
            capture_output=True,
            env=environment,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise GitError("git is not installed.") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git took longer than {timeout:g} seconds.") from None
    except OSError as error:
        raise GitError(f"git could not be run: {error}.") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {done.returncode}"]
        # Warnings may stand before it.
        reason = next((line for line in said if line.startswith("fatal: ")), said[0])
        raise GitError(f"{reason.removeprefix('fatal: ')}.")
    return done.stdout
