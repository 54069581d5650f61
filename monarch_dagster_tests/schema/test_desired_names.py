"""Names that would meet in one table or column."""

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.schema.desired import build_desired
from monarch_dagster.schema.naming import sql_name
from monarch_dagster_tests.support import Project, account

LONG = f"{'Very_' * 14}Long__c"


def test_a_field_named_like_the_shortened_form_of_another_is_refused_and_loses_none(project: Project) -> None:
    project.write_meta(account(**{LONG: {"type": "string"}, sql_name(LONG).capitalize(): {"type": "string"}}))
    with pytest.raises(MonarchError, match=r"share the column very_"):
        project.generate()
    assert not project.versions.exists()


def test_an_object_named_like_the_shortened_form_of_another_is_refused(project: Project) -> None:
    [item] = account().values()
    project.write_meta({LONG: item, sql_name(LONG).capitalize(): item})
    with pytest.raises(MonarchError, match=r"share the table very_"):
        project.generate()


def test_a_name_that_is_too_long_is_shortened_and_its_api_name_stands_in_the_database(project: Project) -> None:
    project.write_meta(account(**{LONG: {"type": "string", "length": 9}}))
    proposal = project.generate()
    assert f"shortened to {sql_name(LONG)}" in proposal.warnings[0]
    project.apply()
    table = project.facts().relations["table salesforce.account"]
    assert table[f"comment on column {sql_name(LONG)}"] == f"Salesforce API name: {LONG}"


def test_former_names_of_objects_and_fields_become_former_names_of_tables_and_columns(project: Project) -> None:
    [item] = account(Tier__c={"type": "string", "choices": {"renamed_from": LONG}}).values()
    project.write_meta({"Account": {**item, "choices": {"renamed_from": "Firm__c"}}})
    table = build_desired(project.sources).metadata.tables["salesforce.account"]
    assert table.info["renamed_from"] == "firm__c"
    assert table.columns["tier__c"].info["renamed_from"] == sql_name(LONG)
    assert "renamed_from" not in table.columns["id"].info


def test_a_former_name_that_is_no_api_name_is_refused(project: Project) -> None:
    project.sources.schema_dir.mkdir()
    field = '{"name": "Id", "type": "id", "choices": {"renamed_from": "a; DROP"}}'
    project.sources.object_meta_path.write_text('{"objects": {"Account": {"fields": [' + field + "]}}}")
    with pytest.raises(MonarchError, match="is not valid"):
        build_desired(project.sources)
