"""`object_meta.json`: the objects and fields of one client's Salesforce org (DESIGN section 6).

Holds the model of the file, and its reading and writing. How describes become an `ObjectMeta` belongs in `fetch`, what
tables come of it in `schema`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator
from pydantic import Field as Key

from monarch_dagster.errors import MonarchError
from monarch_dagster.files import replace_file

FILE_NAME = "object_meta.json"
SCHEMA_FILE_NAME = "object_meta.schema.json"
SHOWN_ERRORS = 5

ApiName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=255)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FieldChoices(_Model):
    """What a person decided about a field; a fetch never changes it."""

    column_type: str = Key(default="", description="PostgreSQL type in place of the mapped one, such as numeric(18,2).")


class Field(_Model):
    """One field: its name and the keys of its describe that bear on the schema, named as Salesforce names them.

    Keys with an empty, zero or false value are left out of the file.
    """

    name: ApiName
    label: str = ""
    type: str = Key(default="", description="Salesforce's field type; an unknown one becomes text.")
    length: int = Key(default=0, ge=0, le=10_485_760)
    precision: int = Key(default=0, ge=-1000, le=1000)
    scale: int = Key(default=0, ge=-1000, le=1000)
    digits: int = Key(default=0, ge=0, le=1000)
    referenceTo: tuple[str, ...] = ()  # noqa: N815 - Salesforce's own key
    compoundFieldName: str = ""  # noqa: N815
    externalId: bool = False  # noqa: N815
    unique: bool = False
    caseSensitive: bool = False  # noqa: N815
    calculated: bool = Key(default=False, description="A formula: its value comes from other fields.")
    missing: bool = Key(default=False, description="The last fetch did not show it; its column stays.")
    choices: FieldChoices = FieldChoices()


class Object(_Model):
    """One object, keyed by its API name in the file."""

    label: str = ""
    custom: bool = False
    customSetting: bool = False  # noqa: N815
    missing: bool = Key(default=False, description="The last fetch did not show it; its table stays.")
    fields: tuple[Field, ...]

    @model_validator(mode="after")
    def _no_field_twice(self) -> Object:
        if doubled := _doubled(field.name for field in self.fields):
            raise ValueError(f"fields listed twice (upper and lower case are one): {', '.join(doubled)}")
        return self


class Selection(_Model):
    """Which objects a fetch takes: shell patterns on the API name, upper and lower case alike."""

    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()


class ObjectMeta(_Model):
    """The whole file. The empty one, `ObjectMeta()`, stands for a client whose org was never fetched."""

    schema_: str = Key(default=f"./{SCHEMA_FILE_NAME}", alias="$schema")
    provider: Literal["salesforce"] = "salesforce"
    api_version: str = Key(default="", pattern=r"^(\d{2,3}\.\d)?$", description="Pinned: a new version changes types.")
    org_id: str = Key(default="", pattern=r"^([A-Za-z0-9]{18})?$")
    selection: Selection = Selection()
    objects: dict[ApiName, Object] = {}

    @model_validator(mode="after")
    def _no_table_twice(self) -> ObjectMeta:
        if doubled := _doubled(self.objects):
            raise ValueError(f"objects that would share a table (upper and lower case are one): {', '.join(doubled)}")
        return self

    @property
    def field_count(self) -> int:
        """The number of fields of all objects."""
        return sum(len(item.fields) for item in self.objects.values())

    def missing(self) -> Iterator[tuple[str, str]]:
        """Give (object, field) of what the last fetch did not show; the field is "" where the object is missing."""
        for name, item in sorted(self.objects.items()):
            if item.missing:
                yield name, ""
            yield from ((name, field.name) for field in item.fields if field.missing)


def read_object_meta(path: Path) -> ObjectMeta | None:
    """Read the file; None where there is none.

    Raises `MonarchError`, naming line or key, when it is not JSON, holds unknown keys, or says a thing twice.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MonarchError(f"{path} could not be read: {error.strerror}.", remedy="Check its permissions.") from None
    return parse_object_meta(content, str(path))


def parse_object_meta(content: bytes, where: str) -> ObjectMeta:
    """Read the file's bytes; `where` names them in messages. Raises `MonarchError` as `read_object_meta` does."""
    remedy = "Correct the file, or bring back its last good version with git; nothing was changed."
    try:
        document = json.loads(content.decode("utf-8-sig"), object_pairs_hook=_no_key_twice)
        return ObjectMeta.model_validate(document)
    except UnicodeDecodeError as error:
        raise MonarchError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}.", remedy=remedy) from None
    except json.JSONDecodeError as error:
        found = f"{where} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        raise MonarchError(found, remedy=remedy) from None
    except RecursionError:
        raise MonarchError(f"{where} is nested too deeply to be object metadata.", remedy=remedy) from None
    except ValidationError as error:
        raise MonarchError(f"{where} is not valid:\n{_explain(error)}", remedy=remedy) from None
    except ValueError as error:
        raise MonarchError(f"{where} is not valid: {error}.", remedy=remedy) from None


def write_object_meta(path: Path, meta: ObjectMeta) -> bool:
    """Write the file and, beside it, its JSON Schema, where their bytes differ; return whether `path` changed."""
    content = render_object_meta(meta)
    schema_path = path.with_name(SCHEMA_FILE_NAME)
    schema = json_schema()
    if not schema_path.exists() or schema_path.read_bytes() != schema:
        replace_file(schema_path, schema)
    if path.exists() and path.read_bytes() == content:
        return False
    replace_file(path, content)
    return True


def render_object_meta(meta: ObjectMeta) -> bytes:
    """Return the file's bytes: objects and fields sorted by name, a field a line, nothing that varies by itself."""
    head = {
        "$schema": meta.schema_,
        "provider": meta.provider,
        "api_version": meta.api_version,
        "org_id": meta.org_id,
        "selection": meta.selection.model_dump(mode="json"),
    }
    lines = ["{", *(f"  {_json(key)}: {_json(value)}," for key, value in head.items())]
    objects = sorted(meta.objects.items())
    lines.append('  "objects": {' if objects else '  "objects": {}')
    for number, (name, item) in enumerate(objects, 1):
        described = item.model_dump(mode="json", exclude={"fields"}, exclude_defaults=True)
        lines.append(f"    {_json(name)}: {{")
        lines += [f"      {_json(key)}: {_json(value)}," for key, value in described.items()]
        fields = [_json(_compact(field)) for field in sorted(item.fields, key=lambda field: field.name)]
        lines.append('      "fields": [')
        lines += [f"        {field}{',' if position < len(fields) else ''}" for position, field in enumerate(fields, 1)]
        lines += ["      ]", "    }" + ("," if number < len(objects) else "")]
    if objects:
        lines.append("  }")
    # A lone surrogate is no text; backslashreplace writes it as the JSON escape that it came as.
    return ("\n".join([*lines, "}"]) + "\n").encode("utf-8", "backslashreplace")


def json_schema() -> bytes:
    """Return the JSON Schema (draft 2020-12) of the file, for editors."""
    schema = ObjectMeta.model_json_schema(by_alias=True)
    return (json.dumps(schema, indent=2, sort_keys=True) + "\n").encode()


def digest(path: Path) -> str:
    """Return the SHA-256 of the file in hex, "" where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def _compact(field: Field) -> dict[str, Any]:
    return field.model_dump(mode="json", exclude_defaults=True)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _doubled(names: Iterable[str]) -> list[str]:
    counts = Counter(name.lower() for name in names)
    return sorted(name for name, count in counts.items() if count > 1)


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(f"the key {next(key for key, count in counts.items() if count > 1)!r} stands twice")
    return result


def _explain(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False)
    lines = []
    for item in found[:SHOWN_ERRORS]:
        place = " → ".join(str(part) for part in item["loc"]) or "the document"
        lines.append(f"  {place}: {item['msg']}{_shown(item)}")
    if len(found) > SHOWN_ERRORS:
        lines.append(f"  … and {len(found) - SHOWN_ERRORS} more")
    return "\n".join(lines)


def _shown(item: Any) -> str:
    value = item.get("input")
    return f" (found {str(value)[:80]!r})" if isinstance(value, str | int | float) else ""
