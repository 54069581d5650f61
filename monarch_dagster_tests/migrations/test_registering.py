"""The registry in `utilities`: what stands there after the file, a fetch or a person changed something."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path

import pytest

from benchmarks.synthetic import synthetic_org
from monarch_dagster.postgres.locks import apply_lock
from monarch_dagster.salesforce.object_meta import read_object_meta, render_object_meta
from monarch_dagster.schema.registry import project as projected
from monarch_dagster_tests.migrations.registries import (
    OBJECTS,
    build,
    edited,
    keep,
    labels,
    missing,
    next_transaction,
    versions,
)
from monarch_dagster_tests.support import Project


def test_objects_and_fields_stand_there_as_rows(registered: Project) -> None:
    assert registered.execute(
        "SELECT provider, api_name, schema_name, table_name, label, namespace, is_custom, missing_since "
        "FROM utilities.object_registry"
    ) == [("salesforce", "Account", "salesforce", "account", "Account", None, False, None)]
    assert registered.execute(
        "SELECT object_name, api_name, column_name, column_type, label, provider_type, namespace, is_custom "
        "FROM utilities.field_registry ORDER BY api_name"
    ) == [
        ("Account", "Id", "id", "character varying(18)", "Id", "id", None, False),
        ("Account", "Name", "name", "character varying(255)", "Name", "string", None, False),
        ("Account", "npsp__Level__c", "npsp__level__c", "character varying(40)", "Level", "string", "npsp", True),
    ]


@pytest.mark.parametrize("locked", [True, False])
def test_where_nothing_differs_nothing_is_written(registered: Project, locked: bool) -> None:
    before, transaction = versions(registered), next_transaction(registered)
    done = keep(registered, locked=locked)
    assert (done.objects, done.fields, done.told) == (1, 3, "1 object, 3 fields (nothing changed)")
    assert next_transaction(registered) == transaction
    assert versions(registered) == before


def test_another_label_changes_that_row_alone(registered: Project) -> None:
    before = versions(registered)
    registered.write_meta(edited(label="Firm"))
    assert keep(registered, locked=False).told == "1 object, 3 fields (1 written)"
    assert labels(registered)["Account.Name"] == "Firm"
    assert {name for name, version in versions(registered).items() if version != before[name]} == {"Account.Name"}
    times = registered.execute(
        "SELECT api_name, updated_at > first_seen_at FROM utilities.field_registry ORDER BY api_name"
    )
    assert times == [("Id", False), ("Name", True), ("npsp__Level__c", False)]


def test_lookups_and_formulas_can_be_asked_for(project: Project) -> None:
    fields = {
        "OwnerId": {"type": "reference", "referenceTo": ["User", "Group"], "relationshipName": "Owner"},
        "Rank__c": {"type": "double", "calculated": True, "calculatedFormula": "IF(Name = 'x', \"1%s\", 2)\n+ 1"},
    }
    objects = copy.deepcopy(OBJECTS)
    objects["Account"]["fields"] += [{"name": name, **keys} for name, keys in fields.items()]
    build(project, objects)
    keep(project)
    assert project.execute(
        "SELECT api_name, reference_to, relationship_name FROM utilities.field_registry "
        "WHERE reference_to @> ARRAY['Group']"
    ) == [("OwnerId", ["User", "Group"], "Owner")]
    assert project.execute("SELECT formula FROM utilities.field_registry WHERE is_calculated") == [
        (fields["Rank__c"]["calculatedFormula"],)
    ]


def test_the_queries_in_the_docs_run(registered: Project) -> None:
    page = (Path(__file__).parents[2] / "docs" / "registry.md").read_text()
    found = {
        block.splitlines()[0]: registered.execute(block.replace("'opportunity'", "'account'").replace("%", "%%"))
        for block in re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    }
    assert len(found["-- What do the columns of a table mean?"]) == 3
    assert found["-- What did a managed package bring?"] == [("Account", 1)]
    assert len(found) == 7


def test_what_is_pending_is_registered_when_it_is_there(registered: Project) -> None:
    objects = edited()
    objects["Account"]["fields"].append({"name": "Tier__c", "type": "string", "label": "Tier"})
    objects["Lead"] = {"fields": [{"name": "Id", "type": "id"}]}
    registered.write_meta(objects)
    assert keep(registered).told == "1 object, 3 fields (nothing changed)"
    registered.execute("ALTER TABLE salesforce.account ADD tier__c text; CREATE TABLE salesforce.lead (id text)")
    assert keep(registered).told == "2 objects, 5 fields (3 written)"
    assert labels(registered)["Account.Tier__c"] == "Tier"


def test_a_column_has_the_type_that_it_has_and_not_the_one_that_is_pending(registered: Project) -> None:
    registered.write_meta(edited(type="textarea", length=32000))
    keep(registered)
    kinds = "SELECT provider_type, column_type FROM utilities.field_registry WHERE api_name = 'Name'"
    assert registered.execute(kinds) == [("textarea", "character varying(255)")]
    registered.execute("ALTER TABLE salesforce.account ALTER name TYPE text")
    keep(registered)
    assert registered.execute(kinds) == [("textarea", "text")]


def test_how_long_an_entry_has_been_missing_is_kept_until_it_returns(registered: Project) -> None:
    registered.write_meta(edited(missing=True))
    keep(registered)
    since = missing(registered)
    assert since.keys() == {"Account.Name"}
    registered.write_meta(edited(missing=True, label="Firm"))
    assert keep(registered).changed == 1
    assert missing(registered) == since
    registered.write_meta(edited())
    keep(registered)
    assert missing(registered) == {}


def test_the_fields_of_a_missing_object_are_missing_until_it_returns(registered: Project) -> None:
    objects = edited(missing=True)
    registered.write_meta(objects)
    keep(registered)
    since = missing(registered)
    objects["Account"]["missing"] = True
    registered.write_meta(objects)
    keep(registered)
    found = missing(registered)
    assert found.keys() == {"Account", "Account.Id", "Account.Name", "Account.npsp__Level__c"}
    assert found["Account.Name"] == since["Account.Name"]
    registered.write_meta(edited())
    keep(registered)
    assert missing(registered) == {}


def test_an_empty_file_takes_nothing_that_is_there_and_other_providers_rows_stay(registered: Project) -> None:
    registered.execute(
        "INSERT INTO utilities.object_registry (provider, api_name, schema_name, table_name, label) "
        "VALUES ('hubspot', 'Account', 'hubspot', 'account', 'Ours')"
    )
    before = versions(registered)
    registered.write_meta({})
    assert keep(registered).told == "1 object, 3 fields (nothing changed)"
    assert versions(registered) == before
    registered.execute("DROP TABLE salesforce.account")
    assert keep(registered).told == "0 objects, 0 fields (4 removed)"
    assert labels(registered) == {"Account": "Ours"}


def test_a_table_that_is_gone_is_no_longer_told_of(registered: Project) -> None:
    registered.execute("ALTER TABLE salesforce.account DROP name")
    assert keep(registered).removed == 1
    registered.execute("DROP TABLE salesforce.account")
    keep(registered)
    assert labels(registered) == {}


def test_an_entry_that_is_spelled_otherwise_now_takes_the_place_of_the_former(registered: Project) -> None:
    objects = edited(name="NAME")
    registered.write_meta({"ACCOUNT": objects["Account"]})
    keep(registered)
    assert labels(registered).keys() == {"ACCOUNT", "ACCOUNT.Id", "ACCOUNT.NAME", "ACCOUNT.npsp__Level__c"}


def test_hostile_metadata_is_stored_as_it_reads(registered: Project) -> None:
    hostile = "'); DROP TABLE utilities.field_registry; --%s %(a)s \\ \" \x00 {} ✓"
    registered.write_meta(edited(label=hostile, type=hostile + "\ud800", referenceTo=[hostile, "a,b", "{", "NULL", ""]))
    keep(registered)
    read = hostile.replace("\x00", "\ufffd")
    assert registered.execute(
        "SELECT label, provider_type, reference_to FROM utilities.field_registry WHERE api_name = 'Name'"
    ) == [(read, read + "\ufffd", [read, "a,b", "{", "NULL", ""])]
    assert keep(registered).changed == 0


@pytest.mark.parametrize("seed", range(3))
def test_whatever_was_edited_the_rows_are_those_of_the_file_and_what_it_forgot_stays(
    project: Project, seed: int
) -> None:
    choose = random.Random(seed)
    pool = {
        f"{prefix}Thing_{number}__c": {
            "fields": [{"name": "Id"}, *({"name": f"F{place}__c", "type": "string"} for place in range(6))]
        }
        for number, prefix in enumerate(("", "ns__", "npsp__", "", "ns__"))
    }
    build(project, pool)
    tables = {
        name: dict(columns)
        for name, columns in project.execute(
            "SELECT c.relname, json_object_agg(attname, format_type(atttypid, atttypmod)) FROM pg_attribute a "
            "JOIN pg_class c ON c.oid = attrelid WHERE relnamespace = 'salesforce'::regnamespace AND relkind = 'r' "
            "AND attnum > 0 GROUP BY 1"
        )
    }
    expected: dict[tuple[str, str], tuple[str, bool]] = {}
    for _ in range(6):
        objects = copy.deepcopy({name: pool[name] for name in choose.sample(sorted(pool), choose.randrange(6))})
        for item in objects.values():
            item["missing"] = choose.random() < 0.3  # type: ignore[assignment]
            item["fields"] = choose.sample(item["fields"], choose.randrange(7))
            for field in item["fields"]:
                field |= {"label": choose.choice("abc"), "missing": choose.random() < 0.3}
        project.write_meta(objects)
        keep(project)
        meta = read_object_meta(project.sources.object_meta_path)
        assert meta is not None
        _, wanted = projected(meta, "salesforce", tables)
        stored = project.execute(
            "SELECT object_name, api_name, label, missing_since IS NOT NULL FROM utilities.field_registry ORDER BY 1, 2"
        )
        expected |= {item.key: (item.label, item.missing) for item in wanted}
        assert stored == sorted((*key, *values) for key, values in expected.items())


def test_where_nothing_differs_a_run_that_holds_the_lock_is_not_waited_for(registered: Project) -> None:
    with apply_lock(registered.target, print):
        assert keep(registered, locked=False).told == "1 object, 3 fields (nothing changed)"


@pytest.mark.soak
def test_a_large_org_is_registered_and_then_found_unchanged(project: Project) -> None:
    objects = json.loads(render_object_meta(synthetic_org(1500, 60)))["objects"]
    build(project, objects)
    first, again = keep(project), keep(project)
    assert (first.objects, first.fields, again.changed) == (1500, 90_000, 0)
