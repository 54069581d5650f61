"""What git tells of the branches that others share, in every kind of work tree, and without a network."""

from pathlib import Path

import pytest

from monarch_dagster.migrations.git import Branch, GitError, default_branches, upstream_branch
from monarch_dagster_tests.migrations.repositories import Repository, clone

ONE = {"one.py": b"1"}


@pytest.fixture
def work(tmp_path: Path) -> Repository:
    """A clone whose upstream branch has a file that its folder has too."""
    made = clone(tmp_path / "origin.git", tmp_path / "work")
    made.commit("one", one="1")
    made.git("push", "--quiet")
    return made


def test_the_default_branch_has_what_was_pushed_and_not_what_is_only_here(work: Repository) -> None:
    work.commit("two", two="2")
    (work.versions / "three.py").write_text("3")
    assert default_branches(work.versions) == [Branch("origin/main", ONE)]
    assert upstream_branch(work.versions) == Branch("origin/main", ONE)


def test_what_was_not_fetched_is_not_known(work: Repository, tmp_path: Path) -> None:
    other = work.clone(tmp_path / "other")
    other.commit("two", two="2")
    other.git("push", "--quiet")
    assert default_branches(work.versions) == [Branch("origin/main", ONE)]
    work.git("fetch", "--quiet")
    assert default_branches(work.versions) == [Branch("origin/main", {**ONE, "two.py": b"2"})]


def test_a_branch_that_was_pushed_has_an_upstream_of_its_own_beside_the_default_branch(work: Repository) -> None:
    work.git("checkout", "--quiet", "-b", "feature/x")
    assert upstream_branch(work.versions) is None
    work.commit("two", two="2")
    work.git("push", "--quiet", "--set-upstream", "origin", "feature/x")
    assert upstream_branch(work.versions) == Branch("origin/feature/x", {**ONE, "two.py": b"2"})
    assert default_branches(work.versions) == [Branch("origin/main", ONE)]


def test_an_upstream_may_be_a_branch_of_this_repository(work: Repository) -> None:
    work.commit("two", two="2")
    work.git("checkout", "--quiet", "-b", "feature", "--track", "main")
    work.commit("three", three="3")
    assert upstream_branch(work.versions) == Branch("main", {**ONE, "two.py": b"2"})


def test_the_default_branch_is_found_by_its_usual_names_where_the_remote_does_not_say(work: Repository) -> None:
    work.git("remote", "set-head", "origin", "--delete")
    assert default_branches(work.versions) == [Branch("origin/main", ONE)]
    work.git("update-ref", "refs/remotes/origin/trunk", "origin/main")
    work.git("update-ref", "-d", "refs/remotes/origin/main")
    assert default_branches(work.versions) == []


def test_each_remote_has_a_default_branch(work: Repository, tmp_path: Path) -> None:
    fork = clone(tmp_path / "fork.git", tmp_path / "fork")
    fork.commit("two", two="2")
    fork.git("push", "--quiet")
    work.git("remote", "add", "fork", str(tmp_path / "fork.git"))
    work.git("fetch", "--quiet", "fork")
    assert default_branches(work.versions) == [Branch("fork/main", {"two.py": b"2"}), Branch("origin/main", ONE)]


def test_without_a_branch_checked_out_there_is_no_upstream(work: Repository) -> None:
    work.git("checkout", "--quiet", "--detach")
    assert upstream_branch(work.versions) is None
    assert default_branches(work.versions) == [Branch("origin/main", ONE)]


def test_an_upstream_that_is_gone_is_none(work: Repository) -> None:
    work.git("update-ref", "-d", "refs/remotes/origin/main")
    assert upstream_branch(work.versions) is None


def test_a_work_tree_of_its_own_is_read_as_the_first_one(work: Repository, tmp_path: Path) -> None:
    work.git("worktree", "add", "--quiet", str(tmp_path / "second"), "-b", "second", "--track", "origin/main")
    assert upstream_branch(Repository(tmp_path / "second").versions) == Branch("origin/main", ONE)


def test_a_folder_that_the_branch_does_not_have_is_empty_there(work: Repository) -> None:
    folder = work.folder / "elsewhere" / "versions"
    folder.mkdir(parents=True)
    assert default_branches(folder) == [Branch("origin/main", {})]


def test_the_folder_may_be_the_work_tree_itself_or_a_link_into_it(work: Repository, tmp_path: Path) -> None:
    (work.folder / "top.py").write_text("0")
    work.commit("top")
    work.git("push", "--quiet")
    assert default_branches(work.folder) == [Branch("origin/main", {"top.py": b"0"})]
    (tmp_path / "link").symlink_to(work.versions)
    assert default_branches(tmp_path / "link") == [Branch("origin/main", ONE)]


def test_contents_are_read_byte_by_byte_and_other_files_are_left_out(work: Repository) -> None:
    odd = {"a b.py": b"x\r\n\n", "empty.py": b"", "umläut.py": b"\xff\x00 blob 3\n"}
    for name, content in odd.items():
        (work.versions / name).write_bytes(content)
    (work.versions / "README").write_text("no revision")
    (work.versions / "folder.py").mkdir()
    (work.versions / "folder.py" / "x.py").write_text("deeper")
    work.commit("odd")
    work.git("push", "--quiet")
    assert default_branches(work.versions) == [Branch("origin/main", ONE | odd)]


def test_in_a_hook_git_is_not_led_astray(work: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GIT_DIR": ".git", "GIT_INDEX_FILE": ".git/index", "GIT_PREFIX": "x/"}.items():
        monkeypatch.setenv(name, value)
    assert default_branches(work.versions) == [Branch("origin/main", ONE)]


def test_a_persons_configuration_does_not_change_what_is_read(work: Repository) -> None:
    for name, value in {"core.quotePath": "true", "color.ui": "always", "core.pager": "false"}.items():
        work.git("config", name, value)
    assert upstream_branch(work.versions) == Branch("origin/main", ONE)


@pytest.mark.parametrize("ask", [default_branches, upstream_branch])
def test_a_folder_in_no_work_tree_and_a_machine_without_git_are_told(
    ask: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert callable(ask)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(GitError, match="not a git repository"):
        ask(tmp_path)
    with pytest.raises(GitError, match="cannot change to"):
        ask(tmp_path / "missing")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="git is not installed"):
        ask(tmp_path)


def test_a_repository_without_a_commit_has_no_branches(tmp_path: Path) -> None:
    Repository(tmp_path).git("init", "--quiet")
    assert default_branches(tmp_path) == []
    assert upstream_branch(tmp_path) is None
