"""`object_meta.json`: the objects and fields of one client's Salesforce org (DESIGN section 6).

Holds the model of the file, and its reading and writing. How describes become an `ObjectMeta` belongs in `fetch`, what
tables come of it in `schema`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic import Field as Key

from monarch_dagster.errors import MonarchError
from monarch_dagster.files import replace_file
from monarch_dagster.memory import uncollected
from monarch_dagster.salesforce.choices import USABLE_TYPES, check_exclude, check_former_name, check_type
from monarch_dagster.salesforce.strict_json import explain, read_json

FILE_NAME = "object_meta.json"
SCHEMA_FILE_NAME = "object_meta.schema.json"

API_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,254}")
ApiName = Annotated[str, StringConstraints(pattern=f"^{API_NAME.pattern}$")]
# Written as JSON escapes: what an editor or a diff does not show, or shows elsewhere, and halves of characters.
_HIDDEN = re.compile("[\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]")
# Longer than any that Salesforce has; a file of labels stays one that people can read.
Label = Annotated[str, StringConstraints(max_length=1000)]
Text = Annotated[str, StringConstraints(max_length=20_000)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ObjectChoices(_Model):
    """What a person decided about an object; a fetch never changes it."""

    renamed_from: ApiName | Literal[""] = Key(default="", description="Its API name before: the table keeps its rows.")


class FieldChoices(_Model):
    """What a person decided about a field; a fetch never changes it."""

    renamed_from: ApiName | Literal[""] = Key(default="", description="Its API name before: the column keeps its data.")
    column_type: str = Key(
        default="",
        description="PostgreSQL type in place of the mapped one, such as numeric(18,2). A fetch writes the old type "
        "here where the org's would not hold the values; delete it to convert the column. One of: " + USABLE_TYPES,
    )
    index: bool | None = Key(default=None, description="Whether the column has an index; left out: Monarch's rule.")
    foreign_key: bool = Key(default=False, description="Whether this lookup to one object has a foreign key.")


class Field(_Model):
    """One field: its name and the keys of its describe that bear on the schema, named as Salesforce names them.

    Keys with an empty, zero or false value are left out of the file.
    """

    name: ApiName
    label: Label = ""
    type: str = Key(default="", description="Salesforce's field type; an unknown one becomes text.")
    length: int = Key(default=0, ge=0, le=2**31 - 1)
    precision: int = Key(default=0, ge=-1000, le=1000)
    scale: int = Key(default=0, ge=-1000, le=1000)
    digits: int = Key(default=0, ge=0, le=1000)
    referenceTo: tuple[str, ...] = ()  # noqa: N815 - Salesforce's own key
    compoundFieldName: str = ""  # noqa: N815
    externalId: bool = False  # noqa: N815
    unique: bool = False
    caseSensitive: bool = False  # noqa: N815
    calculated: bool = Key(default=False, description="A formula: its value comes from other fields.")
    calculatedFormula: Text = Key(default="", description="The formula, where the org shows it.")  # noqa: N815
    relationshipName: ApiName | Literal[""] = ""  # noqa: N815
    missing: bool = Key(default=False, description="The last fetch did not show it; its column stays.")
    choices: FieldChoices = FieldChoices()

    @field_validator("choices")
    @classmethod
    def _choices_can_be_had(cls, choices: FieldChoices, known: ValidationInfo) -> FieldChoices:
        name = known.data.get("name", "")
        check_type(choices.column_type, name)
        check_former_name(choices.renamed_from, name, of_field=True)
        return choices


class Object(_Model):
    """One object, keyed by its API name in the file."""

    label: Label = ""
    custom: bool = False
    customSetting: bool = False  # noqa: N815
    missing: bool = Key(default=False, description="The last fetch did not show it; its table stays.")
    choices: ObjectChoices = ObjectChoices()
    fields: tuple[Field, ...]

    @model_validator(mode="after")
    def _no_field_twice(self) -> Object:
        if doubled := _doubled(field.name for field in self.fields):
            raise ValueError(f"fields listed twice (upper and lower case are one): {', '.join(doubled)}")
        return self


class Selection(_Model):
    """Which objects and fields a fetch takes: shell patterns on the API name, upper and lower case alike."""

    include: tuple[str, ...] = Key(default=("*",), description="The objects to take.")
    exclude: tuple[str, ...] = Key(
        default=(),
        description="Objects to leave out, and fields: Account.Big__c, or *.Big__c for that of every object. What is "
        "in the file already stays as it is, until a person deletes its entry.",
    )

    @field_validator("exclude")
    @classmethod
    def _keys_stay(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            check_exclude(pattern)
        return patterns


class ObjectMeta(_Model):
    """The whole file. The empty one, `ObjectMeta()`, stands for a client whose org was never fetched."""

    schema_: str = Key(default=f"./{SCHEMA_FILE_NAME}", alias="$schema")
    provider: Literal["salesforce"] = "salesforce"
    api_version: str = Key(
        default="", pattern=r"^([0-9]{2,3}\.0)?$", description="Pinned: a new version changes types."
    )
    org_id: str = Key(default="", pattern=r"^([A-Za-z0-9]{18})?$")
    selection: Selection = Selection()
    objects: dict[ApiName, Object] = {}

    @model_validator(mode="after")
    def _no_table_twice(self) -> ObjectMeta:
        if doubled := _doubled(self.objects):
            raise ValueError(f"objects that would share a table (upper and lower case are one): {', '.join(doubled)}")
        for name, item in self.objects.items():
            check_former_name(item.choices.renamed_from, name, of_field=False)
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
    content = _content(path)
    return None if content is None else parse_object_meta(content, str(path))


@uncollected()
def parse_object_meta(content: bytes, where: str) -> ObjectMeta:
    """Read the file's bytes; `where` names them in messages. Raises `MonarchError` as `read_object_meta` does."""
    remedy = "Correct the file, or bring back its last good version with git; nothing was changed."
    try:
        return ObjectMeta.model_validate(read_json(content))
    except UnicodeDecodeError as error:
        raise MonarchError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}.", remedy=remedy) from None
    except json.JSONDecodeError as error:
        found = f"{where} is not JSON: {error.msg} in line {error.lineno}, column {error.colno}."
        raise MonarchError(found, remedy=remedy) from None
    except RecursionError:
        raise MonarchError(f"{where} is nested too deeply to be object metadata.", remedy=remedy) from None
    except ValidationError as error:
        raise MonarchError(f"{where} is not valid:\n{explain(error)}", remedy=remedy) from None
    except ValueError as error:
        raise MonarchError(f"{where} is not valid: {error}.", remedy=remedy) from None


def write_object_meta(path: Path, meta: ObjectMeta) -> bool:
    """Write the file and, beside it, its JSON Schema, where their bytes differ; return whether `path` changed."""
    content, schema = render_object_meta(meta), json_schema()
    schema_path = path.with_name(SCHEMA_FILE_NAME)
    if _content(schema_path) != schema:
        replace_file(schema_path, schema)
    if _content(path) == content:
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
        "selection": meta.selection.model_dump(),
    }
    lines = ["{", *(f"  {_json(key)}: {_json(value)}," for key, value in head.items())]
    objects = sorted(meta.objects.items())
    lines.append('  "objects": {' if objects else '  "objects": {}')
    for number, (name, item) in enumerate(objects, 1):
        described = item.model_dump(exclude={"fields"}, exclude_defaults=True)
        lines.append(f"    {_json(name)}: {{")
        lines += [f"      {_json(key)}: {_json(value)}," for key, value in described.items()]
        fields = [render_field(field) for field in sorted(item.fields, key=lambda field: field.name)]
        lines.append('      "fields": [')
        lines += [f"        {field}{',' if position < len(fields) else ''}" for position, field in enumerate(fields, 1)]
        lines += ["      ]", "    }" + ("," if number < len(objects) else "")]
    if objects:
        lines.append("  }")
    return ("\n".join([*lines, "}"]) + "\n").encode()


def render_field(field: Field) -> str:
    """Return a field's line in the file, without a comma at its end."""
    return _json(_compact(field))


def json_schema() -> bytes:
    """Return the JSON Schema (draft 2020-12) of the file, for editors."""
    schema = ObjectMeta.model_json_schema(by_alias=True)
    return (json.dumps(schema, indent=2, sort_keys=True) + "\n").encode()


def digest(path: Path) -> str:
    """Return the SHA-256 of the file in hex, "" where there is none. Raises `MonarchError` when it cannot be read."""
    content = _content(path)
    return "" if content is None else hashlib.sha256(content).hexdigest()


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise MonarchError(f"{path} could not be read: {error.strerror}.", remedy="Check its permissions.") from None


def _compact(field: Field) -> dict[str, Any]:
    return field.model_dump(exclude_defaults=True)


def _json(value: object) -> str:
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


def _doubled(names: Iterable[str]) -> list[str]:
    counts = Counter(name.lower() for name in names)
    return sorted(name for name, count in counts.items() if count > 1)
