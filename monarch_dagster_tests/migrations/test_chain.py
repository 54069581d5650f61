"""The chain as its files tell it: order, heads, what is wrong with it, and what a name means."""

import random
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.chain import Chain, approved_revisions, load_chain
from monarch_dagster_tests.migrations.support import write_revision


def linear(folder: Path, *names: str) -> Chain:
    """Write a linear chain in an order that says nothing, and read it."""
    pairs = list(zip(names, [None, *names], strict=False))
    random.Random(1).shuffle(pairs)
    for name, below in pairs:
        write_revision(folder / "versions", name, below)
    return load_chain(folder)


def refusal(folder: Path) -> str:
    with pytest.raises(MonarchError) as caught:
        load_chain(folder)
    assert caught.value.remedy
    return caught.value.message


def test_no_folder_is_an_empty_chain(tmp_path: Path) -> None:
    chain = load_chain(tmp_path)
    assert (chain.head, chain.revisions, chain.heads) == (None, (), ())
    assert chain.resolve("head") is None
    assert chain.upto(None) == chain.after(None) == ()


def test_revisions_run_from_base_to_head_whatever_their_files_are_called(tmp_path: Path) -> None:
    chain = linear(tmp_path, "ddd", "aaa", "ccc", "bbb")
    assert [item.revision for item in chain.revisions] == ["ddd", "aaa", "ccc", "bbb"]
    assert chain.head == "bbb"
    assert [item.revision for item in chain.after("aaa")] == ["ccc", "bbb"]
    assert [item.revision for item in chain.upto("aaa")] == ["ddd", "aaa"]


def test_what_alembic_or_an_editor_leaves_in_the_folder_is_no_revision(tmp_path: Path) -> None:
    linear(tmp_path, "a")
    for name in ("__init__.py", ".#2025-a_.py", ".2025-a_.py.x.tmp", "README", "2025-a_.py~"):
        (tmp_path / "versions" / name).write_text("not Python {")
    assert load_chain(tmp_path).head == "a"


def test_a_syntax_error_names_file_line_and_cause(tmp_path: Path) -> None:
    path = write_revision(tmp_path / "versions", "a", None)
    path.write_text(path.read_text() + "\ndef broken(:\n")
    assert refusal(tmp_path).startswith(f"{path}, line 20 is not valid Python: ")


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a\0b"], ids=["not UTF-8", "a NUL"])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, content: bytes) -> None:
    path = write_revision(tmp_path / "versions", "a", None)
    path.write_bytes(content)
    assert f"{path} is not valid Python" in refusal(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "revision = 'a'\n", "revision = 1\ndown_revision = None\n", "revision = 'a'\ndown_revision = ('b', 'c')\n"],
    ids=["nothing", "no down revision", "a number", "a merge of two"],
)
def test_a_file_that_does_not_say_what_it_revises_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "versions" / "x.py"
    path.parent.mkdir()
    path.write_text(text)
    assert refusal(tmp_path).startswith(f"{path} does not say its revision and its one down_revision")


def test_the_header_counts_and_not_a_line_of_sql_that_looks_like_it(tmp_path: Path) -> None:
    write_revision(tmp_path / "versions", "a", None, up='op.execute("""UPDATE t SET\nx = 2""")')
    path = write_revision(tmp_path / "versions", "b", "a")
    path.write_text(path.read_text() + 'TEXT = """\nrevision = 5\ndown_revision = 6\n"""\n')
    assert load_chain(tmp_path).head == "b"


def test_alembics_annotated_header_is_read(tmp_path: Path) -> None:
    path = tmp_path / "versions" / "x.py"
    path.parent.mkdir()
    path.write_text("revision: str = 'a'  # of May\ndown_revision: str | None = None\n")
    assert load_chain(tmp_path).head == "a"


def test_one_id_in_two_files_names_both(tmp_path: Path) -> None:
    write_revision(tmp_path / "versions", "a", None).rename(tmp_path / "versions" / "one.py")
    write_revision(tmp_path / "versions", "a", None)
    assert "The revision a stands in 2 files: 2025_01_01_0000-a_.py, one.py." in refusal(tmp_path)


def test_a_missing_down_revision_is_named(tmp_path: Path) -> None:
    write_revision(tmp_path / "versions", "b", "a")
    assert "revises a, but no file in" in refusal(tmp_path)


def test_a_ring_names_its_files(tmp_path: Path) -> None:
    linear(tmp_path, "a")
    write_revision(tmp_path / "versions", "x", "y")
    write_revision(tmp_path / "versions", "y", "x")
    found = refusal(tmp_path)
    assert "2025_01_01_0000-x_.py, 2025_01_01_0000-y_.py" in found
    assert "-a_.py" not in found


def test_two_heads_are_a_state_that_every_use_of_the_head_refuses(tmp_path: Path) -> None:
    linear(tmp_path, "a", "b")
    write_revision(tmp_path / "versions", "c", "a")
    chain = load_chain(tmp_path)
    assert chain.heads == ("b", "c")
    for use in (lambda: chain.head, lambda: chain.resolve("head"), lambda: chain.without(())):
        with pytest.raises(MonarchError, match="2 heads, expected one") as caught:
            use()
        assert "2025_01_01_0000-b_.py (revises a)" in caught.value.message


def test_two_first_revisions_are_no_merge(tmp_path: Path) -> None:
    linear(tmp_path, "a")
    write_revision(tmp_path / "versions", "b", None)
    with pytest.raises(MonarchError, match=r"2 revisions stand on nothing, expected one: .*a_.py, .*b_.py") as caught:
        load_chain(tmp_path).check_linear()
    assert "down_revision None" in caught.value.remedy


def test_a_revision_is_named_by_its_id_the_start_of_it_head_or_base(tmp_path: Path) -> None:
    chain = linear(tmp_path, "abc", "abd", "abcd")
    assert chain.resolve("abd") == "abd"
    assert chain.resolve("abc") == "abc"  # though it is the start of another one
    assert chain.resolve("abcd") == "abcd"
    assert chain.resolve("head") == "abcd"
    assert chain.resolve("base") is None
    with pytest.raises(MonarchError, match="could be any of abc, abd, abcd"):
        chain.resolve("ab")
    for unknown in ("x", ""):
        with pytest.raises(MonarchError, match=f"no revision {unknown!r} in"):
            chain.resolve(unknown)


def test_approval_names_revisions_or_ranges_without_the_end_nearer_to_base(tmp_path: Path) -> None:
    chain = linear(tmp_path, "a", "b", "c", "d")
    assert approved_revisions(chain, []) == frozenset()
    assert approved_revisions(chain, ["b", " d "]) == {"b", "d"}
    assert approved_revisions(chain, ["a:c"]) == approved_revisions(chain, ["c:a"]) == {"b", "c"}
    assert approved_revisions(chain, ["base:b"]) == {"a", "b"}
    assert approved_revisions(chain, ["head:c"]) == {"d"}
    with pytest.raises(MonarchError, match="no revision 'x'"):
        approved_revisions(chain, ["x"])


def test_what_is_held_back_takes_along_all_that_stands_on_it(tmp_path: Path) -> None:
    chain = linear(tmp_path, "a", "b", "c")
    assert chain.without(()) == chain
    assert chain.without(chain.only(["c"])).head == "b"
    assert chain.without(chain.only(["b"])).head == "a"
    assert chain.without(chain.only(["a", "c"])).head is None


def test_the_key_changes_with_any_byte_below_and_not_with_what_stands_above(tmp_path: Path) -> None:
    chain = linear(tmp_path, "a", "b")
    before = [chain.key(None), chain.key("a"), chain.key("b")]
    assert len(set(before)) == 3
    path = write_revision(tmp_path / "versions", "b", "a", doc="changed")
    changed = load_chain(tmp_path)
    assert [changed.key(None), changed.key("a")] == before[:2]
    assert changed.key("b") != before[2]
    path.unlink()
    assert load_chain(tmp_path).extended(chain.revisions[1]).key("b") == before[2]
