"""Serving a folder of describe files in place of the shipped org."""

from __future__ import annotations

import json
import logging
import tarfile
from pathlib import Path
from typing import Any

import pytest
import requests

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.sample_org.describes import FOLDER_ORG_ID, load_describes
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running

RECORDED = Path(__file__).parents[2].parent / "shared" / "describes"


def write(path: Path, content: Any, *, prefix: bytes = b"") -> Path:
    path.write_bytes(prefix + json.dumps(content).encode())
    return path


def described(name: str, *fields: str) -> dict[str, Any]:
    return {"name": name, "fields": [{"name": field, "type": "string"} for field in fields]}


def recorded(name: str) -> Path:
    folder = RECORDED / name
    if not folder.exists():
        pytest.skip(f"the recorded describes are absent: {folder}")
    return folder


class Client:
    """Calls a running org with its session id."""

    def __init__(self, org: RunningOrg) -> None:
        self._base = f"{org.url}/services/data/v59.0/"
        self._session = requests.Session()
        self._session.headers["Authorization"] = f"Bearer {org.credentials.session_id}"

    def get(self, path: str, **headers: str) -> requests.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._session.get(self._base + path, headers=sent, timeout=10)

    def names(self) -> list[str]:
        return [each["name"] for each in self.get("sobjects").json()["sobjects"]]

    def fields(self, name: str) -> list[str]:
        return [field["name"] for field in self.get(f"sobjects/{name}/describe").json()["fields"]]


def test_a_byte_order_mark_an_envelope_and_a_missing_name_are_read(tmp_path: Path) -> None:
    write(tmp_path / "Marked.json", described("Marked", "Id"), prefix=b"\xef\xbb\xbf")
    write(tmp_path / "wrapped.json", {"status": 0, "result": described("Wrapped", "Id")})
    write(tmp_path / "Nameless.v2.json", {"fields": [{"name": "Id"}]})
    loaded = load_describes(tmp_path)
    assert list(loaded) == ["Marked", "Nameless", "Wrapped"]
    assert loaded["Nameless"] == {"name": "Nameless", "fields": [{"name": "Id"}]}


def test_other_files_are_left_out(tmp_path: Path) -> None:
    write(tmp_path / "Thing__c.json", described("Thing__c", "Id"))
    write(tmp_path / "_anything.json", "ignored")
    write(tmp_path / "global.json", {"encoding": "UTF-8", "sobjects": []})
    (tmp_path / "README.md").write_text("ignored")
    (tmp_path / "folder.json").mkdir()
    assert list(load_describes(tmp_path)) == ["Thing__c"]


def test_of_several_files_the_one_named_like_the_object_is_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "Account.PersonAccount.json", described("Account", "Person"))
    write(tmp_path / "Account.json", described("Account", "Plain"))
    write(tmp_path / "Lead.v1.json", described("Lead", "First"))
    write(tmp_path / "Lead.v2.json", described("Lead", "Second"))
    with caplog.at_level(logging.WARNING):
        loaded = load_describes(tmp_path)
    assert [loaded[name]["fields"][0]["name"] for name in ("Account", "Lead")] == ["Plain", "First"]
    assert [record.getMessage() for record in caplog.records] == [
        "Account.json describes Account; left out: Account.PersonAccount.json",
        "Lead.v1.json describes Lead; left out: Lead.v2.json",
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"name": "A", "fields"', "is not JSON"),
        (b"\xff\xfe{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a describe"),
        (b'{"name": "A"}', "is not a describe"),
        (b'{"name": "A", "fields": [{"label": "no name"}]}', "is not a describe"),
        (b'{"name": 5, "fields": []}', "is not a describe"),
    ],
)
def test_a_file_that_is_no_describe_is_named(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "A.json"
    file.write_bytes(content)
    with pytest.raises(MonarchError, match=said) as raised:
        load_describes(tmp_path)
    assert raised.value.message.startswith(str(file))
    assert raised.value.remedy


def test_a_missing_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(MonarchError, match="nowhere"):
        load_describes(tmp_path / "nowhere")
    with pytest.raises(MonarchError, match="There is no describe in"):
        load_describes(tmp_path)
    with pytest.raises(MonarchError, match="There is no describe in"), running(tmp_path, home=tmp_path / "home"):
        pass


def test_edits_of_a_served_folder_are_served(tmp_path: Path) -> None:
    folder = tmp_path / "describes"
    folder.mkdir()
    file = write(folder / "Thing__c.json", described("Thing__c", "Id"))
    kept = write(folder / "Kept__c.json", described("Kept__c", "Id"))
    with running(folder, home=tmp_path / "home") as org:
        client = Client(org)
        before = client.get("sobjects/Thing__c/describe").headers["Last-Modified"]
        write(file, described("Thing__c", "Id", "Added__c"))
        assert client.fields("Thing__c") == ["Id", "Added__c"]
        assert client.get("sobjects/Thing__c/describe", If_Modified_Since=before).status_code == 200
        assert client.get(f"sobjects/{kept.stem}/describe", If_Modified_Since=before).status_code == 304
        file.unlink()
        assert client.names() == ["Kept__c"]
        assert client.get("sobjects/Thing__c/describe").status_code == 404


def test_a_folder_broken_while_served_is_a_server_error_that_names_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "describes"
    folder.mkdir()
    file = write(folder / "Thing__c.json", described("Thing__c", "Id"))
    with running(folder, home=tmp_path / "home") as org:
        client = Client(org)
        file.write_text('{"name":')
        broken = client.get("sobjects")
        assert broken.status_code == 500
        assert str(file) in broken.json()[0]["message"]
        write(file, described("Thing__c", "Id"))
        assert client.names() == ["Thing__c"]


def test_a_describe_of_fields_only_can_still_be_selected(tmp_path: Path) -> None:
    folder = tmp_path / "describes"
    folder.mkdir()
    write(folder / "Thing__c.json", {"fields": [{"name": "Id"}]})
    with running(folder, home=tmp_path / "home") as org:
        (listed,) = Client(org).get("sobjects").json()["sobjects"]
    assert (listed["name"], listed["label"], listed["custom"]) == ("Thing__c", "Thing__c", True)
    assert (listed["queryable"], listed["retrieveable"], listed["deprecatedAndHidden"]) == (True, True, False)


def test_a_hostile_name_or_label_arrives_unharmed(tmp_path: Path) -> None:
    folder = tmp_path / "describes"
    folder.mkdir()
    name, label = 'a/b?c"; DROP TABLE x --', "\ud800 lone \u2028 \x00"
    write(folder / "x.json", {"name": name, "label": label, "fields": []})
    with running(folder, home=tmp_path / "home") as org:
        (listed,) = Client(org).get("sobjects").json()["sobjects"]
        path = listed["urls"]["describe"].removeprefix("/services/data/v59.0/")
        answered = Client(org).get(path).json()
    assert (answered["name"], answered["label"]) == (name, label)


def test_a_served_folder_has_an_organization_and_no_versions(tmp_path: Path) -> None:
    folder = tmp_path / "describes"
    folder.mkdir()
    write(folder / "Thing__c.json", described("Thing__c", "Id"))
    with running(folder, home=tmp_path / "home") as org:
        answered = Client(org).get("query?q=SELECT+Id+FROM+Organization").json()
        switched = requests.post(f"{org.url}/sample-org/version/2", timeout=10)
    assert answered["records"][0]["Id"] == org.organization_id == FOLDER_ORG_ID
    assert switched.status_code == 409


def test_every_recorded_folder_is_served_as_it_is(tmp_path: Path) -> None:
    for folder in sorted(recorded("fixtures").iterdir()):
        expected = load_describes(folder)
        with running(folder, home=tmp_path) as org:
            client = Client(org)
            assert client.names() == sorted(expected)
            for name, content in expected.items():
                assert client.get(f"sobjects/{name}/describe").json() == content


@pytest.mark.soak
def test_a_whole_recorded_org_is_served(tmp_path: Path) -> None:
    with tarfile.open(recorded("mid-org.tar.xz")) as archive:
        archive.extractall(tmp_path, filter="data")
    with running(tmp_path / "mid-org", home=tmp_path / "home") as org:
        client = Client(org)
        names = client.names()
        assert len(names) == 500
        assert sum(len(client.fields(name)) for name in names) == 9305
