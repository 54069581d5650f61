"""Data loss needs a name (DESIGN rule 8)."""

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster_tests.migrations.test_bad_chains import revision_file
from monarch_dagster_tests.support import Project, account

NAME = {"type": "string", "length": 255}
AMOUNT = {"type": "currency", "precision": 18, "scale": 4}


@pytest.fixture
def filled(project: Project) -> Project:
    """A project with one account stored, and a pending revision that drops its column `tier__c`."""
    # What is written by hand here is taken as proved.
    project.trusting = True
    project.write_meta(account(Name=NAME, Tier__c=NAME, Amount__c=AMOUNT))
    project.generate()
    project.apply()
    project.execute("INSERT INTO salesforce.account (id, tier__c, amount__c) VALUES ('001', 'gold', 1.2345)")
    return project


def pending_drop(project: Project) -> str:
    """Have the dropped column proposed; return the revision."""
    project.write_meta(account(Name=NAME, Amount__c=AMOUNT))
    head = project.generate().head
    assert head is not None
    return head


def test_a_column_with_values_is_dropped_only_by_name_and_the_refusal_counts_them(filled: Project) -> None:
    revision = pending_drop(filled)
    with pytest.raises(MonarchError, match=r"salesforce\.account\.tier__c: the column with 1 value") as refusal:
        filled.apply()
    assert revision in refusal.value.remedy
    assert filled.execute("SELECT tier__c FROM salesforce.account") == [("gold",)]
    filled.apply(allow_data_loss=[revision])
    assert "column tier__c" not in filled.facts().relations["table salesforce.account"]


def test_a_column_without_a_value_holds_nothing(filled: Project) -> None:
    pending_drop(filled)
    filled.execute("UPDATE salesforce.account SET tier__c = NULL")
    filled.apply()
    assert "column tier__c" not in filled.facts().relations["table salesforce.account"]


def test_reverting_is_guarded_alike_and_a_range_approves_each_revision_in_it(filled: Project) -> None:
    head = filled.chain().head
    with pytest.raises(MonarchError, match=r"salesforce\.account: the table with 1 row"):
        filled.revert("base")
    assert filled.execute("SELECT count(*) FROM salesforce.account") == [(1,)]
    filled.revert("base", allow_data_loss=[f"{head}:base"])
    assert filled.facts().relations == {}


def test_a_statement_written_by_hand_is_seen_by_its_effect(filled: Project) -> None:
    revision_file(filled, "bbbb", filled.chain().head, "op.execute('DROP TABLE salesforce.account')")
    with pytest.raises(MonarchError, match=r"salesforce\.account: the table with 1 row"):
        filled.apply()
    assert filled.execute("SELECT count(*) FROM salesforce.account") == [(1,)]


@pytest.mark.parametrize(
    ("statement", "lost"),
    [
        ("ALTER TABLE salesforce.account ALTER amount__c TYPE numeric(18,2)", True),
        ("ALTER TABLE salesforce.account ALTER amount__c TYPE numeric(20,4)", False),
        ("ALTER TABLE salesforce.account ALTER tier__c TYPE varchar(2) USING left(tier__c, 2)", True),
        ("ALTER TABLE salesforce.account ALTER tier__c TYPE text", False),
    ],
)
def test_a_type_that_cuts_values_is_refused_and_one_that_keeps_them_is_not(
    filled: Project, statement: str, lost: bool
) -> None:
    revision_file(filled, "bbbb", filled.chain().head, f"op.execute({statement!r})")
    if not lost:
        filled.apply()
        return
    with pytest.raises(MonarchError, match=r"1 value lost in"):
        filled.apply()
    assert filled.execute("SELECT tier__c, amount__c::text FROM salesforce.account") == [("gold", "1.2345")]


def test_a_refusal_half_way_down_says_where_the_target_stands_now(filled: Project) -> None:
    first = filled.chain().head
    revision_file(filled, "bbbb", first)
    filled.apply()
    with pytest.raises(MonarchError, match=rf"(?s)1 row.*1 revision before it reverted; the target is now at {first}"):
        filled.revert("base")
    assert filled.execute("SELECT version_num FROM alembic.alembic_version") == [(first,)]
