"""The corpus of transitions, each on a branch: rebased, it is what would be generated behind the other head."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.replay import chain_clone
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.corpus import ALL
from monarch_dagster_tests.migrations.corpus.declare import table
from monarch_dagster_tests.migrations.corpus.drawn import bodies
from monarch_dagster_tests.migrations.corpus.transition import Transition, write
from monarch_dagster_tests.migrations.merging import Branch, branch, contents, grow, merge, put_behind, works
from monarch_dagster_tests.migrations.merging import table as own
from monarch_dagster_tests.support import Project

KIND = "kind: Mapped[str | None] = mapped_column(Enum({}, name='kind'))"
RENAMED = "body: Mapped[str] = mapped_column(Text, info={'renamed_from': 'x'})"
SHORT, LONG = (f"body: Mapped[str] = mapped_column({kind})" for kind in ("String(10)", "Text"))
CHECK = """__table_args__ = (CheckConstraint("body = 'a' OR body = 'b'", name="ab"), {"schema": "landing"})"""
FILLED, NOT_NULL = "c: Mapped[str | None]", "c: Mapped[str] = mapped_column(Text, index=True)"
VIEW = 'CreateView(select(Note.__table__.c.id, Note.__table__.c.body), "v", metadata=Base.metadata, schema="landing")'
MEMO = table("memo", "body Text, info={'renamed_from': 'x'}", info={"renamed_from": "note"})


def note(*lines: str, more: str = "") -> str:
    """Return the model of a table `note` that has these columns beside its id, and `more`."""
    return f"from sqlalchemy.sql.ddl import CreateView\n{own('note', *lines)}{more}\n"


# What two branches make of one table, and what a person makes of both; each branch in steps with a revision each.
MERGES = {
    "labels of an enum": (
        note(KIND.format("'a', 'b'")),
        [note(KIND.format("'a', 'b', 'x'"))],
        [note(KIND.format("'a', 'b', 'y'"))],
        note(KIND.format("'a', 'b', 'x', 'y'")),
    ),
    "a default, and NULL": (
        note(LONG),
        [note(LONG.replace(")", ", server_default='z')"))],
        [note(LONG.replace("[str]", "[str | None]"))],
        note(LONG.replace("[str]", "[str | None]").replace(")", ", server_default='z')")),
    ),
    "a check on a column of another type": (note(SHORT), [note(LONG)], [note(SHORT, CHECK)], note(LONG, CHECK)),
    "another type under a check": (note(SHORT), [note(SHORT, CHECK)], [note(LONG)], note(LONG, CHECK)),
    "another type under a view": (note(LONG), [note(LONG, more=VIEW)], [note(SHORT)], note(SHORT, more=VIEW)),
    "an index that is there, NOT NULL and another one": (
        note(FILLED, LONG),
        [note(FILLED.replace("]", "] = mapped_column(Text, index=True)"), LONG)],
        [note(NOT_NULL, LONG.replace(")", ", index=True)"))],
        note(NOT_NULL, LONG.replace(")", ", index=True)")),
    ),
    "a type that a later revision changes again": (
        note(LONG),
        [note(LONG, "x: Mapped[int | None]")],
        [note(LONG, "c: Mapped[str] = mapped_column(String(10))"), note(LONG, NOT_NULL)],
        note(LONG, "x: Mapped[int | None]", NOT_NULL),
    ),
    "a table that was dropped": (
        note(LONG) + table("other"),
        [note(LONG)],
        [note(LONG) + table("other", "c Text")],
        note(LONG),
    ),
    "a renamed table, and a column that was added to it": (
        note("x: Mapped[str | None] = mapped_column(Text)"),
        [note("x: Mapped[str | None] = mapped_column(Text)", "c: Mapped[int | None]")],
        [MEMO],
        MEMO + "    c: Mapped[int | None]\n",
    ),
    "one rename on both sides": (
        note("x: Mapped[str] = mapped_column(Text)"),
        [note("x: Mapped[str] = mapped_column(Text)", "c: Mapped[int | None]"), note(RENAMED, "c: Mapped[int | None]")],
        [note(RENAMED), note(RENAMED, "d: Mapped[int | None]")],
        note(RENAMED, "c: Mapped[int | None]", "d: Mapped[int | None]"),
    ),
}
CASES = [case for case in ALL if 18 in case.majors and not (case.refused or case.same)]


@pytest.mark.soak
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_transition_that_is_rebased_is_the_one_that_is_generated_behind_the_other_head(
    case: Transition, project: Project
) -> None:
    other = table("bystander")
    write(project, case.before, case.meta_before)
    project.generate()
    with branch(project) as theirs:
        write(project, case.before + other, case.meta_before)
        project.generate()
    with branch(project) as ours:
        write(project, case.after, case.meta_after)
        project.generate()
    write(project, case.after + other, case.meta_after)
    for path, content in theirs.files.items():
        path.write_bytes(content)
    wanted = [(item.revision, item.text) for item in project.generate(dry_run=True).revisions]
    for path, content in ours.files.items():
        path.write_bytes(content)
    found = put_behind(project, theirs.ids[-1])
    texts = [item.revision.path.read_text() for item in found.moved]
    plain = ["".join(line for line in text.splitlines(True) if not line.startswith("replaces = ")) for text in texts]
    assert [item.revision.revision for item in found.moved] == [name for name, _ in wanted]
    assert plain == [text for _, text in wanted]
    assert found.sources_covered
    assert len(contents(project)) == 2 + len(wanted)


@pytest.mark.soak
@pytest.mark.parametrize("name", MERGES)
def test_two_changes_of_one_table_come_to_what_a_person_makes_of_both(name: str, project: Project) -> None:
    base, theirs, ours, both = MERGES[name]
    project.write_models(base)
    project.generate()
    branches = [grow(project, *theirs), grow(project, *ours)]
    merge(project, both, *branches)
    found = put_behind(project, branches[0].ids[-1])
    assert found.sources_covered
    works(project)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@given(before=bodies(), theirs=bodies(), ours=bodies())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_two_branches_did_the_rebase_works_or_is_refused_and_changes_nothing(
    server: EmbeddedCluster, shadows: ShadowServer, before: str, theirs: str, ours: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="monarch-merge-") as folder:
        project = Project(Path(folder), server.url("unused"), shadows, server.url("dagster"))
        write(project, before, None)
        try:
            project.generate()
            stays, moves = (_grown(project, body) for body in (theirs, ours))
        except MonarchError:
            return  # that a change is refused is another test's
        for path, content in (stays.files | moves.files).items():
            path.write_bytes(content)
        files = contents(project)
        if not stays.ids or not moves.ids or stays.ids == moves.ids:
            return  # there is one head
        try:
            found = put_behind(project, stays.ids[-1])
        except MonarchError as error:
            event("refused")
            assert "Nothing was changed" in error.message
            assert contents(project) == files
            return
        event("vanished" if found.vanished else "rebased")
        head = project.chain().head
        assert (head, put_behind(project, "").moved) == (found.head, ())
        with chain_clone(shadows, project.chain(), head):
            pass  # it runs from the beginning


def _grown(project: Project, body: str) -> Branch:
    with branch(project) as made:
        write(project, body, None)
        project.generate()
    return made
