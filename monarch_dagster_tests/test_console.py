"""What commands show: what is the same is said once, and what is not known is not shown as a number."""

from __future__ import annotations

from typing import Any

import pytest

from monarch_dagster.console import UNCHECKED, Terminal, show_checks, show_status

CHECK = {"passed": False, "expected": "a readable chain and target", "remedy": "Start it.", "severity": "ERROR"}
STATUS: dict[str, Any] = {
    "object_meta": {"objects": 0, "fields": 0, "path": "object_meta.json"},
    "heads": ["b"],
    "head_revision": "b",
    "database_revision": "a",
    "pending": [],
    "sources_covered": True,
    "problems": [],
    "not_compared": "",
    "moving": "",
    "running": "",
    "registry": "",
    "git": {"uncommitted": [], "lacking": [], "advice": "", "unknown": ""},
    **{key: [] for key in ("undeclared", "missing", "namespaces", "tight_choices", "drift", "carried", "foreign")},
}
PENDING = {"revision": "b", "path": "b.py", "hazards": [], "tables": [], "conversions": []}


def test_what_keeps_several_checks_from_looking_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    found = CHECK | {"stored": f"{UNCHECKED}The server is away."}
    show_checks(Terminal(), {"one": found, "two": found, "three": found | {"stored": "x"}})
    out, err = capsys.readouterr()
    assert out.count("The server is away.") == 1
    assert "two: could not be checked, see above" in out
    assert "three: stored x, expected a readable" in out
    assert err.count("Start it.") == 2


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"problems": ["broken"]}, "pending    not known, see below"),
        ({"problems": ["broken"], "database_revision": "b"}, "pending    0"),
        ({"pending": [PENDING]}, "Next: review the pending files, then monarch run-migrations"),
        (
            {"pending": [PENDING], "sources_covered": False},
            "Next: monarch generate-migrations, then review all that is pending",
        ),
        ({"undeclared": ["hand.py: x"], "sources_covered": False}, "(hand.py: x). Declare it"),
        ({"running": "monarch"}, "A migration is running, by monarch"),
        ({"registry": "The registry differs"}, "The registry differs"),
        ({"git": STATUS["git"] | {"advice": "`git pull`, then …"}}, "`git pull`, then …"),
        ({"git": STATUS["git"] | {"unknown": "git is not installed."}}, "not known: git is not installed."),
        (
            {"git": STATUS["git"] | {"uncommitted": [{"path": "a\nb.py", "kind": "revision", "state": "untracked"}]}},
            r"'a\nb.py'",
        ),
    ],
)
def test_status_says_what_is_next_and_no_number_that_is_not_known(
    capsys: pytest.CaptureFixture[str], more: dict[str, Any], told: str
) -> None:
    show_status(Terminal(), STATUS | more)
    assert told in "".join(capsys.readouterr())


def test_where_there_is_no_terminal_names_are_not_broken(capsys: pytest.CaptureFixture[str]) -> None:
    name = "salesforce.a_managed_package__an_object_with_a_long_name__c.a_field_with_a_long_name__c"
    Terminal().table("Drift", [{"relation": name, "detail": "column gone"}])
    assert name in capsys.readouterr().out
