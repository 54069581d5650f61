"""What becomes of a change behind another head: what is left of it, what it stands for, and what cannot be done."""

from __future__ import annotations

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.merging import (
    A,
    B,
    Branch,
    C,
    Forks,
    branch,
    contents,
    grow,
    merge,
    note,
    put_behind,
    table,
    works,
)
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import Project

TITLE = 'title: Mapped[str] = mapped_column(Text, info={"renamed_from": "body"})'


def test_only_what_the_other_branch_does_not_do_is_left_of_a_change_and_a_dry_run_tells_it(forks: Forks) -> None:
    theirs, ours = forks.merge(note(B, C), "b", "b+c")
    before = contents(forks.project)
    told = put_behind(forks.project, theirs.ids[0], dry_run=True)
    assert contents(forks.project) == before
    found = put_behind(forks.project, theirs.ids[0])
    assert (told.head, told.sources_covered) == (found.head, True)
    assert [item.replaces for item in found.moved] == [tuple(ours.ids)]
    text = found.moved[0].revision.path.read_text()
    assert "'c'" in text
    assert "'b'" not in text
    assert text.startswith('"""two columns\n')
    works(forks.project)


@pytest.mark.soak
def test_a_target_that_has_the_branch_applied_is_moved_along(forks: Forks) -> None:
    project = forks.project
    [ours] = forks.merge(note(A), "a")
    assert project.apply().after == ours.ids[0]
    project.execute("INSERT INTO landing.note (body, a) VALUES ('kept', 1)")
    [theirs] = forks.merge(note(A, B), "b")
    found = put_behind(project, theirs.ids[0])
    assert project.apply().after == found.head
    assert project.execute("SELECT body, a, b FROM landing.note") == [("kept", 1, None)]
    works(project)


def test_of_a_change_that_the_other_branch_makes_too_nothing_is_left(forks: Forks) -> None:
    theirs, ours = forks.merge(note(A, B), "ab", "b")
    found = put_behind(forks.project, theirs.ids[1])
    assert [item.revision for item in found.vanished] == ours.ids
    assert (found.moved, found.head, found.sources_covered) == ((), theirs.ids[1], True)
    works(forks.project)


@pytest.mark.soak
def test_all_other_heads_are_put_behind_one(forks: Forks) -> None:
    first, stays, third = forks.merge(note(A, B, C), "a", "b", "c")
    found = put_behind(forks.project, stays.ids[0])
    assert {item.replaces for item in found.moved} == {tuple(first.ids), tuple(third.ids)}
    assert forks.project.chain().heads == (found.head,)
    works(forks.project)


@pytest.mark.soak
def test_a_branch_is_rebased_again_and_stands_for_all_that_it_ever_was(forks: Forks) -> None:
    first, ours = forks.merge(note(A, C), "a", "c")
    once = put_behind(forks.project, first.ids[0]).moved[0]
    [second] = forks.merge(note(A, B, C), "b")
    twice = put_behind(forks.project, second.ids[0])
    assert twice.moved[-1].revision.replaces == (frozenset({once.revision.revision}), frozenset(ours.ids))
    works(forks.project)


def test_a_revision_on_one_that_somebody_else_rebased_follows_it(forks: Forks) -> None:
    theirs, ours = forks.merge(note(A, B), "b", "ac")
    last = next(path for path in ours.files if ours.ids[1] in path.name)
    last.unlink()
    put_behind(forks.project, theirs.ids[0])
    merge(forks.project, note(A, B, C), Branch(files={last: ours.files[last]}))
    with pytest.raises(MonarchError, match=f"revises {ours.ids[0]}, but no file"):
        forks.project.generate()
    assert [item.replaces for item in put_behind(forks.project, "").moved] == [(ours.ids[1],)]
    works(forks.project)


def test_twins_below_two_heads_are_made_one_first(forks: Forks) -> None:
    theirs, ours = forks.merge(note(A, B, C), "ab", "ac")
    copy = next(iter(ours.files))
    copy.with_name(f"copy_of_{copy.name}").write_bytes(ours.files[copy])
    assert theirs.ids[0] == ours.ids[0]
    found = put_behind(forks.project, theirs.ids[1])
    assert len(found.deleted) == 1
    assert [item.replaces for item in found.moved] == [(ours.ids[1],)]
    works(forks.project)


def test_twins_alone_are_told_and_all_but_one_deleted(forks: Forks) -> None:
    [item] = forks.project.chain().revisions
    twin = item.path.with_name("twin.py")
    twin.write_text(item.path.read_text().replace("add 1 schema", "another message"))
    before = contents(forks.project)
    assert put_behind(forks.project, "", dry_run=True).deleted == (twin,)
    assert contents(forks.project) == before
    found = put_behind(forks.project, "")
    assert (found.deleted, found.moved, found.onto, found.head) == ((twin,), (), None, item.revision)
    assert put_behind(forks.project, "").deleted == ()


@pytest.mark.soak
def test_where_both_changed_one_thing_ours_wins_and_what_the_models_say_else_is_left_to_generate(
    project: Project,
) -> None:
    project.write_models(note())
    project.generate()
    theirs = grow(project, note("c: Mapped[str | None] = mapped_column(String(10))"))
    ours = grow(project, note("c: Mapped[str | None] = mapped_column(String(20))"))
    merge(project, note("c: Mapped[str | None] = mapped_column(String(30))"), theirs, ours)
    found = put_behind(project, theirs.ids[-1])
    assert found.sources_covered is False
    assert "character varying(20)" in found.moved[0].revision.path.read_text()
    [change] = project.generate().changes
    assert (change.found, change.expected) == ("character varying(20)", "character varying(30)")
    works(project)


@pytest.mark.soak
def test_a_rename_stays_a_rename_also_of_what_the_other_branch_put_on_it(project: Project) -> None:
    project.write_models(note())
    project.generate()
    theirs = grow(project, note("__table_args__ = (Index('found', 'body'), {'schema': 'landing'})"))
    ours = grow(project, table("note", TITLE), table("note", TITLE.replace("Text", "String(80)")))
    args = "__table_args__ = (Index('found', 'title'), {'schema': 'landing'})"
    merge(project, table("note", TITLE.replace("Text", "String(80)"), args), theirs, ours)
    found = put_behind(project, theirs.ids[-1])
    assert "new_column_name='title'" in found.moved[0].revision.path.read_text()
    assert "drop" not in found.moved[0].revision.path.read_text()
    assert found.sources_covered
    works(project)


@pytest.mark.soak
def test_a_generated_change_that_cannot_be_made_behind_the_other_head_is_named_and_nothing_written(
    project: Project,
) -> None:
    project.write_models(note() + table("memo"))
    project.generate()
    theirs = grow(project, note())
    key = 'memo_id: Mapped[int | None] = mapped_column(ForeignKey("landing.memo.id"))'
    ours = grow(project, note(key) + table("memo"))
    merge(project, note("memo_id: Mapped[int | None]"), theirs, ours)
    before = contents(project)
    with pytest.raises(MonarchError) as caught:
        put_behind(project, theirs.ids[-1])
    for path in ours.files:
        assert path.name in caught.value.message
    assert f"cannot be put behind {theirs.ids[-1]}. Nothing was changed." in caught.value.message
    assert 'relation "landing.memo" does not exist' in caught.value.message
    assert contents(project) == before
    # As the remedy has it.
    for path in ours.files:
        path.unlink()
    assert put_behind(project, "").moved == ()
    project.generate()
    works(project)


def test_an_edited_revision_that_does_not_run_behind_the_other_head_is_named_and_nothing_written(forks: Forks) -> None:
    project, base = forks.project, forks.project.chain().head
    [theirs] = forks.merge(note(A), "a")
    add, drop = sql("ALTER TABLE landing.note ADD a int"), sql("ALTER TABLE landing.note DROP a")
    path = write_revision(project.versions, "hand", base, up=add, back=drop)
    before = contents(project)
    with pytest.raises(MonarchError) as caught:
        put_behind(project, theirs.ids[0])
    assert caught.value.message.startswith(f"{path.name} cannot be put behind {theirs.ids[0]}. Nothing was changed.")
    assert f"{path.name} does not run on a shadow (its upgrade)" in caught.value.message
    assert 'column "a" of relation "note" already exists' in caught.value.message
    assert contents(project) == before
    # As the remedy has it.
    write_revision(project.versions, "hand", base, up=add.replace("ADD a", "ADD IF NOT EXISTS a"))
    assert put_behind(project, theirs.ids[0]).sources_covered


def test_a_revision_that_is_still_empty_is_moved_and_stays_unproved(forks: Forks) -> None:
    with branch(forks.project) as ours:
        forks.project.generate(empty=True, message="to be filled in")
    merge(forks.project, note(A), ours)
    [theirs] = forks.merge(note(A), "a")
    moved = put_behind(forks.project, theirs.ids[0]).moved[0].revision
    assert (moved.empty, moved.message) == (True, "to be filled in")
    with pytest.raises(MonarchError, match="does nothing yet"):
        forks.project.apply()


@pytest.mark.soak
def test_what_an_edited_revision_does_and_no_model_says_is_still_judged_before_it_is_applied(project: Project) -> None:
    project.write_models(note())
    base = project.generate().head
    theirs = grow(project, note("c: Mapped[int | None]"))
    up, back = sql("ALTER TABLE landing.note ADD d int"), sql("ALTER TABLE landing.note DROP d")
    write_revision(project.versions, "hand", base, up=up, back=back)
    merge(project, note("c: Mapped[int | None]"), theirs)
    assert put_behind(project, theirs.ids[-1]).sources_covered is False
    with pytest.raises(MonarchError, match="column d is in no model"):
        project.apply()


def test_files_that_are_no_chain_are_refused_as_everywhere(forks: Forks) -> None:
    write_revision(forks.project.versions, "lost", "nobody")
    before = contents(forks.project)
    with pytest.raises(MonarchError, match="revises nobody, but no file"):
        put_behind(forks.project, "")
    (forks.project.versions / "torn.py").write_text("<<<<<<< HEAD\n")
    with pytest.raises(MonarchError, match=r"torn\.py, line 1 is not valid Python"):
        put_behind(forks.project, "")
    assert before.items() <= contents(forks.project).items()
