"""A proposal that nobody has edited, committed or applied is superseded whole by the next one; any other stays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.apply import apply_revisions
from monarch_dagster.migrations.generate import Proposal
from monarch_dagster.migrations.revisions import Revision
from monarch_dagster.migrations.superseding import OpenProposals, is_as_generated
from monarch_dagster.postgres.engines import connect
from monarch_dagster.postgres.locks import apply_lock
from monarch_dagster_tests.migrations.repositories import Repository
from monarch_dagster_tests.support import SMALL_MODELS, Project, account

TITLE = "    title: Mapped[str | None] = mapped_column(Text)\n"
OWNER = "    owner: Mapped[str | None] = mapped_column(Text, index=True)\n"
UNREACHABLE = "postgresql+psycopg://me:s3cr3t@127.0.0.1:1/none"


def generate(project: Project, **options: object) -> Proposal:
    """Propose as the asset and the command do."""
    return project.generate(open_proposals=OpenProposals(project.target), **options)


def files(project: Project) -> set[str]:
    return {path.name for path in project.versions.glob("*.py")}


@pytest.fixture
def proposed(project: Project) -> Project:
    """A project with an applied revision and, behind it, a proposal of several revisions."""
    generate(project)
    project.apply()
    project.write_models(SMALL_MODELS + OWNER)
    assert len(generate(project).revisions) == 2
    return project


def test_the_next_proposal_supersedes_it_whole(proposed: Project) -> None:
    first, *old = proposed.chain().revisions
    proposed.write_models(SMALL_MODELS + TITLE)
    proposal = generate(proposed)
    assert [item.revision for item in proposal.superseded] == [item.revision for item in old]
    assert proposal.head_before == first.revision
    assert files(proposed) == {first.path.name, *(item.path.name for item in proposal.revisions)}
    proposed.apply()
    assert "column title" in proposed.facts().relations["table landing.note"]


def test_where_a_change_is_taken_back_its_proposal_goes_too(proposed: Project) -> None:
    first = proposed.chain().revisions[0]
    proposed.write_models(SMALL_MODELS)
    proposal = generate(proposed)
    assert not proposal.revisions
    assert len(proposal.superseded) == 2
    assert files(proposed) == {first.path.name}


@pytest.mark.soak
def test_proposals_that_were_piled_up_go_together(project: Project) -> None:
    generate(project)
    project.apply()
    for body in (TITLE, TITLE + OWNER):
        project.write_models(SMALL_MODELS + body)
        project.generate()  # as plain Alembic would pile them
    project.write_meta(account())
    assert len(generate(project).superseded) == 3
    assert len(project.chain().revisions) > 1
    assert project.apply().after == project.chain().head


def test_a_proposal_that_still_is_what_the_sources_ask_for_stays_as_it_is(proposed: Project) -> None:
    before = files(proposed)
    assert not generate(proposed).revisions
    assert files(proposed) == before


def test_the_first_revision_is_superseded_too(project: Project) -> None:
    generate(project)
    project.write_models(SMALL_MODELS + TITLE)
    proposal = generate(project)
    assert (proposal.head_before, len(proposal.superseded)) == (None, 1)
    assert len(project.chain().revisions) == 1


def test_a_dry_run_and_a_proposal_that_fails_delete_nothing(proposed: Project) -> None:
    before = files(proposed)
    proposed.write_models(SMALL_MODELS + TITLE)
    assert len(generate(proposed, dry_run=True).superseded) == 2
    proposed.write_models("broken\n")
    with pytest.raises(Exception, match="broken"):
        generate(proposed)
    assert files(proposed) == before


def edit_operation(project: Project) -> None:
    path = project.chain().revisions[-1].path
    path.write_text(path.read_text().replace("def upgrade() -> None:\n", "def upgrade() -> None:\n    print()\n"))


def edit_note(project: Project) -> None:
    path = project.chain().revisions[1].path
    path.write_text(path.read_text().replace("\nRevises:", "\nReviewed by Ada.\nRevises:", 1))


def apply_half(project: Project) -> None:
    project.apply(to=project.chain().revisions[1].revision)


def commit(project: Project) -> None:
    repository = Repository(project.root)
    repository.git("init", "--quiet")
    repository.git("add", str(project.chain().revisions[1].path))


@pytest.mark.parametrize(
    "taken_up", [pytest.param(edit_operation, marks=pytest.mark.soak), edit_note, apply_half, commit]
)
def test_what_somebody_has_taken_up_stays(proposed: Project, taken_up: Callable[[Project], None]) -> None:
    taken_up(proposed)
    before = files(proposed)
    proposed.write_models(SMALL_MODELS + OWNER + TITLE)
    proposal = generate(proposed)
    assert not proposal.superseded
    assert files(proposed) == before | {item.path.name for item in proposal.revisions}


@pytest.mark.parametrize(
    "taken_up",
    [edit_note, *(pytest.param(each, marks=pytest.mark.soak) for each in (apply_half, commit))],
)
def test_what_is_taken_up_while_its_successor_is_proved_stays(
    proposed: Project, taken_up: Callable[[Project], None]
) -> None:
    @dataclass(frozen=True)
    class Meanwhile(OpenProposals):
        """Somebody takes it up after it was found to be open."""

        @contextmanager
        def holding(self, items: Sequence[Revision]) -> Iterator[bool]:
            taken_up(proposed)
            with super().holding(items) as still:
                yield still

    before = files(proposed)
    proposed.write_models(SMALL_MODELS + OWNER + TITLE)
    proposal = proposed.generate(open_proposals=Meanwhile(proposed.target))
    assert not proposal.superseded
    assert files(proposed) == before | {item.path.name for item in proposal.revisions}
    assert proposed.apply().after == proposed.chain().head


def test_a_run_that_began_before_it_was_superseded_applies_nothing_of_it(proposed: Project) -> None:
    chain = proposed.chain()
    proposed.write_models(SMALL_MODELS + TITLE)
    generate(proposed)
    with pytest.raises(MonarchError, match="superseded by a new proposal, since this run began"):
        apply_revisions(chain, proposed.target, proposed.prover)
    assert proposed.apply().after == proposed.chain().head


def test_where_git_is_not_installed_a_work_tree_is_left_alone(
    proposed: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    Repository(proposed.root).git("init", "--quiet")
    monkeypatch.setenv("PATH", str(proposed.versions))
    assert OpenProposals(proposed.target).find(proposed.chain()) == ()


def test_where_the_target_cannot_be_asked_it_stays(proposed: Project, caplog: pytest.LogCaptureFixture) -> None:
    from sqlalchemy import make_url

    assert OpenProposals(make_url(UNREACHABLE)).find(proposed.chain()) == ()
    assert "What was proposed before stays" in caplog.text
    assert "s3cr3t" not in caplog.text


def test_while_the_target_is_migrated_it_stays(proposed: Project) -> None:
    with apply_lock(proposed.target, print):
        assert OpenProposals(proposed.target).find(proposed.chain()) == ()
    assert len(OpenProposals(proposed.target).find(proposed.chain())) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to another user")
def test_a_repository_of_another_user_is_not_taken_for_none(proposed: Project) -> None:
    Repository(proposed.root).git("init", "--quiet")
    os.chown(proposed.root, 12345, 12345)
    os.chown(proposed.root / ".git", 12345, 12345)
    assert OpenProposals(proposed.target).find(proposed.chain()) == ()


def test_every_generated_file_reads_as_generated(project: Project) -> None:
    project.generate(message='a "quoted" \\ message\nof two lines é')
    project.apply()
    project.write_models(SMALL_MODELS.replace("mapped_column(Text)", "mapped_column(String(3))") + OWNER)
    project.generate()
    assert [is_as_generated(item) for item in project.chain().revisions] == [True] * len(project.chain().revisions)
    project.generate(empty=True)
    assert not is_as_generated(project.chain().revisions[-1])


@pytest.mark.soak
def test_the_command_tells_what_it_superseded(proposed: Project) -> None:
    old = [item.path.name for item in proposed.chain().revisions[1:]]
    proposed.write_models(SMALL_MODELS + TITLE)
    done = proposed.monarch("generate-migrations", "--dry-run")
    assert all(f"Would delete {proposed.versions / name}" in done.stderr.replace("\n", "") for name in old)
    done = proposed.monarch("generate-migrations")
    assert "Superseded, as nobody has edited, committed or applied it" in done.stdout
    assert not {Path(name).name for name in old} & files(proposed)


@pytest.mark.soak
def test_the_targets_version_counts_where_it_has_no_ledger(proposed: Project) -> None:
    head = proposed.chain().head
    with connect(proposed.target) as connection:
        connection.exec_driver_sql("UPDATE alembic.alembic_version SET version_num = %s", (head,))
        connection.commit()
    assert OpenProposals(proposed.target).find(proposed.chain()) == ()
