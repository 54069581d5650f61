"""`object_meta.json`: what is read, what is refused and how, and which bytes are written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.object_meta import (
    SCHEMA_FILE_NAME,
    Field,
    FieldChoices,
    Object,
    ObjectMeta,
    Selection,
    digest,
    json_schema,
    parse_object_meta,
    read_object_meta,
    render_object_meta,
    write_object_meta,
)
from monarch_dagster_tests.salesforce.support import files

ACCOUNT: dict[str, Any] = {
    "objects": {"Account": {"label": "Account", "fields": [{"name": "Id", "type": "id"}, {"name": "Name"}]}}
}

_labels = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_names = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,30}", fullmatch=True)


def _distinct(items: list[Any]) -> tuple[Any, ...]:
    return tuple({item.name.lower(): item for item in items}.values())


_fields = st.builds(
    Field,
    name=_names,
    label=_labels,
    type=st.sampled_from(["", "id", "string", "currency", "no such type"]),
    length=st.integers(0, 2**31 - 1),
    precision=st.integers(-1000, 1000),
    referenceTo=st.lists(_names, max_size=3).map(tuple),
    unique=st.booleans(),
    missing=st.booleans(),
    choices=st.builds(FieldChoices, column_type=st.sampled_from(["", "text", "numeric(18,2)"])),
)
_objects = st.builds(
    Object,
    label=_labels,
    custom=st.booleans(),
    missing=st.booleans(),
    fields=st.lists(_fields, max_size=4).map(_distinct),
)
_metas = st.builds(
    ObjectMeta,
    api_version=st.sampled_from(["", "64.0"]),
    org_id=st.sampled_from(["", "00D000000000001AAA"]),
    selection=st.builds(Selection, include=st.lists(_labels, max_size=2).map(tuple)),
    objects=st.dictionaries(_names, _objects, max_size=3).map(
        lambda found: {name: found[name] for name in {name.lower(): name for name in found}.values()}
    ),
)


def in_order(meta: ObjectMeta) -> dict[str, Any]:
    """Return what the metadata says, without the order in which it was given."""
    said = meta.model_dump()
    for item in said["objects"].values():
        item["fields"] = sorted(item["fields"], key=lambda field: str(field["name"]))
    return said


def refused(content: str | bytes) -> str:
    """Return the message with which a file's content is refused."""
    with pytest.raises(MonarchError) as raised:
        parse_object_meta(content if isinstance(content, bytes) else content.encode(), "object_meta.json")
    assert raised.value.remedy
    str(raised.value).encode()  # can be printed
    return raised.value.message


def refused_object(**keys: Any) -> str:
    """Return the message with which an object is refused."""
    return refused(json.dumps({"objects": {"Account": {"fields": [], **keys}}}))


@given(_metas)
def test_what_is_written_is_read_again_and_written_with_the_same_bytes(meta: ObjectMeta) -> None:
    content = render_object_meta(meta)
    again = parse_object_meta(content, "written")
    assert in_order(again) == in_order(meta)
    assert render_object_meta(again) == content


@given(_metas)
def test_the_shipped_json_schema_accepts_whatever_is_written(meta: ObjectMeta) -> None:
    jsonschema.validate(
        json.loads(render_object_meta(meta)), json.loads(json_schema()), jsonschema.Draft202012Validator
    )


@given(_metas)
def test_every_field_and_every_object_has_a_line_of_its_own(meta: ObjectMeta) -> None:
    lines = render_object_meta(meta).decode().splitlines()
    fields = [json.loads(line.strip().rstrip(",")) for line in lines if line.startswith("        {")]
    assert len(fields) == meta.field_count
    assert [line for line in lines if line.startswith('    "')] == [
        f'    "{name}": {{' for name in sorted(meta.objects)
    ]


@given(_metas, st.randoms())
def test_the_order_in_which_things_are_given_does_not_show(meta: ObjectMeta, random: Any) -> None:
    names = list(meta.objects)
    random.shuffle(names)
    mixed = {name: meta.objects[name].model_copy(update={"fields": meta.objects[name].fields[::-1]}) for name in names}
    assert render_object_meta(meta.model_copy(update={"objects": mixed})) == render_object_meta(meta)


def test_the_json_schema_is_valid_and_refuses_unknown_keys() -> None:
    schema = json.loads(json_schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    with pytest.raises(jsonschema.ValidationError, match="'colour'"):
        jsonschema.validate({"colour": 1}, schema)
    assert json_schema() == json_schema()


def test_the_file_looks_as_documented() -> None:
    assert render_object_meta(ObjectMeta.model_validate(ACCOUNT | {"api_version": "64.0"})).decode() == (
        '{\n  "$schema": "./object_meta.schema.json",\n  "provider": "salesforce",\n  "api_version": "64.0",\n'
        '  "org_id": "",\n  "selection": {"include": ["*"], "exclude": []},\n  "objects": {\n    "Account": {\n'
        '      "label": "Account",\n      "fields": [\n        {"name": "Id", "type": "id"},\n'
        '        {"name": "Name"}\n      ]\n    }\n  }\n}\n'
    )


def test_any_json_formatting_is_read() -> None:
    plain = parse_object_meta(json.dumps(ACCOUNT).encode(), "file")
    for content in (
        json.dumps(ACCOUNT, indent=7).replace("\n", "\r\n\t").encode(),
        b"\xef\xbb\xbf" + json.dumps(ACCOUNT).encode(),
    ):
        assert parse_object_meta(content, "file") == plain


def test_a_hand_written_selection_alone_is_a_file() -> None:
    meta = parse_object_meta(b'{"selection": {"include": ["Account"]}}', "file")
    assert meta == ObjectMeta(selection=Selection(include=("Account",)))


def test_no_file_is_no_metadata(tmp_path: Path) -> None:
    assert read_object_meta(tmp_path / "object_meta.json") is None
    assert digest(tmp_path / "object_meta.json") == ""


def test_writing_the_same_again_touches_no_file(tmp_path: Path) -> None:
    path = tmp_path / "schema" / "object_meta.json"
    meta = ObjectMeta.model_validate(ACCOUNT)
    assert write_object_meta(path, meta)
    before = files(tmp_path)
    assert not write_object_meta(path, meta)
    assert files(tmp_path) == before
    assert {name.name for name in path.parent.iterdir()} == {"object_meta.json", SCHEMA_FILE_NAME}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    for action in (read_object_meta, digest, lambda path: write_object_meta(path, ObjectMeta())):
        with pytest.raises(MonarchError, match="could not be read: Is a directory") as raised:
            action(tmp_path)
        assert str(tmp_path) in raised.value.message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is not JSON: Expecting value in line 1, column 1"),
        ('{\n  "objects": {\n  }},', "Extra data in line 3, column 5"),
        ('{"provider": "salesforce",}', "is not JSON: .* in line 1, column"),
        (b"\xff\xfe{}", "is not UTF-8 text: invalid start byte at byte 0"),
        ("[]", "the document: "),
        ("null", "the document: "),
        ('{"provider": "hubspot"}', "provider: Input should be 'salesforce'.*found 'hubspot'"),
        ('{"api_version": "sixty"}', "api_version: .*found 'sixty'"),
        ('{"api_version": "64.0\\n"}', "api_version: "),
        ('{"org_id": "short"}', "org_id: .*found 'short'"),
        ('{"selection": {"include": "*"}}', "selection → include: "),
        ('{"schema_": "x"}', "schema_: Extra inputs are not permitted"),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ('{"a":' * 200 + "1" + "}" * 200, "a: Extra inputs are not permitted"),
        ('{"objects": {"Bad Name": {"fields": []}}}', "objects → Bad Name → .key.: "),
        ('{"objects": {"A\\ud800": {"fields": []}}}', "objects → A"),
        ('{"objects": {"A\\u0000": {"fields": []}}}', r"objects → A\\x00"),
        ('{"objects": {"A\\n": {"fields": []}}}', r"objects → A\\n"),
    ],
)
def test_a_broken_file_is_refused_by_line_or_key(content: str | bytes, said: str) -> None:
    assert re.search(said, refused(content), re.DOTALL), refused(content)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"labels": "x"}, "objects → Account → labels: Extra inputs"),
        ({"label": 7}, "objects → Account → label: Input should be a valid string (found 7)"),
        ({"label": "x" * 1001}, "at most 1000 characters"),
        ({"fields": {}}, "objects → Account → fields: "),
        ({"fields": [{"type": "id"}]}, "objects → Account → fields → 0 → name: Field required"),
        ({"fields": [{"name": "Id", "colour": 1}]}, "objects → Account → fields → 0 → colour: Extra inputs"),
        ({"fields": [{"name": "Id", "choices": {"drop": 1}}]}, "fields → 0 → choices → drop: Extra inputs"),
        ({"fields": [{"name": "Id", "length": -1}]}, "fields → 0 → length: "),
        ({"fields": [{"name": "Id", "length": 1.5}]}, "fields → 0 → length: "),
        ({"fields": [{"name": "Id", "length": float("nan")}]}, "fields → 0 → length: "),
        ({"fields": [{"name": "Id", "precision": 10**6}]}, "fields → 0 → precision: "),
        ({"fields": [{"name": "Id"}, {"name": "ID"}]}, "listed twice (upper and lower case are one): id"),
        ({"fields": [{"name": "Drop'; --"}]}, "fields → 0 → name: "),
        ({"fields": [{"name": "x" * 256}]}, "fields → 0 → name: "),
        ({"fields": [{"name": "Id", "label": "\ud800"}]}, "fields → 0 → label: "),
    ],
)
def test_what_an_object_cannot_hold_is_refused_by_its_key(keys: dict[str, Any], said: str) -> None:
    assert said in refused_object(**keys)


@pytest.mark.parametrize(
    ("field", "former", "said"),
    [
        ("Tier__c", "tier__C", "Tier__c says that it was itself"),
        ("Id", "Old__c", "Id is the key of its table and is never renamed"),
        ("Key__c", "id", "Id is the key of its table and is never renamed"),
    ],
)
def test_a_former_name_that_no_field_can_have_had_is_refused_in_plain_words(field: str, former: str, said: str) -> None:
    told = refused_object(fields=[{"name": field, "choices": {"renamed_from": former}}])
    assert said in told
    assert f"is {former}" in told
    assert "objects → Account → fields → 0 → choices: " in told


def test_an_object_that_says_it_was_itself_is_refused_in_plain_words() -> None:
    said = refused_object(choices={"renamed_from": "ACCOUNT"})
    assert "Account says that it was itself (choices.renamed_from is ACCOUNT)" in said
    parse_object_meta(b'{"objects": {"Account": {"fields": [], "choices": {"renamed_from": "Id"}}}}', "file")


@pytest.mark.parametrize("pattern", ["Account.Id", "*.id", "*.*", "Account.*Id", "a.??"])
def test_a_pattern_that_excludes_the_key_is_refused(pattern: str) -> None:
    said = refused(json.dumps({"selection": {"exclude": ["Lead", pattern]}}))
    assert f"selection → exclude: '{pattern}' excludes the field Id, which is the key of its table" in said
    spared = {"selection": {"exclude": ["Id", "Account.?*Id", "*.Id__c", "*.I"]}}
    assert parse_object_meta(json.dumps(spared).encode(), "file").selection.exclude[0] == "Id"


def test_a_number_of_thousands_of_digits_is_refused() -> None:
    said = refused('{"objects": {"A": {"fields": [{"name": "Id", "length": ' + "9" * 100_000 + "}]}}}")
    assert "is no number that object metadata holds" in said
    assert len(said) < 300


def test_a_key_that_stands_twice_is_named_with_what_stands_beside_it() -> None:
    said = refused('{"objects": {"Account": {"fields": [{"name": "Tier__c", "label": "A", "label": "B"}]}}}')
    assert "the key 'label' stands twice (beside 'name': 'Tier__c', 'label': 'A'" in said
    assert "the key 'Account' stands twice" in refused('{"objects": {"Account": {}, "Account": {}}}')


def test_two_objects_of_one_table_are_refused() -> None:
    said = refused('{"objects": {"Account": {"fields": []}, "ACCOUNT": {"fields": []}}}')
    assert "objects that would share a table (upper and lower case are one): account" in said


def test_of_many_errors_the_first_are_shown() -> None:
    said = refused_object(fields=[{"name": f"bad {number}"} for number in range(200)])
    assert said.count("→ name:") == 5
    assert "… and 195 more" in said


@pytest.mark.parametrize(
    "hidden", ["\u202e", "\u2028", "\u0085", "\u200b", "\ufeff", "\x7f", "\u2066", "\x1b", "\n", "\0"]
)
def test_characters_that_hide_in_a_diff_are_written_as_escapes(hidden: str) -> None:
    meta = ObjectMeta.model_validate({"objects": {"A": {"label": f"a{hidden}b", "fields": []}}})
    content = render_object_meta(meta)
    assert f"\\u{ord(hidden):04x}" in content.decode() or hidden == "\n"
    assert len(content.decode().splitlines()) == content.count(b"\n")
    assert parse_object_meta(content, "written") == meta


def test_letters_of_all_scripts_are_written_as_they_are() -> None:
    meta = ObjectMeta.model_validate({"objects": {"A": {"label": "Größe 商談 ñ 🎉 م", "fields": []}}})
    assert "Größe 商談 ñ 🎉 م".encode() in render_object_meta(meta)
