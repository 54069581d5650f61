"""What a result shows: what changed, in words and rows, small enough for the UI and plain enough for JSON."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg

from monarch_dagster.defs.metadata import (
    SHOWN_ROWS,
    SHOWN_SQL,
    Metadata,
    describe_apply,
    describe_fetch,
    plain,
)
from monarch_dagster.defs.proposal import describe_proposal
from monarch_dagster.migrations.apply import Applied, ApplyResult
from monarch_dagster.migrations.changes import ProviderColumn
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


TEXT = '"""A message"""\nrevision = "bbb"\n\n\ndef upgrade() -> None:\n    pass\n'
LOSS = Hazard("data_loss", "s.t0", "the table is dropped with its rows")
OTHERS = tuple(Hazard(kind, "s.t0", "why") for kind in ("made_up", "lock", "scan", "rewrite"))


def proposal(relations: int, sql: str = "CREATE TABLE a ();", columns: tuple[ProviderColumn, ...] = ()) -> Proposal:
    changes = tuple(Difference(f"table s.t{number}", "the table", "", "x" * 5000) for number in range(relations))
    path = Path("/versions/bbb.py")
    first = ProposedRevision("bbb", "aaa", path, TEXT, sql, "DROP TABLE a;", (*OTHERS, LOSS))
    last = ProposedRevision("ccc", "bbb", path.with_stem("ccc"), TEXT, sql, "DROP TABLE c;")
    shown = Proposal("aaa", (first, last), changes, columns=columns)
    return replace(shown, postgresql=18, proof_seconds=1.84, seconds=2.346)


def column(name: str, change: str = "added", label: str = "Full Name", *, nullable: bool = True) -> ProviderColumn:
    return ProviderColumn("salesforce.account", name, "text", nullable, f"Account.{name}", label, change)


def test_a_fetch_says_what_was_added_changed_and_is_missing() -> None:
    changes = (
        Change("missing", "C"),
        Change("narrowed", "B", "z", "varchar(80)", "varchar(40)", "the column stays varchar(80)"),
        *(Change("added", "A"), Change("added", "B", "x"), Change("added", "B", "y")),
        Change("label", "B", "w", "Old", "New"),
    )
    tight = (TightChoice("B", "z", "varchar(80)", "text"),)
    result = FetchResult(
        MergeResult(ObjectMeta(), changes),
        {"D": "cannot be queried"},
        True,
        3,
        ("acme",),
        tight,
        2,
        0,
        4,
        seconds=0.126,
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
    assert (told["described"], told["calls"], told["seconds"]) == (3, 2, 0.13)
    assert told["left_out"] == [{"object": "D", "reason": "cannot be queried"}]


def test_a_fetch_without_a_change_says_so() -> None:
    told = shown(describe_fetch(FetchResult(MergeResult(ObjectMeta()), {}, False, 1, calls=1)))
    assert told["summary"] == "1 object described in 1 call: nothing changed."
    assert told["changes"] == []


def test_a_proposal_shows_path_heads_and_sql_both_ways_the_last_revision_taken_back_first() -> None:
    told = shown(describe_proposal(proposal(1), dry_run=False))
    assert told["summary"].startswith("bbb proposed: /versions/bbb.py\nccc proposed: /versions/ccc.py\n1 relation")
    assert (told["head_before"], told["head"], told["revisions"]) == ("aaa", "ccc", ["bbb", "ccc"])
    assert told["path"] == "/versions/bbb.py"
    assert told["upgrade_sql"] == "```sql\nCREATE TABLE a ();\nCREATE TABLE a ();\n```"
    assert told["downgrade_sql"] == "```sql\nDROP TABLE c;\nDROP TABLE a;\n```"
    assert shown(describe_proposal(proposal(1), dry_run=True))["head"] == "aaa"


def test_hazards_have_a_severity_the_gravest_first() -> None:
    rows = shown(describe_proposal(proposal(1), dry_run=False))["hazards"]
    assert [(row["severity"], row["kind"]) for row in rows] == [
        ("critical", "data_loss"),
        ("high", "rewrite"),
        ("medium", "scan"),
        ("low", "lock"),
        ("unrated", "made_up"),
    ]
    assert rows[0] | {"revision": "bbb", "object": "s.t0", "detail": LOSS.detail} == rows[0]


def test_a_proof_is_told_in_words_and_what_can_be_plotted_in_numbers() -> None:
    metadata = describe_proposal(proposal(1), dry_run=False)
    assert metadata["proof"] == "Proved up, down and up again on a shadow (PostgreSQL 18) in 1.8 s."
    assert metadata["summary"].endswith(f"1 relation changed; p{metadata['proof'][1:]}")
    numbers = {name: value for name, value in metadata.items() if isinstance(value, int | float)}
    assert numbers == {
        "proposed_revisions": 2,
        "relations_changed": 1,
        "hazard_count": 5,
        "proof_seconds": 1.84,
        "seconds": 2.35,
    }


def test_each_proposed_file_can_be_opened_where_its_upgrade_begins_and_none_after_a_dry_run() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metadata = describe_proposal(proposal(1), dry_run=False)
    assert shown(metadata)["open_in_editor"] == ["/versions/bbb.py:5", "/versions/ccc.py:5"]
    assert "open_in_editor" not in describe_proposal(proposal(1), dry_run=True)


def test_the_columns_of_the_providers_changed_tables_are_the_column_schema() -> None:
    columns = (column("name"), column("id", "", "Account ID", nullable=False), column("x", label=""))
    schema = describe_proposal(proposal(1, columns=columns), dry_run=False)["dagster/column_schema"].schema
    told = [(item.name, item.type, item.description, item.constraints.nullable, item.tags) for item in schema.columns]
    assert told == [
        ("account.name", "text", "Full Name (Account.name)", True, {"change": "added"}),
        ("account.id", "text", "Account ID (Account.id)", False, {}),
        ("account.x", "text", "Account.x", True, {"change": "added"}),
    ]
    assert "dagster/column_schema" not in describe_proposal(proposal(1), dry_run=False)


def test_a_column_schema_is_cut_as_tables_are() -> None:
    many = tuple(column(f"c{number}") for number in range(500))
    schema = describe_proposal(proposal(1, columns=many), dry_run=False)["dagster/column_schema"].schema
    assert len(schema.columns) == SHOWN_ROWS + 1
    assert schema.columns[-1].name == "… and 300 more"


def test_half_a_character_in_a_label_leaves_the_page_one_that_can_be_sent() -> None:
    half = "Name \ud800"
    merged = MergeResult(ObjectMeta(), (Change("label", "B", "w", half, "New"),))
    fetched = shown(describe_fetch(FetchResult(merged, {}, True)))
    proposed = describe_proposal(proposal(1, columns=(column("name", label=half),)), dry_run=False)
    description = proposed["dagster/column_schema"].schema.columns[0].description
    assert (fetched["changes"][0]["before"] + description).encode()


def test_a_proposal_of_nothing_keeps_its_warnings() -> None:
    told = shown(describe_proposal(Proposal("aaa", warnings=("a name is shortened",)), dry_run=False))
    assert told["summary"].startswith("Nothing to generate")
    assert told["warnings"] == [{"warning": "a name is shortened"}]
    assert (told["proposed_revisions"], told["relations_changed"], told["hazard_count"]) == (0, 0, 0)
    assert (told["head_before"], told["head"]) == ("aaa", "aaa")


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
    assert (told["revisions_run"], told["pending_revisions"], told["seconds"]) == (1, 1, 1.23)


def test_an_apply_with_nothing_to_do_says_so() -> None:
    assert (
        shown(describe_apply(ApplyResult("a", "a"), dry_run=False))["summary"] == "Nothing to run: the target is at a."
    )
