"""How a declared field becomes an entry of a describe's `fields`, with every key that Salesforce sends.

Builders for fields only; objects are built in `describe`.

Key set and conventions (three bytes per character, 18-character ids, which types filter and sort) follow describes of
API version 65; the keys are explained in the SOAP API Developer Guide, `DescribeSObjectResult`, `Field`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

Field = dict[str, Any]
"""One entry of a describe's `fields`."""

_PLAIN: Field = {
    "aggregatable": True,
    "aiPredictionField": False,
    "autoNumber": False,
    "byteLength": 0,
    "calculated": False,
    "calculatedFormula": None,
    "cascadeDelete": False,
    "caseSensitive": False,
    "compoundFieldName": None,
    "controllerName": None,
    "createable": True,
    "custom": False,
    "defaultValue": None,
    "defaultValueFormula": None,
    "defaultedOnCreate": False,
    "dependentPicklist": False,
    "deprecatedAndHidden": False,
    "digits": 0,
    "displayLocationInDecimal": False,
    "encrypted": False,
    "externalId": False,
    "extraTypeInfo": None,
    "filterable": True,
    "filteredLookupInfo": None,
    "formulaTreatNullNumberAsZero": False,
    "groupable": True,
    "highScaleNumber": False,
    "htmlFormatted": False,
    "idLookup": False,
    "inlineHelpText": None,
    "label": "",
    "length": 0,
    "mask": None,
    "maskType": None,
    "name": "",
    "nameField": False,
    "namePointing": False,
    "nillable": True,
    "permissionable": True,
    "picklistValues": [],
    "polymorphicForeignKey": False,
    "precision": 0,
    "queryByDistance": False,
    "referenceTargetField": None,
    "referenceTo": [],
    "relationshipName": None,
    "relationshipOrder": None,
    "restrictedDelete": False,
    "restrictedPicklist": False,
    "scale": 0,
    "searchPrefilterable": False,
    "soapType": "",
    "sortable": True,
    "type": "",
    "unique": False,
    "updateable": True,
    "writeRequiresMasterRead": False,
}

_SOAP_TYPES = {
    "id": "tns:ID",
    "reference": "tns:ID",
    "boolean": "xsd:boolean",
    "int": "xsd:int",
    "long": "xsd:long",
    "double": "xsd:double",
    "currency": "xsd:double",
    "percent": "xsd:double",
    "date": "xsd:date",
    "datetime": "xsd:dateTime",
    "time": "xsd:time",
    "base64": "xsd:base64Binary",
    "anyType": "xsd:anyType",
    "address": "urn:address",
    "location": "urn:location",
}
_NOT_GROUPABLE = {"boolean", "datetime", "double", "currency", "percent", "combobox", "time"}
_OPAQUE = {"anyType", "base64", "complexvalue", "encryptedstring", "json", "location"}


def field(name: str, label: str, kind: str, **keys: Any) -> Field:
    """Expand one field.

    Args:
        name: API name; a trailing `__c` or `__s` makes the field custom.
        label: what a person sees.
        kind: the describe's `type`.
        keys: describe keys that differ from what is usual for the type.

    Returns:
        All keys that Salesforce sends for a field, in its order (alphabetical).
    """
    length = keys.get("length", 0)
    opaque = kind in _OPAQUE or length > 255
    usual: Field = {
        "name": name,
        "label": label,
        "type": kind,
        "custom": name.endswith(("__c", "__s")),
        "byteLength": length if kind in ("id", "reference") else length * 3,
        "soapType": _SOAP_TYPES.get(kind, "xsd:string"),
        "aggregatable": not opaque and kind not in ("boolean", "address"),
        "filterable": not opaque,
        "groupable": not opaque and kind not in _NOT_GROUPABLE and kind != "address",
        "sortable": not opaque and kind not in ("address", "multipicklist"),
        "picklistValues": [],
        "referenceTo": [],
    }
    return _PLAIN | usual | keys


def read_only(described: Field) -> Field:
    """Return the field as one that only Salesforce writes and that always has a value."""
    unwritable = dict.fromkeys(("createable", "updateable", "nillable", "permissionable"), False)
    return described | unwritable | {"defaultedOnCreate": True}


def record_id(label: str) -> Field:
    """Expand the field `Id`."""
    return read_only(field("Id", label, "id", length=18, idLookup=True))


def text(name: str, label: str, length: int, **keys: Any) -> Field:
    """Expand a field of type `string`; `length` 0 occurs in real describes and means unlimited."""
    return field(name, label, "string", length=length, **keys)


def long_text(name: str, label: str, length: int = 32000, **keys: Any) -> Field:
    """Expand a field of type `textarea`."""
    return field(name, label, "textarea", length=length, **{"extraTypeInfo": "plaintextarea"} | keys)


def number(name: str, label: str, precision: int, scale: int = 0, kind: str = "double", **keys: Any) -> Field:
    """Expand a field of type `double`, `currency` or `percent`."""
    return field(name, label, kind, precision=precision, scale=scale, **keys)


def flag(name: str, label: str, **keys: Any) -> Field:
    """Expand a field of type `boolean`; it always has a value."""
    return field(name, label, "boolean", **{"defaultValue": False, "defaultedOnCreate": True, "nillable": False} | keys)


def choice(name: str, label: str, values: Sequence[str], kind: str = "picklist", **keys: Any) -> Field:
    """Expand a field of type `picklist`, `multipicklist` or `combobox` with its values."""
    length = 255 if name.endswith("__c") or kind == "combobox" else 40
    return field(name, label, kind, **{"length": length, "picklistValues": picklist_values(values)} | keys)


def picklist_values(values: Iterable[str]) -> list[dict[str, Any]]:
    """Return the active entries of a picklist whose labels equal their values."""
    return [
        {"active": True, "defaultValue": False, "label": value, "validFor": None, "value": value} for value in values
    ]


def lookup(name: str, label: str, *targets: str, **keys: Any) -> Field:
    """Expand a field of type `reference`; more than one target makes it polymorphic."""
    polymorphic = len(targets) > 1
    relationship = name[:-1] + "r" if name.endswith("__c") else name.removesuffix("Id")
    usual = {
        "length": 18,
        "referenceTo": list(targets),
        "relationshipName": relationship,
        "namePointing": polymorphic,
        "polymorphicForeignKey": polymorphic,
    }
    return field(name, label, "reference", **usual | keys)


def formula(described: Field, expression: str) -> Field:
    """Return the field as one that Salesforce calculates from `expression`."""
    unwritable = dict.fromkeys(("createable", "updateable"), False)
    return described | unwritable | {"calculated": True, "calculatedFormula": expression}


def geolocation(name: str, label: str) -> list[Field]:
    """Expand a custom geolocation: the compound field and its two components."""
    stem = name.removesuffix("__c")
    parts = [
        number(f"{stem}__{part}__s", f"{label} ({part})", 18, 15, compoundFieldName=name)
        for part in ("Latitude", "Longitude")
    ]
    return [*parts, field(name, label, "location", createable=False, updateable=False)]


def address(prefix: str) -> list[Field]:
    """Expand a standard address: street, city and so on, and the compound field over them."""
    of: dict[str, Any] = {"compoundFieldName": f"{prefix}Address"}
    accuracy = ("Address", "NearAddress", "Street", "Zip", "City", "State", "Unknown")
    return [
        long_text(f"{prefix}Street", f"{prefix} Street", 255, **of),
        text(f"{prefix}City", f"{prefix} City", 40, **of),
        text(f"{prefix}State", f"{prefix} State/Province", 80, **of),
        text(f"{prefix}PostalCode", f"{prefix} Zip/Postal Code", 20, **of),
        text(f"{prefix}Country", f"{prefix} Country", 80, **of),
        number(f"{prefix}Latitude", f"{prefix} Latitude", 18, 15, **of),
        number(f"{prefix}Longitude", f"{prefix} Longitude", 18, 15, **of),
        choice(f"{prefix}GeocodeAccuracy", f"{prefix} Geocode Accuracy", accuracy, restrictedPicklist=True, **of),
        field(
            f"{prefix}Address", f"{prefix} Address", "address", createable=False, updateable=False, queryByDistance=True
        ),
    ]


def person_name() -> list[Field]:
    """Expand a person's name: last name, first name, salutation, and the compound `Name`, which is a string."""
    of: dict[str, Any] = {"compoundFieldName": "Name", "extraTypeInfo": "personname", "permissionable": False}
    return [
        text("LastName", "Last Name", 80, nillable=False, **of),
        text("FirstName", "First Name", 40, **of),
        choice("Salutation", "Salutation", ("Mr.", "Ms.", "Mx.", "Dr.", "Prof."), **of),
        read_only(text("Name", "Full Name", 121, nameField=True, extraTypeInfo="personname")),
    ]


def audit_fields() -> list[Field]:
    """Expand the fields that Salesforce keeps on nearly every object."""
    return [
        read_only(flag("IsDeleted", "Deleted")),
        read_only(field("CreatedDate", "Created Date", "datetime")),
        read_only(lookup("CreatedById", "Created By ID", "User")),
        read_only(field("LastModifiedDate", "Last Modified Date", "datetime")),
        read_only(lookup("LastModifiedById", "Last Modified By ID", "User")),
        read_only(field("SystemModstamp", "System Modstamp", "datetime")),
    ]
