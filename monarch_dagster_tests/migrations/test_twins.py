"""An applied revision of which a rebase found nothing left is known by what it did."""

from __future__ import annotations

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.cloning import (
    MEMO,
    OURS,
    THEIRS,
    assert_alike,
    change,
    failing,
    merge,
    models,
    pull,
    rebased,
    status,
)
from monarch_dagster_tests.support import SMALL_MODELS, Project


def with_a_fix(project: Project, body: str) -> list[str]:
    """Add a table, fix its rows by hand, change `body`, and apply all; return the new revisions."""
    known = project.chain().revisions
    project.write_models(SMALL_MODELS + MEMO)
    project.generate(message="memo")
    path = project.generate(empty=True, message="fix").revisions[0].path
    path.write_text(path.read_text().replace("pass", "op.execute(\"UPDATE landing.memo SET body = 'fixed'\")", 1))
    change(project, body + MEMO, "twin")
    project.execute("INSERT INTO landing.memo (body) VALUES ('mine')")
    return [item.revision for item in project.chain().revisions[len(known) :]]


@pytest.mark.soak
def test_the_same_change_made_behind_others_is_known_by_what_it_did(clones: tuple[Project, Project]) -> None:
    ours, theirs = clones
    _, _, *twins = with_a_fix(ours, models(OURS))
    other = change(theirs, models(OURS), "theirs")
    merge(ours, theirs, models(OURS) + MEMO)
    assert [item.revision for item in rebased(ours, other).vanished] == twins
    assert "moves version and ledger" in status(ours).moving
    assert status(ours).problems == ()
    assert failing(ours).keys() == {"alembic_version_at_head"}
    assert ours.apply().applied == ()
    assert ours.execute("SELECT body FROM landing.memo") == [("mine",)]
    pull(theirs, ours)
    theirs.apply()
    assert_alike(ours, theirs)


@pytest.mark.soak
def test_a_change_that_another_revision_does_among_others_is_the_only_one_to_be_reverted(
    clones: tuple[Project, Project],
) -> None:
    ours, theirs = clones
    _, fix, column, _ = with_a_fix(ours, models(OURS))
    other = change(theirs, models(OURS, THEIRS), "both")
    merge(ours, theirs, models(OURS, THEIRS) + MEMO)
    rebased(ours, other)
    with pytest.raises(MonarchError, match=f"1 revision applied that no file in .* has: {column} ") as caught:
        ours.apply()
    assert f"monarch revert --to {fix}`" in caught.value.remedy
    ours.revert(fix)
    ours.apply()
    assert ours.execute("SELECT body FROM landing.memo") == [("mine",)]
    pull(theirs, ours)
    theirs.apply()
    assert_alike(ours, theirs)
