"""How a declared object becomes a describe, with every key that Salesforce sends.

Builders for objects only: fields are built in `fields`, what the sample org consists of is in `standard_objects`,
`platform_objects`, `custom_objects` and `org`.

The key set follows describes of API version 65; the keys are explained in the SOAP API Developer Guide,
`DescribeSObjectResult`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from monarch_dagster.salesforce.sample_org.fields import Field

Describe = dict[str, Any]
"""One object's describe, as JSON gives it."""

_API_VERSION = "65.0"
_INSTANCE = "https://sample-org.my.salesforce.com"

_PLAIN: Describe = {
    "actionOverrides": [],
    "activateable": False,
    "associateEntityType": None,
    "associateParentEntity": None,
    "childRelationships": [],
    "compactLayoutable": True,
    "createable": True,
    "custom": False,
    "customSetting": False,
    "deepCloneable": False,
    "defaultImplementation": None,
    "deletable": True,
    "deprecatedAndHidden": False,
    "extendedBy": None,
    "extendsInterfaces": None,
    "feedEnabled": False,
    "fields": [],
    "hasSubtypes": False,
    "implementedBy": None,
    "implementsInterfaces": None,
    "isInterface": False,
    "isSubtype": False,
    "keyPrefix": None,
    "label": "",
    "labelPlural": "",
    "layoutable": True,
    "listviewable": None,
    "lookupLayoutable": None,
    "mergeable": False,
    "mruEnabled": True,
    "name": "",
    "namedLayoutInfos": [],
    "networkScopeFieldName": None,
    "queryable": True,
    "recordTypeInfos": [],
    "replicateable": True,
    "retrieveable": True,
    "searchLayoutable": True,
    "searchable": True,
    "sobjectDescribeOption": "FULL",
    "supportedScopes": [],
    "triggerable": True,
    "undeletable": True,
    "updateable": True,
    "urls": {},
}


def sobject(
    name: str, label: str, plural: str, *, prefix: str | None, fields: Sequence[Field | list[Field]], **keys: Any
) -> Describe:
    """Expand one object.

    Args:
        name: API name.
        label: what a person sees, singular.
        plural: what a person sees, plural.
        prefix: the first three characters of its record ids; None where the object has no records.
        fields: its fields; a list among them (a compound field's) is spliced in.
        keys: describe keys that differ from the usual.

    Returns:
        All keys that Salesforce sends for an object. `childRelationships` is empty until `connect`.
    """
    path = f"/services/data/v{_API_VERSION}/sobjects/{name}"
    usual: Describe = {
        "name": name,
        "label": label,
        "labelPlural": plural,
        "keyPrefix": prefix,
        "custom": name.endswith(("__c", "__e", "__x")),
        "childRelationships": [],
        "recordTypeInfos": [_master_record_type(path)],
        "supportedScopes": [{"label": f"All {plural.lower()}", "name": "everything"}],
        "fields": [each for entry in fields for each in (entry if isinstance(entry, list) else [entry])],
        "urls": {
            "sobject": path,
            "describe": f"{path}/describe",
            "layouts": f"{path}/describe/layouts",
            "rowTemplate": f"{path}/{{ID}}",
            "uiDetailTemplate": f"{_INSTANCE}/{{ID}}",
        },
    }
    return _PLAIN | usual | keys


def connect(objects: Iterable[Describe]) -> dict[str, Describe]:
    """Return the objects by name, each with the child relationships that the others' references make."""
    by_name = {described["name"]: described for described in sorted(objects, key=lambda described: described["name"])}
    for child in by_name.values():
        for each in child["fields"]:
            for target in each["referenceTo"]:
                if target in by_name:
                    by_name[target]["childRelationships"].append(_child_relationship(child, each))
    return by_name


def _child_relationship(child: Describe, reference: Field) -> dict[str, Any]:
    return {
        "cascadeDelete": reference["cascadeDelete"],
        "childSObject": child["name"],
        "deprecatedAndHidden": child["deprecatedAndHidden"],
        "field": reference["name"],
        "junctionIdListNames": [],
        "junctionReferenceTo": [],
        "relationshipName": None,
        "restrictedDelete": reference["restrictedDelete"],
    }


def _master_record_type(path: str) -> dict[str, Any]:
    record_type = "012000000000000AAA"
    return {
        "active": True,
        "available": True,
        "defaultRecordTypeMapping": True,
        "developerName": "Master",
        "master": True,
        "name": "Master",
        "recordTypeId": record_type,
        "urls": {"layout": f"{path}/describe/layouts/{record_type}"},
    }
