"""The kind of each change of a proposal, and how many columns changed in which way."""

from __future__ import annotations

import pytest

from monarch_dagster.migrations.changes import ProviderColumn, change_kind, count_columns
from monarch_dagster.schema.facts import Difference
from monarch_dagster_tests.support import Project, account

TABLE = "table salesforce.account"


def column(expected: str, found: str) -> Difference:
    return Difference(TABLE, "column a", expected, found)


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (column("text", ""), "added"),
        (column("", "text"), "dropped"),
        (column("text", "character varying(40)"), "widened"),
        (column("bigint NOT NULL", "integer DEFAULT 7"), "widened"),
        (column("character varying(40)", "text"), "narrowed"),
        (column("date", "text"), "retyped"),
        (column("text NOT NULL", "text"), "changed"),
        (Difference(TABLE, "the table", "there", ""), "added"),
        (Difference(TABLE, "the name", "account", "client"), "renamed"),
        (Difference(TABLE, "the name of column b", "b", "a"), "renamed"),
        (Difference(TABLE, "index i", "CREATE INDEX i ON t (a)", ""), "added"),
        (Difference(TABLE, "index i", "CREATE INDEX i ON t (a)", "CREATE INDEX i ON t (b)"), "changed"),
    ],
)
def test_each_change_has_a_kind(change: Difference, kind: str) -> None:
    assert change_kind(change) == kind


def test_columns_are_counted_by_kind() -> None:
    changes = [column("text", ""), column("text", ""), column("text", "date"), Difference(TABLE, "comment", "x", "")]
    assert count_columns(changes) == "2 columns added, 1 column retyped"


def test_hand_edits_of_the_metadata_are_classed_against_the_chain_and_a_missing_field_is_no_change(
    project: Project,
) -> None:
    text = {"type": "string", "length": 40}
    number = {"type": "double", "precision": 16, "scale": 2}
    fields = {"Wide__c": text, "Whole__c": number, "Tight__c": text, "Other__c": text, "Gone__c": text, "Old__c": text}
    project.write_meta(account(**fields))
    project.generate()
    changed = {
        "Wide__c": {"type": "textarea"},
        "Whole__c": number | {"precision": 18, "scale": 4},
        "Tight__c": text | {"length": 20},
        "Other__c": {"type": "date"},
        "Gone__c": text | {"missing": True},
        "Renamed__c": text | {"choices": {"renamed_from": "Old__c"}},
        "New__c": text,
    }
    project.write_meta(account(**changed))
    proposal = project.generate()
    assert {item.aspect.rpartition(" ")[2]: change_kind(item) for item in proposal.changes} == {
        "wide__c": "widened",
        "whole__c": "widened",
        "tight__c": "narrowed",
        "other__c": "retyped",
        "renamed__c": "renamed",
        "new__c": "added",
    }
    columns = {item.name: (item.change, item.type) for item in proposal.columns}
    assert list(columns)[-2:] == ["id", "gone__c"]  # what stays comes last
    assert columns == {
        "wide__c": ("widened", "text"),
        "whole__c": ("widened", "numeric(18,4)"),
        "tight__c": ("narrowed", "character varying(20)"),
        "other__c": ("retyped", "date"),
        "renamed__c": ("renamed", "character varying(40)"),
        "new__c": ("added", "character varying(40)"),
        "gone__c": ("", "character varying(40)"),
        "id": ("", "character varying(18)"),
    }
    told = {str(hazard) for item in proposal.revisions for hazard in item.hazards if hazard.kind != "lock"}
    assert told == {
        "rewrite salesforce.account.whole__c: from numeric(16,2) to numeric(18,4)",
        "rewrite salesforce.account.tight__c: from character varying(40) to character varying(20)",
        "rewrite salesforce.account.other__c: from character varying(40) to date",
        "conversion salesforce.account.tight__c: narrowed from character varying(40) to character varying(20); "
        "values that do not fit stop it",
        "conversion salesforce.account.other__c: retyped from character varying(40) to date; "
        "values that do not fit stop it",
    }
    assert "(1 column added, 2 columns widened, 1 column narrowed, 1 column retyped)" in proposal.revisions[0].text


def test_the_columns_of_a_new_table_say_label_and_field_and_core_tables_have_none(project: Project) -> None:
    project.write_meta(account(Name={"type": "string", "length": 255, "label": "Full Name"}))
    found = project.generate(dry_run=True).columns
    assert found == (
        ProviderColumn("salesforce.account", "id", "character varying(18)", False, "Account.Id", "", "added"),
        ProviderColumn(
            "salesforce.account", "name", "character varying(255)", True, "Account.Name", "Full Name", "added"
        ),
    )
