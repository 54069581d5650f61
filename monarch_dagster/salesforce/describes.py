"""From Salesforce's answers to objects: which are mirrored, and what of a describe bears on the schema. Pure.

Asking the org, and folding the answers into the file, belong in `fetch` and `merge`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.object_meta import API_NAME, Field, Object, Selection
from monarch_dagster.salesforce.selection import is_selected

FIELD_KEYS = frozenset(Field.model_fields) - {"missing", "choices"}


def select_objects(entries: Iterable[Mapping[str, Any]], selection: Selection) -> tuple[list[str], dict[str, str]]:
    """Choose among describeGlobal's entries; return the names to describe, sorted, and why others are left out.

    By flags, since lists of names age: an object is mirrored when it can be queried and retrieved and is not
    deprecated. Raises `MonarchError` for a name that is no API name, or stands twice.
    """
    chosen: list[str] = []
    seen: set[str] = set()
    left_out: dict[str, str] = {}
    for entry in entries:
        name = str(entry["name"])
        if not is_selected(name, selection):
            continue
        if not API_NAME.fullmatch(name) or name.lower() in seen:
            reason = "stands twice" if API_NAME.fullmatch(name) else "is not an API name"
            raise MonarchError(
                f"The org lists an object {name[:80]!r}, which {reason}. Nothing was changed.",
                remedy='Exclude it ("selection" → "exclude" in object_meta.json) or report it.',
            )
        seen.add(name.lower())
        if reason := _unfit(entry):
            left_out[name] = reason
        else:
            chosen.append(name)
    return sorted(chosen), left_out


def project(describe: Mapping[str, Any], name: str) -> Object | None:
    """Reduce a describe of object `name` to what bears on the schema; None for an object without an `Id`.

    Raises `MonarchError` when it is not the describe of that object, or holds what no describe holds.
    """
    fields = describe.get("fields")
    if not isinstance(fields, list) or not all(isinstance(item, dict) for item in fields):
        raise _bad_describe(name, "it has no list of fields")
    if describe.get("name") != name:
        raise _bad_describe(name, f"it is the describe of {str(describe.get('name'))[:80]!r}")
    if not any(item.get("name") == "Id" for item in fields):
        return None
    try:
        return Object(
            label=describe.get("label") or "",
            custom=describe.get("custom") or False,
            customSetting=describe.get("customSetting") or False,
            fields=tuple(sorted((_project_field(item, name) for item in fields), key=lambda item: item.name)),
        )
    except ValidationError as error:
        raise _bad_describe(name, _first_reason(error)) from None


def _unfit(entry: Mapping[str, Any]) -> str:
    if entry.get("deprecatedAndHidden"):
        return "deprecated and hidden"
    if not entry.get("queryable"):
        return "cannot be queried"
    return "" if entry.get("retrieveable") else "cannot be retrieved"


def _project_field(item: Mapping[str, Any], object_name: str) -> Field:
    try:
        return Field.model_validate(
            {key: item[key] for key in FIELD_KEYS if item.get(key)} | {"name": item.get("name")}
        )
    except ValidationError as error:
        raise _bad_describe(object_name, f"field {str(item.get('name'))[:80]!r}: {_first_reason(error)}") from None


def _first_reason(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    found = first["input"]
    shown = f", found {str(found)[:80]!r}" if isinstance(found, str | int | float) else ""
    return f"{place}: {first['msg']}{shown}" if place else first["msg"].removeprefix("Value error, ")


def _bad_describe(name: str, reason: str) -> MonarchError:
    return MonarchError(
        f"The describe of {name} cannot be used: {reason}. Nothing was changed.",
        remedy=f'Exclude it ("selection" → "exclude" in object_meta.json: "{name}") or report it.',
    )
