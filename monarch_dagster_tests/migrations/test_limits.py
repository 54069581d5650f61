"""Limits of tables are told before any DDL: too many columns, dropped ones counted, and rows that may not fit."""

from __future__ import annotations

import re
from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.checks import Outcome, tables_within_limits
from monarch_dagster.migrations.hazards import LIMIT
from monarch_dagster.migrations.limits import check_columns, crowded_tables, wide_rows
from monarch_dagster.migrations.situation import Situation
from monarch_dagster.schema.facts import Facts
from monarch_dagster_tests.migrations.support import sql, write_revision
from monarch_dagster_tests.support import Project, account, squeeze

FLAG = {"type": "boolean"}
# Adds columns and drops them again.
CHURN = """
DO $$ BEGIN
  EXECUTE (SELECT 'ALTER TABLE salesforce.account ' || string_agg('ADD COLUMN g' || n || ' boolean', ', ')
           FROM generate_series(1, {times}) n);
  EXECUTE (SELECT 'ALTER TABLE salesforce.account ' || string_agg('DROP COLUMN g' || n, ', ')
           FROM generate_series(1, {times}) n);
END $$
"""


def flags(count: int) -> dict[str, Any]:
    return account(**{f"F{number}__c": FLAG for number in range(count)})


def table(count: int, kind: str = "boolean", start: int = 0) -> Facts:
    return Facts({"table s.t": {f"column c{number}": kind for number in range(start, start + count)}})


@pytest.fixture
def applied(project: Project) -> Project:
    """A project whose target has a table with an `Id` and one more column."""
    project.write_meta(flags(1))
    project.generate()
    project.apply()
    return project


def test_an_object_with_more_fields_than_a_table_has_columns_is_refused(project: Project) -> None:
    project.write_meta(flags(1600))
    with pytest.raises(MonarchError, match=r"The object Account in .*object_meta\.json has 1,601 fields"):
        project.generate()
    assert not project.versions.exists()


@pytest.mark.soak
def test_a_table_is_refused_columns_for_which_dropped_ones_left_no_room(applied: Project) -> None:
    head = applied.chain().head
    write_revision(applied.versions, "churn", head, up=sql(CHURN.format(times=1590)))
    applied.write_meta(flags(12))
    with pytest.raises(MonarchError) as caught:
        applied.generate()
    told = r"account would have 1,603 columns \(11 are added, 1,590 others were dropped, which count .* allows 1,600\."
    assert re.search(told, caught.value.message)
    assert "move the rows into a new table" in caught.value.remedy
    applied.write_meta(flags(4))
    applied.generate()
    # The proof has taken them back once on the clone that is kept, which the chain does not.
    applied.write_meta(flags(5))
    applied.generate()


@pytest.mark.soak
def test_a_target_that_has_dropped_more_than_the_chain_is_refused_before_anything_runs(applied: Project) -> None:
    applied.execute(CHURN.format(times=1597))
    applied.write_meta(flags(3))
    applied.generate()
    with pytest.raises(MonarchError, match=r"account would have 1,601 columns \(2 are added, 1,597 others were"):
        applied.apply()
    applied.write_meta(flags(2))
    for item in applied.chain().revisions[1:]:
        item.path.unlink()
    applied.generate()
    applied.apply()
    found = tables_within_limits(Situation(applied.prover, applied.target))
    assert "salesforce.account: 1,600 of 1,600 columns are used, dropped ones counted" in found.stored
    assert found.severity == "WARN"
    assert tables_within_limits(Situation(applied.prover, None)).passed


def test_columns_are_counted_where_they_are_added_or_made_anew() -> None:
    check_columns(table(1598), table(1599), {"s.t": 1598})
    check_columns(table(1600), table(1500), {"s.t": 1600})
    with pytest.raises(MonarchError, match=r"s\.t would have 1,601 columns \(1 are added\)"):
        check_columns(table(1600), table(1601), {})
    with pytest.raises(MonarchError, match=r"1,700 columns \(850 are added, 850 others were dropped"):
        check_columns(table(850), table(850, start=850), {"s.t": 850})
    computed = "integer GENERATED ALWAYS AS (1) STORED"
    check_columns(table(1, computed), table(1, computed), {"s.t": 1600})
    with pytest.raises(
        MonarchError, match=r"has 1,599 columns, dropped ones counted, and gets 1\. A proof adds them twice"
    ):
        check_columns(table(1599), table(1600), {"s.t": 1599})
    with pytest.raises(MonarchError, match="1,601 columns"):
        check_columns(table(1, computed), table(1, computed.replace("1)", "2)")), {"s.t": 1600})


def test_rows_that_may_not_fit_are_a_finding_until_their_revision_is_applied_and_told_ever_after(
    project: Project,
) -> None:
    wide = {f"T{number}__c": {"type": "string", "length": 80} for number in range(340)}
    project.write_meta(account(**wide))
    (proposed,) = project.generate().revisions
    told = "a row with all of its 341 columns filled takes up to"
    assert [item.object for item in proposed.hazards if told in item.detail] == ["salesforce.account"]

    def check(*, target: bool = True) -> Outcome:
        found = tables_within_limits(Situation(project.prover, project.target if target else None))
        assert f"salesforce.account: {told}" in found.stored
        return found

    found = check()
    assert (found.passed, found.severity) == (False, "WARN")
    assert "choices.column_type" in found.remedy
    assert check(target=False).passed
    assert told in squeeze(project.monarch("check", "--files").stdout)
    project.apply()
    assert check().passed
    # What makes nothing wider is not about them.
    project.write_meta({**account(**wide), "Lead": account()["Account"]})
    (narrow,) = project.generate().revisions
    assert [item for item in narrow.hazards if item.kind == LIMIT] == []
    assert check().passed


def test_a_table_far_from_limits_is_no_finding() -> None:
    assert wide_rows(table(300, "text"), {"s.t": 1399}) == {}
    assert list(wide_rows(table(400, "text"), {})) == ["s.t"]
    assert crowded_tables({"s.t": 1399}) == []
    assert crowded_tables({"s.t": 1400}) == ["s.t: 1,400 of 1,600 columns are used, dropped ones counted"]
