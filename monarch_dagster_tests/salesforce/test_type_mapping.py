"""Salesforce's field types as PostgreSQL's column types, on a real server."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql

from monarch_dagster.errors import MonarchError
from monarch_dagster.postgres.embedded import EmbeddedCluster
from monarch_dagster.postgres.engines import connect
from monarch_dagster.salesforce.choices import TYPES, check_type
from monarch_dagster.salesforce.object_meta import Field, parse_object_meta
from monarch_dagster.salesforce.type_mapping import column_type, has_column, parse_type
from monarch_dagster_tests.support import Project, account

TEXTS = ("string", "picklist", "combobox", "email", "phone", "url", "encryptedstring")
LONG_TEXTS = ("textarea", "multipicklist", "base64", "anyType", "complexvalue", "json", "datacategorygroupreference")


def mapped(**keys: Any) -> str:
    """Return the SQL of the type that a field of these keys gets."""
    kind, _ = column_type(Field(name="Some__c", **keys))
    return str(kind.compile(dialect=postgresql.dialect()))


def chosen(text: str) -> str:
    """Return the SQL of the type that a person wrote."""
    made = parse_type(text)
    assert made is not None
    return str(made.compile(dialect=postgresql.dialect()))


@pytest.fixture(scope="module")
def connection(server: EmbeddedCluster) -> Iterator[Connection]:
    """A database whose transactions are rolled back."""
    name = f"types_{secrets.token_hex(6)}"
    with connect(server.url(name)) as made:
        yield made
    with connect(server.url("postgres"), autocommit=True) as admin:
        admin.exec_driver_sql(f'DROP DATABASE "{name}" WITH (FORCE)')


def accept(connection: Connection, sql: str) -> None:
    """Have PostgreSQL make a column of that type."""
    connection.exec_driver_sql(f"CREATE TABLE tried (c {sql})")
    connection.rollback()


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize(
    ("length", "sql"), [(0, "TEXT"), (1, "VARCHAR(1)"), (255, "VARCHAR(255)"), (256, "TEXT"), (131072, "TEXT")]
)
def test_short_texts_keep_their_length_and_others_are_text(kind: str, length: int, sql: str) -> None:
    assert mapped(type=kind, length=length) == sql


@pytest.mark.parametrize("kind", LONG_TEXTS)
def test_long_texts_are_text_whatever_their_length(kind: str) -> None:
    assert mapped(type=kind, length=80) == "TEXT"


@pytest.mark.parametrize(
    ("keys", "sql"),
    [
        ({"type": "id", "length": 18}, "VARCHAR(18)"),
        ({"type": "id"}, "VARCHAR(18)"),
        ({"type": "reference", "length": 18}, "VARCHAR(18)"),
        ({"type": "reference"}, "VARCHAR(18)"),
        ({"type": "reference", "length": 20}, "VARCHAR(20)"),
        ({"type": "reference", "length": 1300}, "VARCHAR(1300)"),
        ({"type": "reference", "length": 10_485_761}, "TEXT"),
        ({"type": "boolean"}, "BOOLEAN"),
        ({"type": "int", "digits": 8}, "INTEGER"),
        ({"type": "int", "digits": 9}, "INTEGER"),
        ({"type": "int", "digits": 10}, "BIGINT"),
        ({"type": "int"}, "INTEGER"),
        ({"type": "long"}, "BIGINT"),
        ({"type": "date"}, "DATE"),
        ({"type": "datetime"}, "TIMESTAMP WITH TIME ZONE"),
        ({"type": "time"}, "TIME WITHOUT TIME ZONE"),
        ({"type": "address"}, "TEXT"),
        ({"type": "location"}, "TEXT"),
        *[
            ({"type": kind, "precision": 18, "scale": 2}, "NUMERIC(18, 2)")
            for kind in ("currency", "percent", "double")
        ],
        *[({"type": kind, "precision": 18}, "NUMERIC(18, 0)") for kind in ("currency", "percent", "double")],
        *[({"type": kind, "precision": 0, "scale": 2}, "DOUBLE PRECISION") for kind in ("currency", "percent")],
        ({"type": "double", "precision": -1}, "DOUBLE PRECISION"),
        ({"type": "multipicklist", "precision": 4}, "TEXT"),
    ],
)
def test_each_type_has_its_column(keys: dict[str, Any], sql: str) -> None:
    assert mapped(**keys) == sql


@pytest.mark.parametrize("kind", ["", "hologram", "STRING", "text); DROP TABLE x; --", "a\nb"])
def test_an_unknown_type_is_text_with_a_warning_on_one_line(kind: str) -> None:
    made, warning = column_type(Field(name="Some__c", type=kind, length=20))
    assert str(made) == "TEXT"
    assert warning == f"unknown Salesforce type {kind!r}; stored as text"
    assert "\n" not in warning


def test_known_types_warn_of_nothing() -> None:
    for kind in (*TEXTS, *LONG_TEXTS, "id", "int", "address"):
        assert column_type(Field(name="Some__c", type=kind))[1] == ""


def test_a_compound_has_a_column_only_where_its_components_are_not_described() -> None:
    for kind in ("address", "location"):
        compound = Field(name="BillingAddress", type=kind)
        assert not has_column(compound, {"BillingAddress"})
        assert has_column(compound, {"ShippingAddress"})
    assert has_column(Field(name="Name", type="string"), {"Name"})


def test_a_project_gets_columns_for_components_and_for_a_lone_compound(project: Project) -> None:
    fields = {
        "Name": {"type": "string", "length": 121},
        "LastName": {"type": "string", "length": 80, "compoundFieldName": "Name"},
        "BillingAddress": {"type": "address"},
        "BillingCity": {"type": "string", "length": 40, "compoundFieldName": "BillingAddress"},
        "Place__c": {"type": "location"},
    }
    project.write_meta(account(**fields))
    project.generate()
    project.apply()
    columns = {aspect for aspect in project.facts().relations["table salesforce.account"] if "column" in aspect}
    assert columns == {f"column {name}" for name in ("id", "name", "lastname", "billingcity", "place__c")}


@pytest.mark.parametrize(
    ("text", "sql"),
    [
        ("text", "TEXT"),
        (" Varchar(40) ", "VARCHAR(40)"),
        ("varchar (40)", "VARCHAR(40)"),
        ("varchar", "VARCHAR"),
        ("varchar(10485760)", "VARCHAR(10485760)"),
        ("numeric", "NUMERIC"),
        ("numeric(18)", "NUMERIC(18)"),
        ("NUMERIC(18, 2)", "NUMERIC(18, 2)"),
        ("numeric(1000,1000)", "NUMERIC(1000, 1000)"),
        ("double precision", "DOUBLE PRECISION"),
        ("timestamptz", "TIMESTAMP WITH TIME ZONE"),
        ("timestamp", "TIMESTAMP WITHOUT TIME ZONE"),
        ("jsonb", "JSONB"),
        ("uuid", "UUID"),
        ("bytea", "BYTEA"),
        ("smallint", "SMALLINT"),
        ("real", "REAL"),
    ],
)
def test_a_chosen_type_is_one_that_postgresql_has(connection: Connection, text: str, sql: str) -> None:
    assert chosen(text) == sql
    accept(connection, sql)


@pytest.mark.parametrize(
    "text",
    [
        "text); DROP TABLE salesforce.account; --",
        "varchar(10)); DROP SCHEMA salesforce CASCADE; --",
        "integer DEFAULT pg_sleep(10)",
        "text NOT NULL",
        'text COLLATE "C"',
        "text\nNOT NULL",
        "int[]",
        "money",
        "serial",
        "varchar(0)",
        "varchar(10485761)",
        "varchar(10,2)",
        "varchar(-1)",
        "varchar()",
        "varchar(４)",  # noqa: RUF001 - a digit, but no ASCII one
        "numeric(0)",
        "numeric(1001)",
        "numeric(10,1001)",
        "numeric(10,-1)",
        "integer(4)",
        "timestamp(3)",
        "",
        " ",
        "teхt",  # noqa: RUF001 - a Cyrillic letter
        "x" * 100_000,
    ],
)
def test_any_other_text_is_refused_and_the_field_is_named(text: str) -> None:
    assert parse_type(text) is None
    if not text:
        return  # nothing was chosen
    document = {"objects": account(Tier__c={"type": "string", "choices": {"column_type": text}})}
    with pytest.raises(MonarchError, match="which is not a type that Monarch writes") as raised:
        parse_object_meta(json.dumps(document).encode(), "object_meta.json")
    told = raised.value.message
    assert told.startswith("object_meta.json is not valid:\n  objects → Account → fields → 1 → choices: ")
    assert "choices.column_type of Tier__c is" in told
    assert "varchar(n)" in told
    assert len(told) < 600


def test_every_type_that_can_be_chosen_has_its_column() -> None:
    assert [name for name in TYPES if parse_type(name) is None] == []


def test_a_chosen_type_is_the_columns_type(project: Project) -> None:
    project.write_meta(account(Tier__c={"type": "string", "length": 9, "choices": {"column_type": "numeric(18,4)"}}))
    project.generate()
    project.apply()
    assert project.facts().relations["table salesforce.account"]["column tier__c"] == "numeric(18,4)"


def test_a_key_of_numbers_that_a_person_wrote_is_no_sequence_of_its_own(project: Project) -> None:
    kinds = {"Small__c": {"type": "int"}, "Large__c": {"type": "long"}, "Exact__c": {"type": "double", "precision": 9}}
    project.write_meta({name: {"fields": [{"name": "Id", **kind}]} for name, kind in kinds.items()})
    project.generate()
    project.apply()
    relations = project.facts().relations
    keys = [relations[f"table salesforce.{name}"]["column id"] for name in ("small__c", "large__c", "exact__c")]
    assert keys == ["integer NOT NULL", "bigint NOT NULL", "numeric(9,0) NOT NULL"]
    assert not [name for name in relations if name.startswith("sequence salesforce")]


def test_a_hostile_choice_generates_nothing(project: Project) -> None:
    project.write_meta(account(Tier__c={"type": "string", "choices": {"column_type": "text"}}))
    path = project.sources.object_meta_path
    path.write_text(path.read_text().replace('"text"', '"text); DROP TABLE landing.note"'))
    with pytest.raises(MonarchError, match="not a type that Monarch writes") as raised:
        project.generate()
    assert str(path) in raised.value.message
    assert not project.versions.exists() or not list(project.versions.iterdir())


_lengths = st.one_of(st.integers(-1, 300), st.sampled_from([10_485_760, 10_485_761, 2**31 - 1, 2**31, 2**70]))
_numbers = st.one_of(st.integers(-5, 40), st.integers(-1001, 1001))
_types = st.one_of(
    st.sampled_from([*TEXTS, "anyType", "id", "int", "long"]),
    st.sampled_from(["reference", "double", "currency", "percent"]),
    st.text(max_size=20),
)
_choices = st.one_of(
    st.just(""),
    st.just(""),
    st.text(max_size=20),
    st.builds("{}({})".format, st.sampled_from(["varchar", "numeric", "text"]), st.integers(-1, 10**8)),
    st.builds("numeric({},{})".format, st.integers(-1, 1100), st.integers(-1, 1100)),
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=_types, length=_lengths, precision=_numbers, scale=_numbers, digits=_numbers, choice=_choices)
def test_whatever_a_field_says_postgresql_takes_its_type_or_it_is_refused(
    connection: Connection, kind: str, length: int, precision: int, scale: int, digits: int, choice: str
) -> None:
    numbers = {"length": length, "precision": precision, "scale": scale, "digits": digits}
    try:
        made = Field.model_validate({"name": "X__c", "type": kind, **numbers, "choices": {"column_type": choice}})
        sql, _ = column_type(made)
    except (MonarchError, ValidationError):
        return  # reading a file and projecting a describe turn the latter into the former
    accept(connection, str(sql.compile(dialect=postgresql.dialect())))


@pytest.mark.parametrize(
    ("chosen", "holds"),
    [("text", True), ("varchar", True), ("varchar(18)", True)]
    + [(kind, False) for kind in ("varchar(10)", "integer", "uuid", "bytea")],
)
def test_the_key_takes_no_type_that_does_not_hold_an_id(chosen: str, holds: bool) -> None:
    if holds:
        check_type(chosen, "Id")
        return
    with pytest.raises(ValueError, match="does not hold the 18 characters of an Id"):
        check_type(chosen, "Id")
