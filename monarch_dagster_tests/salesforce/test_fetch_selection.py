"""Which objects a fetch takes: by what can be done with them, and by patterns on their names."""

from __future__ import annotations

from typing import Any

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.describes import select_objects
from monarch_dagster.salesforce.object_meta import Selection
from monarch_dagster.salesforce.selection import unfitting


def entry(name: str, **keys: Any) -> dict[str, Any]:
    """Return an entry of describeGlobal."""
    return {"name": name, "queryable": True, "retrieveable": True, "deprecatedAndHidden": False} | keys


def test_objects_are_chosen_by_what_can_be_done_with_them() -> None:
    entries = [
        entry("Old__c", deprecatedAndHidden=True),
        entry("LeadFeedBack", queryable=False),
        entry("Publisher", retrieveable=False),
        entry("Bare") | {"queryable": None},
        entry("B"),
        entry("A"),
    ]
    chosen, left_out = select_objects(entries, Selection())
    assert chosen == ["A", "B"]
    assert left_out == {
        "Old__c": "deprecated and hidden",
        "LeadFeedBack": "cannot be queried",
        "Publisher": "cannot be retrieved",
        "Bare": "cannot be queried",
    }


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ({"include": ("account",)}, ["Account"]),
        ({"include": ("ACC*", "lead")}, ["Account", "AccountShare", "Lead"]),
        ({"exclude": ("*share",)}, ["Account", "Lead", "ns__Thing__c"]),
        ({"include": ("NS__*",)}, ["ns__Thing__c"]),
        ({"exclude": ("ns__*",)}, ["Account", "AccountShare", "Lead"]),
        ({"include": ("[a]ccount",)}, ["Account"]),
        ({"include": ("Account", "Lead"), "exclude": ("Account",)}, ["Lead"]),
        ({"include": ()}, []),
    ],
)
def test_patterns_are_of_the_shell_and_case_does_not_matter(patterns: dict[str, Any], expected: list[str]) -> None:
    entries = [entry(name) for name in ("Account", "AccountShare", "Lead", "ns__Thing__c")]
    assert select_objects(entries, Selection(**patterns)) == (expected, {})


def test_a_pattern_that_fits_no_object_is_told() -> None:
    selection = Selection(include=("*", "Acount"), exclude=("ns__*", "Lead.Big__c", "lad.Big__c", "x*"))
    assert unfitting(["Account", "Lead", "NS__Thing__c"], selection) == ("Acount", "lad.Big__c", "x*")


@pytest.mark.parametrize(
    "name", ["", "a b", "Robert'); DROP TABLE a;--", "../limits", "A" * 256, "Größe", "A\n", "1A", '"""']
)
def test_an_object_whose_name_is_no_api_name_is_refused_unless_excluded(name: str) -> None:
    with pytest.raises(MonarchError, match="which is not an API name"):
        select_objects([entry(name)], Selection())
    assert select_objects([entry(name), entry("A")], Selection(include=("A",))) == (["A"], {})


def test_two_objects_of_one_name_are_refused() -> None:
    with pytest.raises(MonarchError, match="'ACCOUNT', which stands twice"):
        select_objects([entry("Account"), entry("ACCOUNT")], Selection())
