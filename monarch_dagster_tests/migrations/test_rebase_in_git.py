"""The command in a repository: which revisions are this branch's, after each way in which branches are merged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from monarch_dagster.console import Terminal, show_rebase
from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.merging import A, B, C, Forks, contents, note, put_behind
from monarch_dagster_tests.migrations.repositories import Repository, clone
from monarch_dagster_tests.support import squeeze

# Both change one line of the models; a person puts them right afterwards.
PULL = ("pull", "--quiet", "--no-rebase", "--no-edit", "-X", "ours")
MERGE = ("merge", "--quiet", "--no-edit", "-X", "ours")


@pytest.fixture
def here(forks: Forks, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """The project as a clone, pushed to its origin."""
    work = clone(tmp_path_factory.mktemp("git") / "origin.git", tmp_path / "unused")
    (tmp_path / "unused" / ".git").rename(tmp_path / ".git")
    (tmp_path / "unused").rmdir()
    (tmp_path / ".gitignore").write_text(".monarch\n__pycache__\n")
    work.folder = tmp_path
    work.commit("base")
    work.git("push", "--quiet")
    return work


def write(work: Repository, forks: Forks, name: str, models: str) -> None:
    """Commit a branch's revisions and models."""
    for path, content in forks.branches[name].files.items():
        (work.versions / path.name).write_bytes(content)
    header = (work.folder / "client_models.py").read_text().partition("class Note")[0]
    (work.folder / "client_models.py").write_text(header + models)
    work.commit(name)


def push_theirs(here: Repository, forks: Forks, folder: Path) -> None:
    """Have somebody else push the branch a to main."""
    there = here.clone(folder)
    write(there, forks, "a", note(A))
    there.git("push", "--quiet")


def test_after_a_pull_what_was_not_pushed_goes_behind_what_was(
    here: Repository, forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> None:
    push_theirs(here, forks, tmp_path_factory.mktemp("there") / "work")
    write(here, forks, "b", note(B))
    here.git(*PULL)
    forks.project.write_models(note(A, B))
    stays, [moved] = forks.branches["a"].ids[0], forks.branches["b"].ids
    found = json.loads(forks.project.monarch("rebase", "--json").stdout)
    assert found.keys() >= {"onto", "moved", "vanished", "deleted", "head", "sources_covered"}
    assert (found["onto"], found["branch"], found["sources_covered"]) == (stays, "origin/main", True)
    assert found["moved"] == [{"revision": found["head"], "replaces": [moved], "path": found["moved"][0]["path"]}]
    assert Path(found["moved"][0]["path"]).is_file()
    assert here.git("diff", "--name-only", "--diff-filter=D").count("\n") == 0  # one file went
    again = put_behind(forks.project, "")
    assert (again.onto, again.moved, again.head) == (None, (), found["head"])
    assert forks.project.generate(dry_run=True).revisions == ()


@pytest.mark.soak
def test_a_branch_that_was_pushed_goes_behind_the_default_branch_that_it_merged(
    here: Repository, forks: Forks, tmp_path_factory: pytest.TempPathFactory
) -> None:
    here.git("checkout", "--quiet", "-b", "feature")
    write(here, forks, "b", note(B))
    here.git("push", "--quiet", "--set-upstream", "origin", "feature")
    push_theirs(here, forks, tmp_path_factory.mktemp("there") / "work")
    here.git("fetch", "--quiet")
    here.git(*MERGE, "origin/main")
    forks.project.write_models(note(A, B))
    found = put_behind(forks.project, "", dry_run=True)
    assert (found.onto, found.branch) == (forks.branches["a"].ids[0], "origin/main")
    # On the branch of another, whom the default branch says nothing of, its own upstream decides.
    here.git("reset", "--quiet", "--hard", "HEAD^")
    write(here, forks, "c", note(C))
    found = put_behind(forks.project, "", dry_run=True)
    assert (found.onto, found.branch) == (forks.branches["b"].ids[0], "origin/feature")
    assert [item.replaces for item in found.moved] == [tuple(forks.branches["c"].ids)]


@pytest.mark.soak
def test_of_twins_the_file_that_was_pushed_stays(here: Repository, forks: Forks) -> None:
    [item] = forks.project.chain().revisions
    twin = item.path.with_name("1.py")  # the first by name
    twin.write_text(item.path.read_text().replace("add 1 schema", "the same"))
    told = squeeze(forks.project.monarch("rebase").stdout)
    assert "1.py: another file has the same revision; this one goes." in told
    assert f"Nothing to rebase: the chain has one head ({item.revision})." in told
    assert list(contents(forks.project)) == [item.path.name]


@pytest.mark.soak
def test_where_git_does_not_tell_the_heads_are_listed_and_a_person_says(
    here: Repository, forks: Forks, monkeypatch: pytest.MonkeyPatch
) -> None:
    forks.merge(note(A, B), "a", "b")
    before = contents(forks.project)
    assert_asked(forks, "origin/main has 0 of them")
    here.git("remote", "remove", "origin")
    assert_asked(forks, "no branch of a remote was fetched")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(here.folder.parent))
    (here.folder / ".git").rename(here.folder / "elsewhere")
    assert_asked(forks, "not a git repository")
    monkeypatch.setenv("PATH", str(here.folder))
    assert_asked(forks, "git is not installed")
    assert contents(forks.project) == before


def assert_asked(forks: Forks, reason: str) -> None:
    """The error says why git does not tell, lists the heads with their files, and how to name one."""
    with pytest.raises(MonarchError) as caught:
        put_behind(forks.project, "")
    assert f"2 heads, and git does not tell which of them stays: {reason}" in caught.value.message
    for name in "ab":
        [(path, _)] = forks.branches[name].files.items()
        assert f"  {forks.branches[name].ids[0]}: {path.name}" in caught.value.message
    assert "monarch rebase --onto" in caught.value.remedy


@pytest.mark.soak
def test_people_are_told_what_was_put_where_and_what_to_do_next(forks: Forks) -> None:
    theirs, twice, ours = forks.merge(note(A, B, C, "more: Mapped[int | None]"), "ab", "b", "c")
    done = forks.project.monarch("rebase", "--onto", theirs.ids[1][:6])
    shown = squeeze(done.stdout)
    assert f"Put behind {theirs.ids[1]}" in shown
    assert ours.ids[0] in shown
    assert str(forks.project.chain().head) in shown
    assert f"{twice.ids[0]}: nothing is left to do behind {theirs.ids[1]}; its file goes." in shown
    assert "moved along by monarch run-migrations" in done.stderr
    assert "Next: monarch generate-migrations" in done.stderr


@pytest.mark.soak
def test_of_a_dry_run_it_is_told_that_nothing_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    found = {"onto": "t", "branch": "origin/main", "moved": [{"revision": "n", "replaces": ["o"], "path": "x/n.py"}]}
    rest = {"vanished": ["v"], "done": ["d"], "deleted": [], "head": "n", "sources_covered": False}
    show_rebase(Terminal(), found | rest, dry_run=True)
    shown = capsys.readouterr()
    assert "Would be put behind t, which origin/main has" in shown.out
    assert "v: nothing is left to do behind t; its file would go." in shown.out
    assert "d: an earlier rebase put it behind the other head; its file would go." in shown.out
    assert shown.err.endswith("No file was changed.\n")
