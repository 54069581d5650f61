"""When so much is missing at once that a fetch stops, and what the report says."""

from __future__ import annotations

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.guards import FEWEST_MISSING, Guards, Lost, check_missing, find_lost, report
from monarch_dagster.salesforce.namespaces import field_namespace
from monarch_dagster.salesforce.object_meta import Field, Object, ObjectMeta

MANY = 40


def an_org(**counts: int) -> ObjectMeta:
    """Return metadata with so many fields an object."""
    return ObjectMeta(
        objects={
            name: Object(fields=tuple(Field(name=f"F{number}__c") for number in range(count)))
            for name, count in counts.items()
        }
    )


def without(meta: ObjectMeta, *gone: str, **fields: int) -> ObjectMeta:
    """Return the metadata with the objects marked missing, and so many of the first fields of others."""
    objects = dict(meta.objects)
    for name in gone:
        objects[name] = objects[name].model_copy(update={"missing": True})
    for name, count in fields.items():
        kept = tuple(
            item.model_copy(update={"missing": position < count}) for position, item in enumerate(objects[name].fields)
        )
        objects[name] = objects[name].model_copy(update={"fields": kept})
    return meta.model_copy(update={"objects": objects})


def lost(before: ObjectMeta, after: ObjectMeta, *expected: str) -> Lost:
    return find_lost(before, after, expected or before.objects)


def refusal(found: Lost, percent: int = 3) -> MonarchError | None:
    """Return the error with which a fetch would stop."""
    try:
        check_missing(found, Guards(max_missing_percent=percent))
    except MonarchError as error:
        return error
    return None


def test_nothing_lost_is_no_alarm() -> None:
    org = an_org(Account=MANY, Lead=MANY)
    assert lost(org, org).fields == ()
    assert refusal(lost(org, org), percent=0) is None


def test_a_few_fields_are_no_alarm_whatever_their_share() -> None:
    org = an_org(Account=FEWEST_MISSING, Lead=1)
    assert refusal(lost(org, without(org, Account=FEWEST_MISSING - 1)), percent=0) is None
    assert refusal(lost(org, without(org, Account=FEWEST_MISSING)), percent=0) is not None


def test_one_object_that_is_gone_is_no_alarm_and_two_are() -> None:
    org = an_org(Account=MANY, Lead=MANY, Case=MANY)
    assert refusal(lost(org, without(org, "Lead"))) is None
    assert refusal(lost(org, without(org, "Lead", "Case"))) is not None
    assert refusal(lost(org, without(org, "Lead", Case=MANY - 1))) is not None


def test_a_share_that_is_allowed_is_taken_and_one_field_more_is_not() -> None:
    org = an_org(Account=1000, Lead=1000)
    assert refusal(lost(org, without(org, Account=60))) is None
    found = refusal(lost(org, without(org, Account=61)))
    assert found is not None
    assert "no longer shows 61 of 2,000 fields that it showed before (3.0 %; more than 3 % at once" in found.message
    assert refusal(lost(org, without(org, Account=61)), percent=4) is None
    assert "monarch fetch --max-missing 100" in found.remedy


def test_everything_at_once_is_never_believed() -> None:
    org = an_org(Account=1, Lead=2)
    found = refusal(lost(org, without(org, "Account", "Lead")), percent=100)
    assert found is not None
    assert "no fetch believes that" in found.message
    assert "--max-missing" not in found.remedy


def test_what_was_missing_before_or_not_asked_for_does_not_count() -> None:
    org = an_org(Account=MANY, Lead=MANY)
    gone = without(org, "Account", Lead=10)
    assert lost(gone, gone).fields == ()
    assert lost(org, without(org, "Account", "Lead"), "lead").total == MANY


def test_the_report_names_namespaces_objects_and_the_first_fields_and_stays_short() -> None:
    names = ["Account", *(f"acme__Load_{number}__c" for number in range(500))]
    org = an_org(**dict.fromkeys(names, MANY))
    found = lost(org, without(org, *names[1:], Account=20))
    lines = list(report(found))
    assert found.namespaces() == ("acme",)
    assert lines[0] == "  namespace acme: 20,000 fields, everything"
    assert lines[1].startswith("  objects that are gone (500): acme__Load_0__c, acme__Load_100__c, acme__Load_101__c")
    assert lines[1].endswith(" and 490 more")
    assert lines[2] == "  fields gone of 1 object that are there: Account (20)"
    assert lines[3].startswith("  such as Account.F0__c, Account.F1__c")
    assert len("\n".join(lines)) < 1000
    assert list(report(lost(org, without(org, names[1])))) == [
        "  namespace acme: 40 fields, of 20,000",
        "  objects that are gone (1): acme__Load_0__c",
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Account", ""),
        ("Tier__c", ""),
        ("Order_Placed__e", ""),
        ("Site__Latitude__s", ""),
        ("acme__Load__c", "acme"),
        ("acme__Site__Longitude__s", "acme"),
        ("CHANNEL_ORDERS__Order__ChangeEvent", "CHANNEL_ORDERS"),
    ],
)
def test_a_field_without_a_namespace_has_that_of_its_object(name: str, expected: str) -> None:
    assert field_namespace("other__Thing__c", name) == (expected or "other")
