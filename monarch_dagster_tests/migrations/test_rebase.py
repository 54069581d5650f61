"""Rebase: after a merge, one branch stands behind the other's head, proved, and comes to the merged sources."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.rebase import Rebased
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.shadow import ShadowServer
from monarch_dagster_tests.migrations.merging import (
    Branch,
    branch,
    contents,
    merge,
    note,
    put_behind,
    table,
    works,
)
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import Project, account

KIND = "kind: Mapped[str | None] = mapped_column(String(10))"
# An index and NOT NULL on a table that is there: three revisions.
STRICT = "kind: Mapped[str] = mapped_column(String(10), index=True)"
RANK = "rank: Mapped[int | None]"
TITLE = 'title: Mapped[str] = mapped_column(Text, info={"renamed_from": "body"})'
# An index whose name does not say its column.
FOUND = "__table_args__ = (Index('found', '{}'), {{'schema': 'landing'}})"
NAME = {"type": "string", "length": 80}
TRIGGER = (
    "CREATE FUNCTION landing.touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "CREATE TRIGGER touch BEFORE UPDATE ON landing.note FOR EACH ROW EXECUTE FUNCTION landing.touch()",
)


# The command in a process that tells, by Python's audit events (PEP 578), which revision files it moves and removes.
WATCH = """
import sys
from pathlib import Path
def watch(event, arguments):
    if event in ("os.rename", "os.remove"):
        path = Path(str(arguments[1 if event == "os.rename" else 0]))
        if path.parent.name == "versions" and path.suffix == ".py" and "schema" in path.parts:
            print("SEEN", event.removeprefix("os."), path.name, flush=True)
sys.addaudithook(watch)
from monarch_dagster.cli import main
main()
"""


@dataclass
class Merged:
    """A merged project, and the branches that met in it."""

    project: Project
    theirs: Branch
    ours: Branch

    @property
    def head(self) -> str:
        """The head that stays."""
        return self.theirs.ids[-1]


@pytest.fixture(scope="session")
def forked(server: EmbeddedCluster, shadows: ShadowServer, tmp_path_factory: pytest.TempPathFactory) -> Merged:
    """A merged project. Theirs adds a table and an index, and a field in the metadata.

    Ours renames the column of that index, makes another strict, in three revisions, adds one with a backfill by hand,
    and has a trigger that is written by hand.
    """
    project = Project(tmp_path_factory.mktemp("forked"), server.url("unused"), shadows, server.url("dagster"))
    project.write_models(note(KIND))
    project.write_meta(account(Name=NAME))
    project.generate(message="base")
    with branch(project) as theirs:
        project.write_models(note(KIND, FOUND.format("body")) + table("memo"))
        project.generate(message="memo")
        project.write_meta(account(Name=NAME, Tier__c=NAME))
        project.generate(message="tier")
    project.write_meta(account(Name=NAME))
    with branch(project) as ours:
        project.write_models(table("note", TITLE, KIND))
        project.generate(message="title")
        project.write_models(table("note", TITLE, STRICT))
        project.generate(message="strict kinds")
        project.write_models(table("note", TITLE, STRICT, RANK))
        item = project.generate(message="rank").revisions[0]
        backfill = sql("UPDATE landing.note SET rank = 1")
        item.path.write_text(item.text.replace("\n\n\ndef downgrade", f"\n    {backfill}\n\n\ndef downgrade"))
        back = sql("DROP FUNCTION landing.touch CASCADE")
        write_revision(project.versions, "hand", item.revision, up=sql(*TRIGGER), back=back)
    project.write_meta(account(Name=NAME, Tier__c=NAME))
    merge(project, table("note", TITLE, STRICT, RANK, FOUND.format("title")) + table("memo"), theirs, ours)
    return Merged(project, theirs, ours)


@pytest.fixture
def merged(project: Project, forked: Merged) -> Merged:
    """The merged project, as if it had been merged here."""
    shutil.copytree(forked.project.root, project.root, dirs_exist_ok=True)
    return Merged(project, forked.theirs, forked.ours)


@dataclass
class Done:
    """A merged project after its rebase, which somebody else did: what came of it, and the revision files."""

    project: Project
    found: Rebased
    files: dict[str, bytes]


@pytest.fixture(scope="session")
def rebased(forked: Merged, tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The merged project after its rebase."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    project = Project(elsewhere, forked.project.target, forked.project.shadows, forked.project.dagster_url)
    shutil.copytree(forked.project.root, elsewhere, dirs_exist_ok=True)
    return Done(project, put_behind(project, forked.head), contents(project))


@pytest.mark.soak
def test_generated_revisions_are_generated_anew_and_edited_ones_kept(
    forked: Merged, rebased: Done, project: Project
) -> None:
    chain, found = rebased.project.chain(), rebased.found
    new = [item.revision for item in found.moved]
    assert [item.revision for item in chain.after(forked.head)] == [item.revision for item in new]
    assert [item.replaces for item in found.moved] == [(name,) for name in forked.ours.ids]
    assert [item.replaces for item in new] == [(frozenset({name}),) for name in forked.ours.ids]
    assert not {item.revision for item in new} & set(forked.ours.ids)
    assert [item.edited for item in new] == [False, False, False, False, True, True]
    strict = [f"strict kinds ({number} of 3)" for number in (1, 2, 3)]
    assert [item.message for item in new] == ["title", *strict, "rank", "by hand"]
    assert (found.head, found.onto, found.sources_covered) == (chain.head, forked.head, True)
    stays = {item.path.name for item in chain.upto(forked.head)}
    before = contents(forked.project)
    assert {name: before[name] for name in stays} == {name: rebased.files[name] for name in stays}
    assert rebased.files.keys() == stays | {item.path.name for item in new}
    assert "new_column_name='title'" in new[0].path.read_text()
    assert sql("UPDATE landing.note SET rank = 1") in new[4].path.read_text()
    # All are proved: applying them proves nothing any more.
    proofs = rebased.project.prover.proofs
    assert all(proofs.holds(chain, item.revision, project.shadows.major) for item in new)
    shutil.copytree(rebased.project.root, project.root, dirs_exist_ok=True)
    works(project)
    assert "trigger touch" in project.facts().relations["table landing.note"]


@pytest.mark.soak
def test_two_engineers_who_rebase_the_same_merge_get_the_same_ids_and_bytes(merged: Merged, rebased: Done) -> None:
    put_behind(merged.project, merged.head)
    assert sorted(contents(merged.project).values()) == sorted(rebased.files.values())


def _states(merged: Merged, rebased: dict[str, bytes]) -> Iterator[dict[str, bytes]]:
    """Give what a rebase can leave when it is interrupted: after each file that it writes, and that it deletes."""
    before = contents(merged.project)
    new = sorted(rebased.keys() - before.keys())
    old = [path.name for path in merged.ours.files]
    for count in range(len(new) + 1):
        yield before | {name: rebased[name] for name in new[:count]}
    for count in range(1, len(old)):
        yield rebased | {name: before[name] for name in old[:-count]}


def _set(project: Project, files: dict[str, bytes]) -> None:
    for path in project.versions.glob("*.py"):
        path.unlink()
    for name, content in files.items():
        (project.versions / name).write_bytes(content)


# After two of the three of one proposal, and among the deletions.
@pytest.mark.parametrize("number", [3, pytest.param(8, marks=pytest.mark.soak)])
def test_an_interrupted_rebase_is_taken_up_by_the_next(merged: Merged, rebased: Done, number: int) -> None:
    state = list(_states(merged, rebased.files))[number]
    _set(merged.project, state)
    put_behind(merged.project, merged.head)
    assert sorted(contents(merged.project).values()) == sorted(rebased.files.values())
    # What was written is not written again under another name.
    assert state.keys() & rebased.files.keys() <= contents(merged.project).keys()
    assert merged.project.generate(dry_run=True).revisions == ()


@pytest.mark.soak
def test_files_are_written_in_chain_order_and_then_the_old_ones_deleted_from_the_last_to_the_first(
    merged: Merged,
) -> None:
    old = [path.name for path in merged.ours.files]
    done = subprocess.run(
        [sys.executable, "-c", WATCH, "rebase", "--onto", merged.head],
        cwd=merged.project.root,
        env=merged.project.environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    seen = [line.split() for line in done.stdout.splitlines() if line.startswith("SEEN ")]
    new = [item.path.name for item in merged.project.chain().after(merged.head)]
    assert [words[1:] for words in seen] == [["rename", name] for name in new] + [
        ["remove", name] for name in old[::-1]
    ]


@pytest.mark.soak
def test_wherever_a_rebase_is_interrupted_the_next_comes_to_the_same(merged: Merged, rebased: Done) -> None:
    for state in _states(merged, rebased.files):
        _set(merged.project, state)
        put_behind(merged.project, merged.head)
        assert sorted(contents(merged.project).values()) == sorted(rebased.files.values())
        assert state.keys() & rebased.files.keys() <= contents(merged.project).keys()


def test_sources_that_are_not_there_are_no_empty_sources(merged: Merged) -> None:
    merged.project.sources.object_meta_path.unlink()
    before = contents(merged.project)
    with pytest.raises(MonarchError, match=r"no .*object_meta\.json"):
        put_behind(merged.project, merged.head)
    assert contents(merged.project) == before
