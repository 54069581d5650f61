"""What git says of the schema files before anyone generates: in real repositories, of every kind, and without one."""

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from monarch_dagster.migrations.chain import read_chain
from monarch_dagster.migrations.git_state import GitState, Lacking, read_git, shown
from monarch_dagster.schema.desired import Sources
from monarch_dagster_tests.migrations.repositories import Repository, clone

A, B, C = ("a" * 12, "b" * 12, "c" * 12)


def revision(name: str, down: str | None = None, more: str = "") -> str:
    """A revision's text."""
    return f'revision = "{name}"\ndown_revision = {down!r}\n{more}'


def ask(work: Repository) -> GitState:
    """What is told of a project in a work tree whose models are the package `client`."""
    sources = Sources(work.folder, work.folder / "schema", "client", "salesforce")
    return read_git(sources, read_chain(sources.schema_dir))


def uncommitted(work: Repository) -> dict[str, str]:
    """The states of files by their paths."""
    found = ask(work)
    assert found.unknown == ""
    return {item.path: item.state for item in found.uncommitted}


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A project with a revision, pushed; everything is committed."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    made = clone(tmp_path / "origin.git", tmp_path / "work")
    (made.folder / "client" / "deep").mkdir(parents=True)
    for name in ("__init__", "landing", "deep/__init__"):
        (made.folder / "client" / f"{name}.py").write_text("")
    (made.folder / "schema").mkdir()
    (made.folder / "schema" / "object_meta.json").write_text("{}")
    made.commit("one", **{f"2026_01_01_0000-{A}_": revision(A)})
    made.git("push", "--quiet")
    return made


def push_theirs(work: Repository, folder: Path, **files: str) -> None:
    """Have somebody else push revisions to main, and fetch that here."""
    there = work.clone(folder)
    there.commit("theirs", **files)
    there.git("push", "--quiet")
    work.git("fetch", "--quiet")


def test_where_all_is_committed_and_pushed_nothing_is_told(work: Repository) -> None:
    assert ask(work) == GitState(str(work.folder), upstream="origin/main")
    assert (ask(work).commit, ask(work).merge) == ("", "")


def test_each_way_in_which_a_source_or_a_revision_is_not_committed_has_its_word(work: Repository) -> None:
    [old] = work.versions.iterdir()
    work.versions.joinpath("new.py").write_text(revision(B, A))
    (work.folder / "schema" / "object_meta.json").write_text("{ }")
    (work.folder / "client" / "landing.py").unlink()
    (work.folder / "client" / "deep" / "more.py").write_text("")
    work.git("add", "client/deep/more.py")
    found = ask(work)
    assert [(item.path, item.kind, item.state) for item in found.uncommitted] == [
        ("client/deep/more.py", "models", "added"),
        ("client/landing.py", "models", "deleted"),
        ("schema/object_meta.json", "object metadata", "modified"),
        ("schema/versions/new.py", "revision", "untracked"),
    ]
    assert found.commit.startswith("Not committed to git: client/deep/more.py (added), client/landing.py (deleted), ")
    old.unlink()
    assert uncommitted(work)[f"schema/versions/{old.name}"] == "deleted"
    work.commit("all")
    assert uncommitted(work) == {}


def test_other_files_are_not_told(work: Repository) -> None:
    for name in ("README", "other.py", "client/notes.txt", "schema/shadow.sql", "schema/versions/.#x.py"):
        (work.folder / name).write_text("x")
    (work.versions / "__pycache__").mkdir()
    (work.versions / "__pycache__" / "x.py").write_text("x")
    assert uncommitted(work) == {}


def test_files_in_conflict_are_told_as_such(work: Repository, tmp_path: Path) -> None:
    push_theirs(work, tmp_path / "there", same="1")
    work.commit("ours", same="2")
    with pytest.raises(AssertionError, match="CONFLICT"):
        work.git("merge", "--quiet", "origin/main")
    assert uncommitted(work) == {"schema/versions/same.py": "in conflict"}


def test_names_may_hold_anything_that_a_file_name_can(work: Repository) -> None:
    odd = ["a b.py", "umläut.py", "two\nlines.py", "tab\there.py", '"quoted".py', "*.py", ":(top)x.py", "-> y.py"]
    names = [*odd, os.fsdecode(b"\xff.py")]
    for name in names:
        (work.versions / name).write_text("x")
    assert uncommitted(work) == {f"schema/versions/{name}": "untracked" for name in names}
    assert ask(work).commit.encode().count(b"\n") == 0
    assert [shown(name) for name in ("umläut.py", "two\nlines.py")] == ["umläut.py", r"'two\nlines.py'"]
    work.commit("odd")
    (work.folder / "schema").rename(work.folder / ":(top)\nschema ü")
    sources = Sources(work.folder, work.folder / ":(top)\nschema ü", "client", "salesforce")
    assert len(read_git(sources, read_chain(sources.schema_dir)).uncommitted) == len(names) + 2


def test_what_is_ignored_is_not_called_uncommitted_also_just_after_it_was_taken_out(work: Repository) -> None:
    (work.folder / ".gitignore").write_text("/schema/versions/\n")
    (work.versions / "new.py").write_text(revision(B, A))
    assert uncommitted(work) == {}
    work.git("rm", "--quiet", "-r", "--cached", "schema/versions")
    assert uncommitted(work) == {}
    work.commit("ignored")
    work.git("push", "--quiet")
    assert ask(work) == GitState(str(work.folder), upstream="origin/main")


def test_revisions_that_were_fetched_and_not_merged_are_told_with_the_way_to_get_them(
    work: Repository, tmp_path: Path
) -> None:
    push_theirs(work, tmp_path / "there", **{f"2026_01_02_0000-{B}_x": revision(B, A), "byhand": revision("hand", B)})
    found = ask(work)
    assert found.lacking == (
        Lacking("origin/main", B, f"2026_01_02_0000-{B}_x.py"),
        Lacking("origin/main", "", "byhand.py"),
    )
    assert found.merge.startswith(
        f"origin/main has, as last fetched, 2 revisions that this chain lacks: {B}, byhand.py"
    )
    assert "`git pull`, then `monarch rebase`" in found.merge
    work.git("merge", "--quiet", "origin/main")
    assert ask(work).lacking == ()


def test_what_was_not_fetched_is_not_known_and_nothing_is_fetched(work: Repository, tmp_path: Path) -> None:
    there = work.clone(tmp_path / "there")
    there.commit("two", two=revision(B, A))
    there.git("push", "--quiet")
    before = sorted((work.folder / ".git").rglob("*"))
    assert ask(work).lacking == ()
    assert sorted((work.folder / ".git").rglob("*")) == before


def test_a_branch_of_ones_own_is_compared_with_the_default_branch_and_with_its_upstream(
    work: Repository, tmp_path: Path
) -> None:
    work.git("checkout", "--quiet", "-b", "feature/x")
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    assert [(item.branch, item.file) for item in ask(work).lacking] == [("origin/main", "b.py")]
    assert "`git merge origin/main`, then" in ask(work).merge
    work.commit("ours", ours=revision(C, A))
    work.git("push", "--quiet", "--set-upstream", "origin", "feature/x")
    work.git("reset", "--quiet", "--hard", "HEAD^")
    assert [item.branch for item in ask(work).lacking] == ["origin/feature/x", "origin/main"]
    assert "origin/feature/x and origin/main have" in ask(work).merge
    assert "`git pull && git merge origin/main`" in ask(work).merge


@pytest.mark.parametrize("file", ["twin", "replaced"])
def test_a_revision_that_is_here_in_another_way_is_not_lacking(work: Repository, tmp_path: Path, file: str) -> None:
    name = f"2026_01_02_0000-{B}_"
    push_theirs(work, tmp_path / "there", **{name: revision(B, A)})
    match file:
        case "twin":  # the same change, generated here too
            work.commit("twin", **{f"2026_01_03_0000-{B}_": revision(B, A)})
        case "replaced":
            work.commit("rebased", **{f"2026_01_03_0000-{C}_": revision(C, A, f'replaces = [["{B}"]]\n')})
    assert ask(work).lacking == ()


def test_a_revision_that_was_deleted_here_is_told_as_that_and_not_as_lacking(work: Repository, tmp_path: Path) -> None:
    [name] = (path.name for path in work.versions.iterdir())
    (work.versions / name).unlink()
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    assert uncommitted(work) == {f"schema/versions/{name}": "deleted"}
    assert [item.file for item in ask(work).lacking] == ["b.py"]


def test_what_was_merged_and_taken_out_again_is_not_to_be_merged(work: Repository, tmp_path: Path) -> None:
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    work.git("merge", "--quiet", "origin/main")
    (work.versions / "b.py").unlink()
    work.commit("taken out")
    assert ask(work).lacking == ()


def test_the_first_revision_of_somebody_else_is_told_where_there_is_no_folder_yet(tmp_path: Path) -> None:
    work = clone(tmp_path / "origin.git", tmp_path / "work")
    push_theirs(work, tmp_path / "there", a=revision(A))
    assert [item.file for item in ask(work).lacking] == ["a.py"]


def no_git(work: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("PATH", str(work.folder))
    return "git is not installed."


def no_work_tree(work: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.rmtree(work.folder / ".git")
    return ""


def broken(work: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    (work.folder / ".git" / "index").write_bytes(b"nonsense")
    return "index"


def led_astray(work: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    shutil.rmtree(work.folder / ".git")
    (work.folder / ".git").write_text("gitdir: nowhere")
    return "not a git repository"


def slow(work: Repository, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("monarch_dagster.migrations.git.GLANCE_SECONDS", 0.2)
    wrap(work, monkeypatch, "exec sleep 20")
    return "git took longer than 0.2 seconds."


@pytest.mark.parametrize("spoil", [no_git, no_work_tree, broken, led_astray, slow])
def test_where_git_does_not_tell_there_is_a_word_and_no_error(
    work: Repository, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Repository, pytest.MonkeyPatch], str]
) -> None:
    told = spoil(work, monkeypatch)
    found = ask(work)
    assert (told in found.unknown) if told else (found == GitState())
    assert (found.uncommitted, found.lacking) == ((), ())


def test_a_commit_is_needed_for_nothing(tmp_path: Path) -> None:
    work = Repository(tmp_path)
    work.git("init", "--quiet")
    work.versions.mkdir(parents=True)
    (work.versions / "a.py").write_text(revision(A))
    assert uncommitted(work) == {"schema/versions/a.py": "untracked"}


def test_where_no_branch_is_checked_out_others_are_not_told(work: Repository, tmp_path: Path) -> None:
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    work.git("checkout", "--quiet", "--detach")
    (work.versions / "c.py").write_text(revision(C, A))
    assert uncommitted(work) == {"schema/versions/c.py": "untracked"}
    assert ask(work).lacking == ()


def test_an_upstream_that_is_gone_or_a_remote_that_was_never_fetched_is_nothing(work: Repository) -> None:
    work.git("update-ref", "-d", "refs/remotes/origin/main")
    work.git("remote", "add", "other", "nowhere")
    assert ask(work) == GitState(str(work.folder), upstream="origin/main")
    work.git("branch", "--unset-upstream")
    assert ask(work) == GitState(str(work.folder))


def test_a_work_tree_of_its_own_is_read_as_the_first_one(work: Repository, tmp_path: Path) -> None:
    work.git("worktree", "add", "--quiet", str(tmp_path / "second"), "-b", "second", "--track", "origin/main")
    second = Repository(tmp_path / "second")
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    (second.versions / "c.py").write_text(revision(C, A))
    assert uncommitted(second) == {"schema/versions/c.py": "untracked"}
    assert [item.file for item in ask(second).lacking] == ["b.py"]


def test_in_a_submodule_its_own_repository_is_asked_and_one_in_the_models_is_left_alone(
    work: Repository, tmp_path: Path
) -> None:
    outer = clone(tmp_path / "outer.git", tmp_path / "outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(tmp_path / "origin.git"), "inner")
    inner = Repository(outer.folder / "inner")
    (inner.versions / "c.py").write_text(revision(C, A))
    assert ask(inner).work_tree == str(inner.folder)
    assert uncommitted(inner) == {"schema/versions/c.py": "untracked"}
    (outer.folder / "client").symlink_to("inner/client")
    (inner.folder / "client" / "landing.py").write_text("x")
    assert uncommitted(outer) == {}


def test_a_schema_folder_that_is_a_link_is_asked_where_it_is(work: Repository, tmp_path: Path) -> None:
    (work.versions / "c.py").write_text(revision(C, A))
    (tmp_path / "schema").symlink_to(work.folder / "schema")
    sources = Sources(tmp_path, tmp_path / "schema", "no_such_models", "salesforce")
    [found] = read_git(sources, read_chain(sources.schema_dir)).uncommitted
    assert found.path == "schema/versions/c.py"


def wrap(work: Repository, monkeypatch: pytest.MonkeyPatch, line: str) -> Path:
    """Put a `git` in front of the real one; return the file that it may log to."""
    folder = work.folder.parent / "bin"
    folder.mkdir()
    (folder / "git").write_text(f'#!/bin/sh\necho "$@" >> "{folder}/log"\n{line}\n')
    (folder / "git").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder / "log"


def test_three_calls_of_git_are_enough(work: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work.git("checkout", "--quiet", "-b", "feature/x")
    work.git("push", "--quiet", "--set-upstream", "origin", "feature/x")
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    log = wrap(work, monkeypatch, f'exec {shutil.which("git")} "$@"')
    assert len(ask(work).lacking) == 1
    assert len(log.read_text().splitlines()) == 3


def test_the_environment_of_a_hook_and_a_persons_configuration_change_nothing(
    work: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    (work.versions / "ä c.py").write_text(revision(C, A))
    expected = ask(work)
    assert (len(expected.uncommitted), len(expected.lacking)) == (1, 1)
    (tmp_path / "hook").write_text(f"#!/bin/sh\ntouch '{tmp_path}/called'\nsleep 20\n")
    (tmp_path / "hook").chmod(stat.S_IRWXU)
    for name, value in {
        **{"core.quotePath": "true", "color.ui": "always", "status.showUntrackedFiles": "no", "status.branch": "false"},
        **{"core.fsmonitor": str(tmp_path / "hook"), "status.renames": "copies", "core.pager": "false"},
        **{"alias.status": "log", "status.short": "true", "status.aheadBehind": "true"},
    }.items():
        work.git("config", name, value)
    for name, value in {
        **{"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index.lock", "GIT_PREFIX": "x/", "GIT_WORK_TREE": "/"},
        **{"GIT_ICASE_PATHSPECS": "1", "GIT_GLOB_PATHSPECS": "1", "GIT_TRACE": "1", "GIT_PAGER": "false"},
        **{"GIT_ALTERNATE_OBJECT_DIRECTORIES": "nowhere", "GIT_SHALLOW_FILE": "nowhere", "LANG": "de_DE.UTF-8"},
    }.items():
        monkeypatch.setenv(name, value)
    assert ask(work) == expected
    assert not (tmp_path / "called").exists()


def test_a_partial_clone_fetches_nothing(work: Repository, tmp_path: Path) -> None:
    Repository(tmp_path / "origin.git").git("config", "uploadpack.allowFilter", "true")
    url = f"file://{tmp_path / 'origin.git'}"
    work.git("clone", "--quiet", "--filter=tree:0", url, str(tmp_path / "partial"))
    partial = Repository(tmp_path / "partial")
    push_theirs(work, tmp_path / "there", b=revision(B, A))
    partial.git("fetch", "--quiet", "--filter=tree:0")
    before = sorted((partial.folder / ".git").rglob("*"))
    found = ask(partial)
    assert (found.lacking, found.uncommitted) == ((), ())
    assert found.unknown
    assert sorted((partial.folder / ".git").rglob("*")) == before
