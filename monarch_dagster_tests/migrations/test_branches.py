"""Branches that meet in one chain: twins, which revisions stay, which are moved, and what an earlier rebase left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.branches import Split, replaced_sets, spare_twins, split
from monarch_dagster.migrations.chain import read_chain
from monarch_dagster.migrations.revisions import revision_id, with_replaces
from monarch_dagster_tests.migrations.support import write_revision

MAIN = "origin/main"


def write(
    folder: Path, name: str, down: str | None, *, replaces: Sequence[Collection[str]] = (), part: str = ""
) -> Path:
    """Write an edited revision; `part` is what its header says of its proposal."""
    path = write_revision(folder / "versions", name, down, doc=f"by hand\n\nProposal: {part}" if part else "by hand")
    if replaces:
        path.write_text(with_replaces(path.read_text(), replaces))
    return path


def generated(
    folder: Path,
    down: str | None,
    up: str,
    *,
    part: str = "",
    name: str = "",
    message: str = "",
    replaces: Sequence[Collection[str]] = (),
) -> str:
    """Write a revision whose id is a hash of its operations, as a generated one; return the id."""
    revision = revision_id(down, up, "pass")
    path = write_revision(folder / "versions", revision, down, up=up, doc=f"{message}\n\nProposal: {part}")
    if replaces:
        path.write_text(with_replaces(path.read_text(), replaces))
    path.rename(path.with_name(name)) if name else None
    return revision


def parted(folder: Path, *shared: tuple[str, Collection[str]], onto: str = "", unknown: str = "no git") -> Split | None:
    """Split the chain of a folder as a rebase does."""
    chain = read_chain(folder)
    strays = {item.revision for item in chain.left_out}
    return split(read_chain(folder, follow=True), strays, shared, onto, unknown)


def told(found: Split | None) -> tuple[list[str], list[list[str]], list[str], list[str]]:
    """Return the ids of what stays, is moved, is done and begun."""
    assert found is not None
    return (
        [item.revision for item in found.kept.revisions],
        [[item.revision for item in unit] for unit in found.units],
        [item.revision for item in found.done],
        [item.revision for item in found.begun],
    )


@pytest.fixture
def fork(tmp_path: Path) -> Path:
    """A folder in which the revisions t and o stand on b."""
    for name, down in {"b": None, "t": "b", "o": "b"}.items():
        write(tmp_path, name, down)
    return tmp_path


def test_one_line_is_not_split(tmp_path: Path) -> None:
    assert parted(tmp_path) is None
    write(tmp_path, "a", None)
    write(tmp_path, "b", "a")
    assert parted(tmp_path) is None
    assert parted(tmp_path, onto="b") is None


def test_what_others_share_stays_and_the_rest_is_moved(fork: Path) -> None:
    write(fork, "p", "o")
    found = parted(fork, (MAIN, {"b", "t"}))
    assert told(found) == (["b", "t"], [["o"], ["p"]], [], [])
    assert found is not None
    assert found.branch == MAIN


def test_the_first_branch_that_has_one_of_the_heads_decides(fork: Path) -> None:
    behind, both = ("behind", {"b"}), ("both", {"b", "t", "o"})
    for undecided in (behind, both, ("none", set()), ("other", {"x"})):
        found = parted(fork, undecided, ("mine", {"b", "o"}), (MAIN, {"b", "t"}))
        assert found is not None
        assert (found.branch, found.kept.head) == ("mine", "o")


def test_a_person_is_asked_where_git_does_not_tell_and_both_heads_are_named_with_their_files(fork: Path) -> None:
    with pytest.raises(MonarchError) as caught:
        parted(fork, (MAIN, {"b"}), ("origin/x", {"b", "t", "o"}))
    assert caught.value.message.startswith(
        "The chain has 2 heads, and git does not tell which of them stays: origin/main has 0 of them, "
        "origin/x has 2 of them. Nothing was changed.\n  o: 2025_01_01_0000-o_.py\n  t: 2025_01_01_0000-t_.py"
    )
    assert "monarch rebase --onto o" in caught.value.remedy
    with pytest.raises(MonarchError, match="which of them stays: git is not installed"):
        parted(fork, unknown="git is not installed")


def test_a_person_may_name_either_head_also_against_git(fork: Path) -> None:
    assert told(parted(fork, (MAIN, {"b", "t"}), onto="o")) == (["b", "o"], [["t"]], [], [])
    assert told(parted(fork, onto="t")) == (["b", "t"], [["o"]], [], [])


@pytest.mark.parametrize("onto", ["b", "base", "head"])
def test_what_is_named_must_be_a_head(fork: Path, onto: str) -> None:
    with pytest.raises(MonarchError, match=f"2 heads, and {onto} is none of them") as caught:
        parted(fork, onto=onto)
    assert "  t: " in caught.value.message
    with pytest.raises(MonarchError, match="no revision 'x'"):
        parted(fork, onto="x")


def test_all_other_branches_are_moved_each_in_its_order(fork: Path) -> None:
    write(fork, "a2", "t")
    write(fork, "q", "b")
    write(fork, "r", "q")
    assert told(parted(fork, (MAIN, {"b", "t", "a2"})))[:2] == (["b", "t", "a2"], [["o"], ["q"], ["r"]])


def test_two_first_revisions_are_two_branches(tmp_path: Path) -> None:
    write(tmp_path, "t", None)
    write(tmp_path, "o", None)
    assert told(parted(tmp_path, (MAIN, {"t"})))[:2] == (["t"], [["o"]])


def test_what_stands_behind_what_others_share_already_stays(fork: Path) -> None:
    write(fork, "mine", "t")
    assert told(parted(fork, (MAIN, {"b", "t"})))[:2] == (["b", "t", "mine"], [["o"]])
    write(fork, "too", "t")
    with pytest.raises(MonarchError, match="3 heads"):
        parted(fork, (MAIN, {"b", "t"}))


def test_generated_revisions_of_one_proposal_are_moved_as_one(fork: Path) -> None:
    first = generated(fork, "o", "1", part="p (1 of 3)")
    second = generated(fork, first, "2", part="p (2 of 3)")
    third = generated(fork, second, "3", part="p (3 of 3)")
    fourth = generated(fork, third, "4")
    fifth = generated(fork, fourth, "5")
    moved = [["o"], [first, second, third], [fourth], [fifth]]
    assert told(parted(fork, onto="t"))[1] == moved
    path = next(fork.glob(f"versions/*{second}*"))
    path.write_text(path.read_text().replace("    2\n", "    2, 2\n"))
    assert told(parted(fork, onto="t"))[1] == [["o"], [first], [second], [third], [fourth], [fifth]]


def test_what_an_earlier_rebase_put_behind_the_other_head_is_not_moved_again(fork: Path) -> None:
    write(fork, "p", "o")
    write(fork, "n", "t", replaces=[["o"], ["older"]])
    assert told(parted(fork, (MAIN, {"b", "t"}))) == (["b", "t", "n"], [["p"]], ["o"], [])
    write(fork, "m", "n", replaces=[["p"]])
    assert told(parted(fork, (MAIN, {"b", "t"}))) == (["b", "t", "n", "m"], [], ["o", "p"], [])
    assert told(parted(fork)) == (["b", "t", "n", "m"], [], ["o", "p"], [])


def test_the_head_that_a_person_named_may_have_got_what_an_earlier_rebase_put_behind_it(fork: Path) -> None:
    write(fork, "p", "o")
    path = write(fork, "n", "t", replaces=[["o"]])
    assert told(parted(fork, onto="t")) == (["b", "t", "n"], [["p"]], ["o"], [])
    path.write_text(path.read_text().replace("replaces", "others"))
    with pytest.raises(MonarchError, match="t is none of them"):
        parted(fork, onto="t")


def test_a_change_that_was_written_in_part_is_written_again_as_a_whole(fork: Path) -> None:
    write(fork, "p", "o")
    write(fork, "q", "p")
    q = generated(fork, "t", "q", replaces=[["o"]], part="w (1 of 2)")
    n = generated(fork, q, "n", replaces=[["p", "q"]], part="x (1 of 3)")
    m = generated(fork, n, "m", replaces=[["p", "q"]], part="x (2 of 3)")
    assert told(parted(fork, (MAIN, {"b", "t"}))) == (["b", "t", q], [["p"], ["q"]], ["o"], [n, m])
    last = generated(fork, m, "l", replaces=[["p", "q"]], part="x (3 of 3)")
    assert told(parted(fork, (MAIN, {"b", "t"}))) == (["b", "t", q, n, m, last], [], ["o", "p", "q"], [])
    # With what it replaced gone it is no beginning, whatever is missing.
    for name in ("q", last):
        next(fork.glob(f"versions/*-{name}_*")).unlink()
    assert told(parted(fork, (MAIN, {"b", "t"}))) == (["b", "t", q, n, m], [], ["o", "p"], [])


def test_two_branches_that_went_behind_each_other_keep_what_others_share(fork: Path) -> None:
    write(fork, "n", "t", replaces=[["o"]])
    write(fork, "u", "o", replaces=[["t"]])
    assert told(parted(fork, (MAIN, {"b", "o", "u"}))) == (["b", "o", "u"], [["n"]], ["t"], [])


def test_a_revision_on_one_that_was_replaced_follows_it(fork: Path) -> None:
    write(fork, "n", "t", replaces=[["o"]], part="x (1 of 2)")
    write(fork, "m", "n", replaces=[["o"]], part="x (2 of 2)")
    write(fork, "p", "o")
    write(fork, "q", "p")
    next(fork.glob("versions/*-o_*")).unlink()
    assert "A rebase put m in its place: `monarch rebase`" in read_chain(fork).faults[0].remedy
    assert told(parted(fork)) == (["b", "t", "n", "m"], [["p"], ["q"]], [], [])
    write(fork, "v", "m")
    assert told(parted(fork)) == (["b", "t", "n", "m", "v"], [["p"], ["q"]], [], [])


def test_a_missing_revision_that_nobody_replaced_is_no_head(fork: Path) -> None:
    write(fork, "q", "p")
    found = read_chain(fork, follow=True)
    assert [fault.message.split(" revises ")[1] for fault in found.faults] == [
        f"p, but no file in {fork / 'versions'} has that revision."
    ]


def test_one_revision_stands_for_what_it_replaces_and_for_what_that_replaced(tmp_path: Path) -> None:
    write(tmp_path, "a", None, replaces=[["o"], ["p"]])
    write(tmp_path, "b", "a", replaces=[["q", "r"]])
    one, two = read_chain(tmp_path).revisions
    assert replaced_sets([one], together=False) == [{"a"}, {"o"}, {"p"}]
    assert replaced_sets([one, two], together=True) == [{"a", "b"}, {"o", "q", "r"}]


@pytest.mark.parametrize("shared", [set(), {"one.py"}, {"two.py"}])
def test_of_twins_the_file_stays_that_others_have(tmp_path: Path, shared: set[str]) -> None:
    for name, message in {"one.py": "mine", "two.py": "theirs"}.items():
        generated(tmp_path, None, "same()", name=name, message=message)
    stays = min(shared, default="one.py")
    assert [path.name for path in spare_twins(read_chain(tmp_path), shared)] == [
        name for name in ("one.py", "two.py") if name != stays
    ]


def test_equal_files_are_twins_also_when_edited_and_so_are_those_that_differ_in_comments(tmp_path: Path) -> None:
    path = write(tmp_path, "a", None)
    path.with_name("copy.py").write_bytes(path.read_bytes())
    path.with_name("third.py").write_text(path.read_text() + "# a comment\n")
    assert len(spare_twins(read_chain(tmp_path), {"third.py"})) == 2


def test_of_twins_the_one_stays_that_says_more_of_what_it_stands_for(tmp_path: Path) -> None:
    for name in ("one.py", "two.py"):
        generated(tmp_path, None, "same()", name=name)
    two = tmp_path / "versions" / "two.py"
    two.write_text(with_replaces(two.read_text(), [["x"]]))
    assert [path.name for path in spare_twins(read_chain(tmp_path), {"one.py"})] == ["one.py"]


def test_twins_of_which_one_was_edited_are_named_and_left(tmp_path: Path) -> None:
    revision = generated(tmp_path, None, "same()", name="one.py")
    generated(tmp_path, None, "same()", name="two.py")
    two = tmp_path / "versions" / "two.py"
    two.write_text(two.read_text().replace("same()", "other()"))
    with pytest.raises(MonarchError, match=rf"one\.py and two\.py both are revision {revision}, and do not"):
        spare_twins(read_chain(tmp_path), set())
