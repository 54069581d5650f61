"""What the server refuses and supplies in schema `utilities`."""

from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, text

from monarch_dagster.models.utilities import FieldRegistry, ObjectRegistry, Parameter, RunLog
from monarch_dagster_tests.models.conftest import Refused

ACCOUNT = {
    "provider": "salesforce",
    "api_name": "Account",
    "schema_name": "salesforce",
    "table_name": "account",
    "label": "Account",
}
OWNER = {
    "provider": "salesforce",
    "object_name": "Account",
    "api_name": "OwnerId",
    "column_name": "ownerid",
    "column_type": "character varying(18)",
    "label": "Owner",
    "provider_type": "reference",
}


def test_a_run_begins_as_running_and_says_which_role_launched_it(connection: Connection) -> None:
    connection.execute(insert(RunLog).values(run_id="r1", job_name="setup_provider_schema"))
    run = connection.execute(select(RunLog.__table__)).one()
    assert (run.status, run.finished_at, run.config, run.tags) == ("running", None, {}, {})
    assert run.launched_by == connection.scalar(text("SELECT CURRENT_USER"))


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        pytest.param({"status": "stuck", "finished_at": text("now()")}, "ck_run_log_status", id="unknown status"),
        pytest.param({"status": "succeeded"}, "ck_run_log_finished_unless_running", id="ended without an end"),
        pytest.param(
            {"status": "succeeded", "finished_at": text("now()"), "error": "boom"},
            "ck_run_log_error_only_when_not_succeeded",
            id="succeeded with an error",
        ),
        pytest.param({"config": []}, "ck_run_log_config_is_object", id="config that is a list"),
    ],
)
def test_a_run_that_contradicts_itself_is_refused(
    connection: Connection, refused: Refused, values: dict[str, Any], constraint: str
) -> None:
    with refused(constraint):
        connection.execute(insert(RunLog).values(run_id="r1", job_name="setup_provider_schema", **values))


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        ("text", ""),
        ("integer", -7),
        ("integer", 10**30),
        ("number", 0.5),
        ("boolean", False),
        ("date", "2025-05-05"),
        ("json", {"a": [1]}),
        ("json", None),
    ],
)
def test_a_parameter_comes_back_as_it_was_set(connection: Connection, value_type: str, value: Any) -> None:
    connection.execute(insert(Parameter).values(name="p", value_type=value_type, value=value))
    assert connection.execute(select(Parameter.scope, Parameter.value)).one() == ("global", value)


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        ("text", 1),
        ("text", None),
        ("integer", 1.5),
        ("integer", "1"),
        ("number", "0.5"),
        ("boolean", "true"),
        ("date", "5 May 2025"),
        ("date", 20250505),
    ],
)
def test_a_parameter_of_another_type_is_refused(
    connection: Connection, refused: Refused, value_type: str, value: Any
) -> None:
    with refused("ck_parameter_value_of_type"):
        connection.execute(insert(Parameter).values(name="p", value_type=value_type, value=value))


def test_a_parameter_is_set_once_per_scope(connection: Connection, refused: Refused) -> None:
    new = insert(Parameter).values(name="page_size", value_type="integer", value=2000)
    account = new.values(scope="object", scope_name="salesforce.Account")
    connection.execute(new)
    connection.execute(account)
    for repeated in (new, account):
        with refused("pk_parameter"):
            connection.execute(repeated)


@pytest.mark.parametrize(("scope", "scope_name"), [("global", "salesforce"), ("provider", "")])
def test_every_scope_but_the_global_one_has_a_name(
    connection: Connection, refused: Refused, scope: str, scope_name: str
) -> None:
    with refused("ck_parameter_scope_name_unless_global"):
        connection.execute(
            insert(Parameter).values(scope=scope, scope_name=scope_name, name="p", value_type="json", value={})
        )


def test_two_objects_cannot_claim_one_table(connection: Connection, refused: Refused) -> None:
    connection.execute(insert(ObjectRegistry).values(ACCOUNT))
    with refused("uq_object_registry_schema_name_table_name"):
        connection.execute(insert(ObjectRegistry).values(ACCOUNT | {"api_name": "ACCOUNT"}))


def test_two_fields_cannot_claim_one_column_but_many_may_have_none(connection: Connection, refused: Refused) -> None:
    connection.execute(insert(ObjectRegistry).values(ACCOUNT))
    connection.execute(insert(FieldRegistry).values(OWNER))
    with refused("uq_field_registry_provider_object_name_column_name"):
        connection.execute(insert(FieldRegistry).values(OWNER | {"api_name": "OWNERID"}))
    for api_name in ("BillingAddress", "ShippingAddress"):
        compound = {"api_name": api_name, "provider_type": "address", "column_name": None, "column_type": None}
        connection.execute(insert(FieldRegistry).values(OWNER | compound))


def test_a_field_belongs_to_a_registered_object_and_goes_with_it(connection: Connection, refused: Refused) -> None:
    with refused("fk_field_registry_provider_object_name_object_registry"):
        connection.execute(insert(FieldRegistry).values(OWNER))
    connection.execute(insert(ObjectRegistry).values(ACCOUNT))
    connection.execute(insert(FieldRegistry).values(OWNER))
    connection.execute(delete(ObjectRegistry))
    assert connection.scalars(select(FieldRegistry.api_name)).all() == []


@pytest.mark.parametrize(
    ("values", "constraint"),
    [
        pytest.param({"column_type": None}, "ck_field_registry_column_name_and_type", id="a column without a type"),
        pytest.param({"formula": "1 + 1"}, "ck_field_registry_formula_only_when_calculated", id="a formula of nothing"),
    ],
)
def test_a_field_that_contradicts_itself_is_refused(
    connection: Connection, refused: Refused, values: dict[str, Any], constraint: str
) -> None:
    connection.execute(insert(ObjectRegistry).values(ACCOUNT))
    with refused(constraint):
        connection.execute(insert(FieldRegistry).values(OWNER | values))


def test_the_fields_that_point_at_an_object_are_found(connection: Connection) -> None:
    connection.execute(insert(ObjectRegistry).values(ACCOUNT))
    connection.execute(insert(FieldRegistry).values(OWNER | {"reference_to": ["Group", "User"]}))
    connection.execute(insert(FieldRegistry).values(OWNER | {"api_name": "Name", "column_name": "name"}))
    to_user = select(FieldRegistry.api_name).where(FieldRegistry.reference_to.contains(["User"]))
    assert connection.scalars(to_user).all() == ["OwnerId"]
