"""Which type a column keeps when the org says another one, and choices that the org outgrew."""

from __future__ import annotations

import pytest

from monarch_dagster.salesforce.changes import Change
from monarch_dagster.salesforce.kept_types import TightChoice, effective_type, tight_choices
from monarch_dagster.salesforce.merge import MergeResult, merge_fetch
from monarch_dagster.salesforce.object_meta import Field, FieldChoices, Object, ObjectMeta
from monarch_dagster.salesforce.type_mapping import column_type, has_column, parse_type, type_text

ORG = {"api_version": "64.0", "org_id": "00D000000000001AAA"}


def text(length: int, **keys: object) -> Field:
    return Field.model_validate({"name": "Code__c", "type": "string", "length": length, **keys})


def number(precision: int, scale: int) -> Field:
    return Field(name="Code__c", type="currency", precision=precision, scale=scale)


def an_object(*fields: Field) -> Object:
    return Object(fields=(Field(name="Id", type="id"), *fields))


def fetched(before: ObjectMeta, *fields: Field) -> MergeResult:
    return merge_fetch(before, {"Account": an_object(*fields)}, {"Account"}, **ORG)


def stored(*fields: Field) -> ObjectMeta:
    return ObjectMeta(objects={"Account": an_object(*fields)}, **ORG)


def field(meta: ObjectMeta, name: str = "Code__c") -> Field:
    return next(item for item in meta.objects["Account"].fields if item.name == name)


@pytest.mark.parametrize(
    ("before", "after", "kind", "types", "chosen"),
    [
        (text(40), text(80), "widened", ("varchar(40)", "varchar(80)"), ""),
        (text(80), text(40), "narrowed", ("varchar(80)", "varchar(40)"), "varchar(80)"),
        (text(0), text(40), "narrowed", ("text", "varchar(40)"), "text"),
        (number(18, 2), number(18, 4), "narrowed", ("numeric(18,2)", "numeric(18,4)"), "numeric(18,2)"),
        (number(16, 2), number(18, 4), "widened", ("numeric(16,2)", "numeric(18,4)"), ""),
        (number(18, 2), text(40), "retyped", ("numeric(18,2)", "varchar(40)"), "numeric(18,2)"),
        (
            Field(name="Code__c", type="datetime"),
            Field(name="Code__c", type="date"),
            "retyped",
            ("timestamptz", "date"),
            "timestamptz",
        ),
        (
            Field(name="Code__c", type="int", digits=9),
            Field(name="Code__c", type="int", digits=18),
            "widened",
            ("integer", "bigint"),
            "",
        ),
    ],
)
def test_a_wider_type_goes_through_and_any_other_keeps_the_columns(
    before: Field, after: Field, kind: str, types: tuple[str, str], chosen: str
) -> None:
    result = fetched(stored(before), after)
    (change,) = result.changes
    assert (change.kind, (change.before, change.after)) == (kind, types)
    assert field(result.meta).choices == FieldChoices(column_type=chosen)
    assert effective_type(field(result.meta)) == (chosen or types[1])
    assert ("delete that choice to convert it" in change.note) == bool(chosen)


def test_a_type_that_comes_back_leaves_the_choice_which_then_says_the_same() -> None:
    narrowed = fetched(stored(text(80)), text(40))
    back = fetched(narrowed.meta, text(80))
    assert back.changes == (
        Change(
            "widened",
            "Account",
            "Code__c",
            "varchar(40)",
            "varchar(80)",
            "the column stays varchar(80), as its choice says",
        ),
    )
    assert list(tight_choices(back.meta)) == []


def test_what_a_person_chose_is_never_changed_and_warned_of_where_the_org_outgrows_it() -> None:
    chosen = text(40, choices={"column_type": "VARCHAR(60)", "index": True})
    wider = fetched(stored(chosen), text(80))
    assert field(wider.meta).choices == chosen.choices
    assert list(tight_choices(wider.meta)) == [TightChoice("Account", "Code__c", "VARCHAR(60)", "varchar(80)")]
    assert 'delete "column_type": "VARCHAR(60)" at that field' in str(next(tight_choices(wider.meta)))
    assert list(tight_choices(fetched(wider.meta, text(60)).meta)) == []
    assert list(tight_choices(fetched(wider.meta).meta)) == []  # it is missing, so nothing comes that may not fit


def test_a_kept_type_that_may_not_hold_what_the_org_has_is_warned_of() -> None:
    retyped = fetched(stored(number(18, 2)), text(40))
    assert list(tight_choices(retyped.meta)) == [TightChoice("Account", "Code__c", "numeric(18,2)", "varchar(40)")]


@pytest.mark.parametrize("gone", [False, True])
def test_an_address_keeps_its_column_when_its_components_are_shown(gone: bool) -> None:
    before = stored(Field(name="Site__c", type="address"))
    street = Field(name="Street__c", type="string", length=80, compoundFieldName="Site__c")
    result = fetched(before, street) if gone else fetched(before, Field(name="Site__c", type="address"), street)
    assert has_column(field(result.meta, "Site__c"), {"Site__c"})
    assert effective_type(field(result.meta, "Site__c")) == "text"
    assert fetched(result.meta, Field(name="Site__c", type="address"), street).changes == (
        (Change("returned", "Account", "Site__c"),) if gone else ()
    )


def test_a_type_is_written_as_a_choice_takes_it() -> None:
    fields = [
        *(text(length) for length in (0, 1, 255, 256)),
        *(number(precision, scale) for precision, scale in ((18, 2), (18, 0), (0, 0), (1000, 1000))),
        *(
            Field(name="F", type=kind, length=18, digits=digits)
            for kind in ("id", "reference", "boolean", "int", "long", "date", "datetime", "time", "base64", "hologram")
            for digits in (9, 10)
        ),
    ]
    for item in fields:
        kind = column_type(item)[0]
        assert repr(parse_type(type_text(kind))) == repr(kind)
