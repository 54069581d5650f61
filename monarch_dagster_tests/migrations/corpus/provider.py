"""Transitions of a provider's tables, as object_meta.json changes; the core models stay."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster_tests.migrations.corpus.transition import Transition
from monarch_dagster_tests.support import account

STRING = {"type": "string", "length": 40}
ROWS = "INSERT INTO salesforce.account (id, name) VALUES ('001', 'x'), ('002', NULL)"
KEEPS = {"SELECT id, name FROM salesforce.account ORDER BY id": [("001", "x"), ("002", None)]}
EXTERNAL = {**STRING, "externalId": True}
UNIQUE = {**EXTERNAL, "unique": True}
DELETED = {"IsDeleted": {"type": "boolean"}}
TWICE = ROWS.replace("NULL", "'X'")
LONG = "A_name_that_is_longer_than_PostgreSQL_lets_any_name_be_in_its_catalog__c"


def changed(name: str, before: dict[str, Any], after: dict[str, Any], **more: Any) -> Transition:
    """Return the change of the fields of Account beside its name, with two rows."""
    metas = {"meta_before": account(Name=STRING, **before), "meta_after": account(**{"Name": STRING, **after})}
    return Transition(name, **metas, **{"rows": ROWS, "keeps": KEEPS, "restores": KEEPS, **more})


def retyped(name: str, before: dict[str, Any], after: dict[str, Any], value: str, ask: Any, **more: Any) -> Transition:
    """Return the change of one field, X__c, of a row that has a value there."""
    return changed(
        name,
        {"X__c": before},
        {"X__c": after},
        rows=f"INSERT INTO salesforce.account (id, x__c) VALUES ('001', {value})",
        keeps={"SELECT x__c::text FROM salesforce.account": [(ask,)]},
        restores={},
        **more,
    )


def contact(**fields: Any) -> dict[str, Any]:
    """Return the metadata of Account and Contact."""
    described = [{"name": "Id", "type": "id", "length": 18}, *({"name": name, **keys} for name, keys in fields.items())]
    return {**account(Name=STRING), "Contact": {"label": "Contact", "fields": described}}


def looking(*targets: str, **choices: Any) -> dict[str, Any]:
    """Return a lookup and what a person chose for it."""
    return {"type": "reference", "length": 18, "referenceTo": targets, "choices": choices}


PROVIDER: Final = [
    changed("a field is added", {}, {"Tier__c": STRING}),
    changed(
        "a field of every type is added",
        {},
        {
            "Text__c": {"type": "textarea", "length": 32000},
            "Flag__c": {"type": "boolean"},
            "Count__c": {"type": "int", "digits": 9},
            "Amount__c": {"type": "currency", "precision": 18, "scale": 2},
            "On__c": {"type": "date"},
            "At__c": {"type": "datetime"},
            "Time__c": {"type": "time"},
            "Parent__c": {"type": "reference", "length": 18, "referenceTo": ["Account"]},
            "Odd__c": {"type": "something new"},
        },
    ),
    changed(
        "a field is removed by hand",
        {"Tier__c": STRING},
        {},
        rows=ROWS + "; UPDATE salesforce.account SET tier__c = 'gold'",
        loses="up",
        hazards=["data_loss"],
    ),
    changed("a field without values is removed by hand", {"Tier__c": STRING}, {}),
    changed("a field is wider", {}, {"Name": {"type": "string", "length": 80}}),
    changed("a field is narrower", {}, {"Name": {"type": "string", "length": 20}}),
    changed("a field becomes long text", {}, {"Name": {"type": "textarea", "length": 32000}}),
    changed(
        "a field's label changes",
        {"Tier__c": {**STRING, "label": "Tier"}},
        {"Tier__c": {**STRING, "label": "it's 100% :x"}},
        same=True,
    ),
    changed("a field is missing and stays", {"Tier__c": STRING}, {"Tier__c": {**STRING, "missing": True}}, same=True),
    changed("a field with a long name is added", {}, {LONG: STRING}),
    retyped("a string becomes a number", STRING, {"type": "double", "precision": 18, "scale": 2}, "'5.00'", "5.00"),
    retyped("a string becomes a date", STRING, {"type": "date"}, "'2024-02-29'", "2024-02-29"),
    retyped("a string becomes a flag", STRING, {"type": "boolean"}, "'true'", "true"),
    retyped("a number becomes a string", {"type": "int", "digits": 9}, STRING, "42", "42"),
    retyped(
        "a number gets more digits",
        {"type": "double", "precision": 10, "scale": 2},
        {"type": "double", "precision": 18, "scale": 2},
        "5.25",
        "5.25",
    ),
    retyped(
        "a number gets a finer scale",
        {"type": "double", "precision": 18, "scale": 2},
        {"type": "double", "precision": 18, "scale": 4},
        "5.25",
        "5.2500",
    ),
    retyped(
        "a number gets more digits than an integer has",
        {"type": "int", "digits": 9},
        {"type": "int", "digits": 15},
        "5",
        "5",
    ),
    retyped(
        "a date becomes a time stamp",
        {"type": "date"},
        {"type": "datetime"},
        "'2024-02-29'",
        "2024-02-29 00:00:00+00",
        loses="any",
    ),
    retyped(
        "a person chooses a type", STRING, {**STRING, "choices": {"column_type": "numeric(18,2)"}}, "'5.25'", "5.25"
    ),
    retyped(
        "a value that does not convert",
        STRING,
        {"type": "int", "digits": 9},
        "'n/a'",
        "n/a",
        blocked="values do not all fit",
    ),
    Transition(
        "an object is added",
        meta_before=account(Name=STRING),
        meta_after=contact(Email={"type": "email", "length": 80}),
    ),
    Transition("the first object is added", meta_before={}, meta_after=account(Name=STRING)),
    Transition(
        "the file is there for the first time",
        meta_after=account(Name=STRING),
        reverse_refused=r"There is no .*object_meta\.json, but the chain holds 1 table",
    ),
    Transition(
        "an object is removed by hand",
        meta_before=contact(Email=STRING),
        meta_after=account(Name=STRING),
        rows="INSERT INTO salesforce.contact VALUES ('003', 'x')",
        loses="up",
        hazards=["data_loss"],
    ),
    Transition(
        "an object without rows is removed by hand", meta_before=contact(Email=STRING), meta_after=account(Name=STRING)
    ),
    Transition(
        "an object with a long name is added",
        meta_before=account(),
        meta_after={**account(), LONG: {"label": "Long", "fields": [{"name": "Id", "type": "id", "length": 18}]}},
    ),
    changed("a field becomes an external id", {}, {"Name": EXTERNAL}),
    changed(
        "a field becomes a unique external id",
        DELETED,
        {**DELETED, "Name": UNIQUE},
        hazards=["scan"],
        works=[
            "INSERT INTO salesforce.account (id, isdeleted, name) VALUES ('003', true, 'X'), ('004', true, 'X')",
            "INSERT INTO salesforce.account (id, isdeleted, name) VALUES ('003', false, 'y')",
        ],
    ),
    Transition(
        "values that are the same stop a unique external id",
        meta_before=account(Name=STRING),
        meta_after=account(Name=UNIQUE),
        rows=TWICE,
        blocked=r"(?s)could not create unique index \"uq_account_name\".*Key \(lower\(name::text\)\)=\(…\)",
    ),
    Transition(
        "upper and lower case begin to differ in an external id",
        meta_before=account(Name={**UNIQUE, "caseSensitive": False}),
        meta_after=account(Name={**UNIQUE, "caseSensitive": True}),
        rows=ROWS,
        works=["INSERT INTO salesforce.account (id, name) VALUES ('003', 'X')"],
    ),
    changed("an external id gets a longer text", {"Key__c": UNIQUE}, {"Key__c": {**UNIQUE, "length": 80}}),
    changed("an external id of text becomes a number", {"Key__c": UNIQUE}, {"Key__c": {**UNIQUE, "type": "int"}}),
    changed("the flag of deleted records comes under unique values", {"Key__c": UNIQUE}, {"Key__c": UNIQUE, **DELETED}),
    changed(
        "an external id is missing and stays", {"Key__c": UNIQUE}, {"Key__c": {**UNIQUE, "missing": True}}, same=True
    ),
    changed("the time of the last change is added", {}, {"SystemModstamp": {"type": "datetime"}}),
    changed("a lookup is indexed", {"At__c": looking("Account")}, {"At__c": looking("Account", index=True)}),
    changed(
        "a lookup to its own object gets a key",
        {"At__c": looking("Account")},
        {"At__c": looking("Account", foreign_key=True)},
        rows=ROWS + "; UPDATE salesforce.account SET at__c = 'nobody'",
        works=["INSERT INTO salesforce.account (id, at__c) VALUES ('003', '004'), ('004', '003')"],
    ),
    Transition(
        "two objects refer to each other by keys",
        meta_before={**contact(At__c=looking("Account")), **account(Name=STRING, Main__c=looking("Contact"))},
        meta_after={
            **contact(At__c=looking("Account", foreign_key=True)),
            **account(Name=STRING, Main__c=looking("Contact", foreign_key=True)),
        },
        rows="INSERT INTO salesforce.account (id, main__c) VALUES ('1', '2'); "
        "INSERT INTO salesforce.contact VALUES ('2', '1')",
    ),
    Transition(
        "an object with a key to another one is added",
        meta_before=account(Name=STRING),
        meta_after=contact(At__c=looking("Account", foreign_key=True)),
        rows=ROWS,
    ),
    Transition(
        "the type of a lookup with a key changes",
        meta_before=contact(At__c=looking("Account", foreign_key=True)),
        meta_after=contact(At__c=looking("Account", foreign_key=True, column_type="text", index=False)),
        rows="INSERT INTO salesforce.account (id) VALUES ('1'); INSERT INTO salesforce.contact VALUES ('2', '1')",
        keeps={"SELECT at__c FROM salesforce.contact": [("1",)]},
    ),
    Transition(
        "an object that others refer to by keys is renamed",
        meta_before=contact(At__c=looking("Account", foreign_key=True)),
        meta_after={
            "Contact": contact(At__c=looking("Firm", foreign_key=True))["Contact"],
            "Firm": {**account(Name=STRING)["Account"], "choices": {"renamed_from": "Account"}},
        },
        rows="INSERT INTO salesforce.account (id) VALUES ('1'); INSERT INTO salesforce.contact VALUES ('2', '1')",
        keeps={"SELECT at__c, f.id FROM salesforce.contact c JOIN salesforce.firm f ON f.id = at__c": [("1", "1")]},
        loses="any",
    ),
]
