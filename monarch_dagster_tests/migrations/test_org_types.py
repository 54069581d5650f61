"""What the org makes of a type, from describe to revision: widened in place, else kept; labels change nothing."""

from __future__ import annotations

from typing import Any, Final

from monarch_dagster.migrations.changes import change_kind
from monarch_dagster.postgres.types import change_of
from monarch_dagster.salesforce.kept_types import kept_type, mapped_type
from monarch_dagster.salesforce.object_meta import Field, FieldChoices
from monarch_dagster_tests.support import Project, account

# Every type of Salesforce with sizes that occur; one that is not known, too.
DESCRIBED: Final[list[dict[str, Any]]] = [
    {"type": "reference", "length": 18},
    {"type": "reference", "length": 40},
    {"type": "string"},
    *({"type": "string", "length": length} for length in (40, 80, 255, 1300)),
    {"type": "picklist", "length": 40},
    {"type": "combobox", "length": 100},
    {"type": "email", "length": 80},
    {"type": "phone", "length": 40},
    {"type": "url", "length": 255},
    {"type": "encryptedstring", "length": 175},
    {"type": "textarea", "length": 32_768},
    {"type": "multipicklist", "length": 4_099, "precision": 4},
    *({"type": name} for name in ("base64", "anyType", "complexvalue", "json", "datacategorygroupreference")),
    *({"type": name} for name in ("boolean", "date", "datetime", "time", "long", "address", "location", "novelty")),
    {"type": "int", "digits": 9},
    {"type": "int", "digits": 18},
    {"type": "currency", "precision": 18, "scale": 2},
    {"type": "currency", "precision": 18, "scale": 4},
    {"type": "percent", "precision": 5, "scale": 2},
    {"type": "double", "precision": 18},
    {"type": "double"},
]


def field(number: int, described: dict[str, Any], **choices: str) -> Field:
    return Field(name=f"F{number}__c", **described, choices=FieldChoices(**choices))


def written(described: list[tuple[int, Field]]) -> dict[str, Any]:
    """Return the fields of an object, ready for the file."""
    return {item.name: item.model_dump(exclude_defaults=True, exclude={"name"}) for _, item in described}


def test_every_change_in_the_org_widens_in_place_or_keeps_the_column(project: Project) -> None:
    numbers = list({mapped_type(field(number, item)): number for number, item in enumerate(DESCRIBED)}.values())
    before, after = {}, {}
    expected = set()
    for old in numbers:
        name = f"From_{old}"
        fields = {}
        for new in numbers:
            was, now = (field(new, DESCRIBED[number]) for number in (old, new))
            kept = kept_type(was, now)
            fields[new] = field(new, DESCRIBED[new], **({"column_type": kept} if kept else {}))
            if change_of(mapped_type(was), mapped_type(now)) == "widened":
                expected.add((f"table salesforce.{name.lower()}", f"column f{new}__c", "widened"))
        before[name] = account(**written([(new, field(new, DESCRIBED[old])) for new in numbers]))["Account"]
        after[name] = account(**written(list(fields.items())))["Account"]
    project.write_meta(before)
    project.generate()
    project.write_meta(after)
    proposal = project.generate(dry_run=True)
    assert {(item.relation, item.aspect, change_kind(item)) for item in proposal.changes} == expected
    assert {hazard.kind for item in proposal.revisions for hazard in item.hazards} == {"rewrite", "lock"}


def test_labels_picklists_and_formulas_never_cause_a_migration(project: Project) -> None:
    described = {
        "Stage__c": {"type": "picklist", "length": 40},
        "Sum__c": {"type": "double", "precision": 18, "scale": 2},
    }
    project.write_meta(account(**described))
    project.generate()
    changed = {
        "Stage__c": described["Stage__c"] | {"label": "Phase", "missing": True},
        "Sum__c": described["Sum__c"] | {"label": "Total", "calculated": True, "calculatedFormula": "Amount * 2"},
    }
    meta = account(**changed)
    meta["Account"] |= {"label": "Customer", "missing": True}
    project.write_meta(meta, api_version="60.0")
    assert project.generate().revisions == ()
