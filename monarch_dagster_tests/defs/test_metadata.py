"""What a result shows: what changed, in words and rows, small enough for the UI and plain enough for JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg

from monarch_dagster.defs.metadata import (
    SHOWN_ROWS,
    SHOWN_SQL,
    Metadata,
    describe_apply,
    describe_fetch,
    describe_proposal,
    plain,
)
from monarch_dagster.migrations.apply import Applied, ApplyResult
from monarch_dagster.migrations.generate import Proposal, ProposedRevision
from monarch_dagster.migrations.revisions import Hazard, Revision
from monarch_dagster.salesforce.changes import Change
from monarch_dagster.salesforce.fetch import FetchResult
from monarch_dagster.salesforce.kept_types import TightChoice
from monarch_dagster.salesforce.merge import MergeResult
from monarch_dagster.salesforce.object_meta import ObjectMeta
from monarch_dagster.schema.facts import Difference


def shown(metadata: Metadata) -> dict[str, Any]:
    """Return the metadata as a run stores it and `--json` prints it."""
    stored = dg.AssetMaterialization("any", metadata=metadata).metadata
    values: dict[str, Any] = json.loads(json.dumps(plain(stored)))
    return values


def proposal(relations: int, sql: str = "CREATE TABLE a ();") -> Proposal:
    changes = tuple(Difference(f"table s.t{number}", "the table", "", "x" * 5000) for number in range(relations))
    hazard = Hazard("data_loss", "s.t0", "the table is dropped with its rows")
    revision = ProposedRevision("bbb", "aaa", Path("/versions/bbb.py"), "text", sql, (hazard,))
    return Proposal("aaa", (revision,), changes)


def test_a_fetch_says_what_was_added_changed_and_is_missing() -> None:
    changes = (
        Change("missing", "C"),
        Change("narrowed", "B", "z", "varchar(80)", "varchar(40)", "the column stays varchar(80)"),
        *(Change("added", "A"), Change("added", "B", "x"), Change("added", "B", "y")),
        Change("label", "B", "w", "Old", "New"),
    )
    tight = (TightChoice("B", "z", "varchar(80)", "text"),)
    result = FetchResult(
        MergeResult(ObjectMeta(), changes), {"D": "cannot be queried"}, True, 3, ("acme",), tight, 2, 0, 4
    )
    told = shown(describe_fetch(result))
    assert told["summary"].splitlines() == [
        "3 objects described in 2 calls: 1 object added, 2 fields added, 1 missing, 1 narrowed, 1 relabelled, "
        "4 in picklists or the like only.",
        "Nothing is shown any more of acme: deinstalled, or not permitted?",
        "1 left out: 1 cannot be queried.",
    ]
    assert told["changes"][1] == {
        "change": "narrowed",
        "name": "B.z",
        "before": "varchar(80)",
        "after": "varchar(40)",
        "note": "the column stays varchar(80)",
    }
    assert 'delete "column_type": "varchar(80)"' in told["warnings"][0]["warning"]
    assert (told["objects_added"], told["fields_added"], told["changed_narrowed"]) == (1, 2, 1)
    assert told["left_out"] == [{"object": "D", "reason": "cannot be queried"}]


def test_a_fetch_without_a_change_says_so() -> None:
    told = shown(describe_fetch(FetchResult(MergeResult(ObjectMeta()), {}, False, 1, calls=1)))
    assert told["summary"] == "1 object described in 1 call: nothing changed."
    assert told["changes"] == []


def test_a_proposal_shows_path_sql_hazards_and_heads() -> None:
    told = shown(describe_proposal(proposal(1), dry_run=False))
    assert told["summary"].startswith("bbb proposed: /versions/bbb.py\n1 relation changed")
    assert (told["head_before"], told["head"], told["revisions"]) == ("aaa", "bbb", ["bbb"])
    assert told["path"] == "/versions/bbb.py"
    assert told["upgrade_sql"] == "```sql\nCREATE TABLE a ();\n```"
    assert told["hazards"][0]["kind"] == "data_loss"
    assert shown(describe_proposal(proposal(1), dry_run=True))["head"] == "aaa"


def test_a_proposal_of_nothing_keeps_its_warnings() -> None:
    told = shown(describe_proposal(Proposal("aaa", warnings=("a name is shortened",)), dry_run=False))
    assert told["summary"].startswith("Nothing to generate")
    assert told["warnings"] == [{"warning": "a name is shortened"}]


def test_a_proposal_of_five_hundred_relations_stays_small() -> None:
    metadata = describe_proposal(proposal(500, "x" * 10_000_000), dry_run=False)
    told = shown(metadata)
    assert told["relations_changed"] == 500
    assert len(told["changes"]) == SHOWN_ROWS + 1
    assert told["changes"][-1]["relation"] == "… and 300 more"
    assert len(told["upgrade_sql"]) < SHOWN_SQL + 100
    assert len(json.dumps(told)) < 150_000


def test_an_apply_shows_the_version_before_and_after_and_how_long_each_took() -> None:
    last = Revision("ccc", "bbb", Path("/versions/ccc.py"), "", "")
    result = ApplyResult("aaa", "bbb", (Applied("bbb", "upgrade", 1.234),), (last,))
    told = shown(describe_apply(result, dry_run=False))
    assert told["summary"] == "1 revision applied: aaa → bbb, 1 revision pending."
    assert (told["revision_before"], told["revision_after"]) == ("aaa", "bbb")
    assert told["applied"] == [{"revision": "bbb", "direction": "upgrade", "seconds": 1.23}]
    assert told["pending"] == [{"revision": "ccc", "file": "ccc.py"}]
    assert (told["revisions_run"], told["seconds"]) == (1, 1.23)


def test_an_apply_with_nothing_to_do_says_so() -> None:
    assert (
        shown(describe_apply(ApplyResult("a", "a"), dry_run=False))["summary"] == "Nothing to run: the target is at a."
    )
