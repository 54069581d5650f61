"""Which runs keep the registry, and that it stands in the way of none."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from monarch_dagster.defs.metadata import describe_apply
from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.adopt import adopt
from monarch_dagster.migrations.drift import Drift, find_drift
from monarch_dagster.migrations.status import read_status
from monarch_dagster_tests.migrations.registries import LEVEL, OBJECTS, age, labels, seen, statements, versions
from monarch_dagster_tests.migrations.support import Alembic, write_chain, write_revision
from monarch_dagster_tests.support import Project, account

FIRST = account(Name={"type": "string", "length": 255, "label": "Name"})


@pytest.fixture
def chained(project: Project) -> Project:
    """A project with a chain: the registry's tables, an object's, and one more field of it; nothing is applied."""
    registry = ";\n".join(statements({}))
    table = ";\n".join(statements(FIRST, registry=False))
    write_chain(
        project,
        (registry, "DROP SCHEMA utilities CASCADE"),
        (table, "DROP SCHEMA salesforce CASCADE"),
        (
            "ALTER TABLE salesforce.account ADD npsp__level__c varchar(40)",
            "ALTER TABLE salesforce.account DROP npsp__level__c",
        ),
    )
    project.write_meta(OBJECTS)
    project.trusting = True
    return project


def relabel(project: Project, label: str) -> None:
    objects: dict[str, Any] = copy.deepcopy(OBJECTS)
    objects["Account"]["label"] = label
    project.write_meta(objects)


def test_an_apply_registers_what_is_there_at_the_revision_that_it_came_to(chained: Project) -> None:
    result = chained.apply(to="r2")
    assert result.registry is not None
    assert result.registry.told == "1 object, 2 fields (3 written)"
    assert labels(chained).keys() == {"Account", "Account.Id", "Account.Name"}
    chained.apply()
    assert labels(chained)["Account.npsp__Level__c"] == LEVEL["label"]


def test_a_run_with_nothing_pending_registers_what_changed_in_the_file(chained: Project) -> None:
    chained.apply()
    before = versions(chained)
    again = chained.apply().registry
    assert again is not None
    assert again.told == "1 object, 3 fields (nothing changed)"
    assert versions(chained) == before
    relabel(chained, "Firm")
    chained.apply()
    assert labels(chained)["Account"] == "Firm"


def test_a_dry_run_and_an_adoption_write_nothing(chained: Project) -> None:
    chained.apply()
    relabel(chained, "Firm")
    assert chained.apply(dry_run=True).registry is None
    chained.execute("UPDATE alembic.alembic_version SET version_num = 'r2'")
    assert adopt(chained.chain(), chained.target, chained.shadows).written
    assert labels(chained)["Account"] == "Account"


def test_a_revert_registers_what_is_left(chained: Project) -> None:
    chained.apply()
    result = chained.revert("r2")
    assert result.registry is not None
    assert result.registry.told == "1 object, 2 fields (1 removed)"
    chained.revert("r1")
    assert labels(chained) == {}


def test_the_registry_is_no_value_that_a_revert_would_lose_but_other_rows_in_it_are(chained: Project) -> None:
    chained.apply()
    other = "'hubspot', 'Deal', 'hubspot', 'deal', 'Deal'"
    columns = "provider, api_name, schema_name, table_name, label"
    chained.execute(f"INSERT INTO utilities.object_registry ({columns}) VALUES ({other})")
    with pytest.raises(MonarchError, match="object_registry: the table with 1 row\n"):
        chained.revert("base")
    chained.execute("DELETE FROM utilities.object_registry WHERE provider = 'hubspot'")
    # Reverted so far by the refused run.
    relabel(chained, "Firm")
    chained.apply()
    result = chained.revert("base")
    assert result.registry is not None
    assert (result.after, result.registry.skipped) == (None, "the target has no table utilities.object_registry")
    chained.apply()
    assert labels(chained)["Account"] == "Firm"


def test_a_registry_that_changes_its_columns_is_no_loss_either(chained: Project) -> None:
    back = "ALTER TABLE utilities.field_registry ADD formula text"
    drop = "ALTER TABLE utilities.field_registry DROP CONSTRAINT ck_field_registry_formula_only_when_calculated, "
    chained.apply()
    chained.execute("UPDATE utilities.field_registry SET is_calculated = true, formula = '1'")
    write_revision(
        chained.versions, "r4", "r3", up=f"op.execute({drop + 'DROP formula'!r})", back=f"op.execute({back!r})"
    )
    result = chained.apply()
    assert result.registry is not None
    assert result.registry.skipped == "utilities.field_registry has not the columns of a registry (formula)"
    assert chained.revert("base").after is None


def test_neither_ledger_nor_facts_are_touched(chained: Project) -> None:
    chained.apply()
    rows = chained.execute("SELECT id, relations FROM alembic.revision_ledger")
    relabel(chained, "Firm")
    chained.apply()
    assert chained.execute("SELECT id, relations FROM alembic.revision_ledger") == rows
    assert find_drift(chained.target) == Drift()


def test_a_registry_that_cannot_be_kept_fails_no_revision(chained: Project, caplog: pytest.LogCaptureFixture) -> None:
    chained.sources.object_meta_path.write_text('{"objects": []}')
    result = chained.apply()
    assert result.after == "r3"
    assert [item.revision for item in result.applied] == ["r1", "r2", "r3"]
    told = describe_apply(result, dry_run=False)
    assert "Registry of objects and fields: not kept: " in str(told["summary"])
    assert "Correct the file, or bring it back with git. `monarch run-migrations` registers again" in told["summary"]
    assert any("The registry of objects and fields was not kept" in text for text in caplog.messages)


def test_what_was_registered_is_told_by_the_run(chained: Project) -> None:
    told = describe_apply(chained.apply(), dry_run=False)
    assert str(told["summary"]).endswith("Registry of objects and fields: 1 object, 3 fields (4 written)")
    assert (told["objects_registered"], told["fields_registered"]) == (1, 3)
    told = describe_apply(chained.apply(), dry_run=False)
    assert told["summary"] == "Nothing to run: the target is at r3."
    assert told["registry"] == "1 object, 3 fields (nothing changed)"


def test_plain_alembic_keeps_it_too(chained: Project, alembic: Alembic) -> None:
    chained.apply()
    relabel(chained, "Firm")
    assert "Registry: 1 object, 3 fields (1 written)" in alembic.run("upgrade", "head")
    assert labels(chained)["Account"] == "Firm"
    chained.sources.object_meta_path.write_text("{")
    assert "The registry of objects and fields was not kept" in alembic.run("downgrade", "r2")
    assert chained.execute("SELECT version_num FROM alembic.alembic_version") == [("r2",)]


FAILS = "op.execute('SELECT 1 / 0')"


def test_what_was_applied_in_front_of_a_revision_that_fails_is_registered(
    chained: Project, caplog: pytest.LogCaptureFixture
) -> None:
    write_revision(chained.versions, "r4", "r3", up=FAILS)
    with pytest.raises(MonarchError, match=r"division by zero[\s\S]*3 revisions before it applied") as raised:
        chained.apply()
    assert labels(chained).keys() == {"Account", "Account.Id", "Account.Name", "Account.npsp__Level__c"}
    # What cannot be registered is told beside the error, not in its place.
    chained.revert("r2")
    chained.sources.object_meta_path.write_text("{")
    with pytest.raises(MonarchError, match="1 revision before it applied") as again:
        chained.apply()
    assert again.value.message.splitlines()[:-1] == raised.value.message.splitlines()[:-1]
    assert sum("The registry of objects and fields was not kept" in text for text in caplog.messages) == 1


def test_what_was_applied_in_front_of_one_that_is_refused_is_registered(chained: Project) -> None:
    lossy = "op.execute('ALTER TABLE salesforce.account DROP name')"
    chained.apply(to="r2")
    chained.execute("INSERT INTO salesforce.account (id, name) VALUES ('1', 'x')")
    write_revision(chained.versions, "r4", "r3", up=lossy)
    with pytest.raises(MonarchError, match="would lose stored values"):
        chained.apply()
    assert labels(chained)["Account.npsp__Level__c"] == LEVEL["label"]


def test_what_is_left_of_a_revert_that_stops_midway_is_registered(chained: Project) -> None:
    chained.apply()
    chained.execute("INSERT INTO salesforce.account (id, name) VALUES ('1', 'x')")
    with pytest.raises(MonarchError, match=r"would lose stored values[\s\S]*1 revision before it reverted"):
        chained.revert("base")
    assert labels(chained).keys() == {"Account", "Account.Id", "Account.Name"}


def test_a_run_that_applied_nothing_registers_nothing(chained: Project) -> None:
    chained.apply()
    relabel(chained, "Firm")
    write_revision(chained.versions, "r4", "r3", up=FAILS)
    with pytest.raises(MonarchError, match="division by zero"):
        chained.apply()
    assert labels(chained)["Account"] == "Account"


def test_after_an_error_that_took_the_server_away_nothing_is_tried(
    chained: Project, caplog: pytest.LogCaptureFixture
) -> None:
    write_revision(chained.versions, "r4", "r3", up="op.execute('SELECT pg_terminate_backend(pg_backend_pid())')")
    with pytest.raises(MonarchError, match=r"lost|terminat"):
        chained.apply()
    assert not [text for text in caplog.messages if "registry" in text.lower()]
    assert labels(chained) == {}


def test_what_runs_outside_a_transaction_and_fails_leaves_a_registry_that_is_right(chained: Project) -> None:
    chained.apply(to="r2")
    chained.execute("INSERT INTO salesforce.account (id, name) VALUES ('1', 'x'), ('2', 'x')")
    build = (
        "with op.get_context().autocommit_block():\n"
        "    op.execute('CREATE UNIQUE INDEX CONCURRENTLY ix ON salesforce.account (name)')"
    )
    write_revision(chained.versions, "r4", "r3", up=build)
    with pytest.raises(MonarchError, match="1 revision before it applied"):
        chained.apply()
    assert labels(chained)["Account.npsp__Level__c"] == LEVEL["label"]


def test_plain_alembic_registers_what_it_applied_before_it_failed(chained: Project, alembic: Alembic) -> None:
    chained.apply(to="r2")
    write_revision(chained.versions, "r4", "r3", up=FAILS)
    told = alembic.run("-x", "allow_unproved=r3:r4", "upgrade", "head", code=255)
    assert "division by zero" in told
    assert labels(chained)["Account.npsp__Level__c"] == LEVEL["label"]


def test_status_says_that_the_registry_is_stale_until_a_run_registers_again(chained: Project) -> None:
    def told() -> str:
        return str(read_status(chained.sources, lambda: chained.shadows, chained.target).to_json()["registry"])

    assert told() == ""
    chained.apply(to="r2")
    assert told() == ""
    relabel(chained, "Firm")
    assert "differs from object_meta.json by 1 row: `monarch run-migrations` registers again" in told()
    chained.apply()
    assert told() == ""
    chained.sources.object_meta_path.write_text("{")
    assert "object_meta.json is not there or not valid" in told()


def test_what_a_refused_drop_left_is_still_told_of(chained: Project) -> None:
    chained.apply()
    age(chained)
    before = seen(chained)
    chained.execute("INSERT INTO salesforce.account (id, name) VALUES ('1', 'x')")
    write_revision(chained.versions, "r4", "r3", up="op.execute('ALTER TABLE salesforce.account RENAME TO firm')")
    write_revision(chained.versions, "r5", "r4", up="op.execute('ALTER TABLE salesforce.firm DROP name')")
    objects: dict[str, Any] = copy.deepcopy(OBJECTS)
    objects["Firm"] = {**objects.pop("Account"), "choices": {"renamed_from": "Account"}}
    del objects["Firm"]["fields"][1]
    chained.write_meta(objects)
    with pytest.raises(MonarchError, match="would lose stored values"):
        chained.apply()
    assert seen(chained) == {name.replace("Account", "Firm"): date for name, date in before.items()}
    chained.apply(allow_data_loss=["r5"])
    assert seen(chained).keys() == {"Firm", "Firm.Id", "Firm.npsp__Level__c"}
