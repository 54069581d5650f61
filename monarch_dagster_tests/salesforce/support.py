"""A small org over real HTTP whose answers a test decides, right ones by default. No tests."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.client import PATIENCE, SalesforceOrg
from monarch_dagster.salesforce.fetch import FetchResult, fetch_object_meta
from monarch_dagster.salesforce.merge import MergeResult
from monarch_dagster.salesforce.object_meta import ObjectMeta, Selection, read_object_meta, write_object_meta
from monarch_dagster.salesforce.sample_org.running import RunningOrg
from monarch_dagster.salesforce.transport import Patience

ORG_ID = "00D000000000001AAA"
TOKEN = "00D000000000001!a.token.that.nobody.may.see"
# As many tries as in earnest, without the pauses between them.
WITHOUT_PAUSES = replace(PATIENCE, pause_seconds=0)
ID = {"name": "Id", "type": "id", "length": 18, "label": "Record ID"}


@dataclass
class Reply:
    """One answer; `cut` breaks off after that many bytes of the body, `drip` waits so long after each byte."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    drip: float = 0


HTML = Reply(200, b"<!DOCTYPE html><html><head><title>Down for maintenance</title></head></html>")
BROKEN_JSON = Reply(200, b'{"records": [{"Id": "00D0000')


class ScriptedOrg:
    """Answers as Salesforce does, but for `replies`: a part of the path → the reply, or a list of them to use up."""

    def __init__(self, describes: Mapping[str, Any]) -> None:
        self.describes = dict(describes)
        self.overviews: dict[str, Any] = {}
        self.subrequests: dict[str, tuple[int, Any]] = {}
        self.replies: dict[str, Reply | list[Reply]] = {}
        self.before: Callable[[str], None] = lambda path: None
        self.org_id = ORG_ID
        self.limits: Any = {"DailyApiRequests": {"Max": 100_000, "Remaining": 99_999}}
        self.modified: dict[str, str] = {}
        """Per object the date of its describe's last change; one that a client knows is answered 304."""

        self.seen: list[str] = []
        self.asked: list[tuple[str, ...]] = []
        """The objects of each composite call."""

        self.sent: list[str] = []
        """The objects whose describes were sent."""

        self.connections: set[Any] = set()
        self.headers: list[Mapping[str, str]] = []
        self.keep_alive = False
        self.token = threading.local()
        """Its `bearer` is the Authorization of the request that this thread answers."""

        self.url = ""

    @property
    def variables(self) -> dict[str, str]:
        """The variables of a login by session id."""
        return {
            "SALESFORCE_BASE_URL": self.url,
            "SALESFORCE_INSTANCE_URL": "https://example.my.salesforce.com",
            "SALESFORCE_SESSION_ID": TOKEN,
        }

    def login(self, api_version: str = "64.0", patience: Patience = WITHOUT_PAUSES, **variables: str) -> SalesforceOrg:
        """Log in, by session id or with what is given."""
        given = {"SALESFORCE_BASE_URL": self.url, **variables} if variables else self.variables
        return SalesforceOrg(given, api_version=api_version, patience=patience)

    def fetch(self, path: Path, *objects: str, home: Path | None = None) -> FetchResult:
        """Fetch into the file."""
        return fetch_object_meta(path, self.login(), objects=objects, home=home)

    def reply(self, path: str, body: bytes) -> Reply:
        """Return what the test decided for the path, else the right answer."""
        self.seen.append(path)
        if path.endswith("composite"):
            self.asked.append(tuple(each["url"].split("/")[-2] for each in json.loads(body)["compositeRequest"]))
        self.before(path)
        for part, decided in self.replies.items():
            if part in path:
                return decided if isinstance(decided, Reply) else decided.pop(0)
        if "oauth2/token" in path:
            return Reply(body={"access_token": TOKEN, "instance_url": "https://example.my.salesforce.com"})
        if "query" in path:
            return Reply(body={"totalSize": 1, "done": True, "records": [{"Id": self.org_id}]})
        if path.endswith("limits"):
            return Reply(body=self.limits)
        if path.endswith("composite"):
            return Reply(
                body={"compositeResponse": [self._describe(each) for each in json.loads(body)["compositeRequest"]]}
            )
        return Reply(body={"sobjects": [self._overview(name) for name in self.describes]})

    def _overview(self, name: str) -> dict[str, Any]:
        return {"name": name, "queryable": True, "retrieveable": True} | self.overviews.get(name, {})

    def _describe(self, request: Mapping[str, Any]) -> dict[str, Any]:
        name = request["url"].split("/")[-2]
        date = self.modified.get(name, "")
        headers = {"Last-Modified": date} if date else {}
        if date and request.get("httpHeaders", {}).get("If-Modified-Since") == date:
            status, body = 304, None
        else:
            status, body = self.subrequests.get(name, (200, self.describes.get(name)))
            self.sent.append(name)
        return {"httpStatusCode": status, "body": body, "httpHeaders": headers, "referenceId": request["referenceId"]}


@contextmanager
def scripted(describes: Mapping[str, Any]) -> Iterator[ScriptedOrg]:
    """Serve an org of these describes (object → body) on the loopback interface."""
    org = ScriptedOrg(describes)

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            org.connections.add(self.client_address)
            org.headers.append(dict(self.headers))
            org.token.bearer = self.headers.get("Authorization", "")
            decided = org.reply(urlsplit(self.path).path, body)
            sent = decided.body if isinstance(decided.body, bytes) else json.dumps(decided.body).encode()
            self.close_connection = not org.keep_alive or decided.cut is not None
            self.protocol_version = "HTTP/1.1" if org.keep_alive else "HTTP/1.0"
            if decided.cut == 0:
                return
            with contextlib.suppress(OSError):  # the client went away
                self.send_response(decided.status)
                for name, value in {"Content-Length": str(len(sent)), **decided.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                while decided.drip and sent:
                    self.wfile.write(sent[:1])
                    sent = sent[1:]
                    time.sleep(decided.drip)
                self.wfile.write(sent[: decided.cut])

        do_GET = do_POST = _answer  # noqa: N815 - http.server's own names

        def log_message(self, *_: Any) -> None:
            """Keep the tests' output clean."""

    class Server(ThreadingHTTPServer):
        request_queue_size = 64  # of five, more connections at a time wait a second for their second try

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    org.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield org
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def described(name: str, *fields: Mapping[str, Any], **keys: Any) -> dict[str, Any]:
    """Return a describe with an `Id` and the given fields."""
    return {"name": name, "label": name, "fields": [ID, *fields], **keys}


def text(name: str, length: int = 80, **keys: Any) -> dict[str, Any]:
    """Return the describe of a text field."""
    return {"name": name, "type": "string", "length": length, "label": name, **keys}


def log_in(org: RunningOrg, **variables: str) -> SalesforceOrg:
    """Log in to a sample org with what is given, by client credentials where nothing is."""
    given = {"SALESFORCE_BASE_URL": org.url, **variables} if variables else org.environment
    return SalesforceOrg(given, api_version="64.0", patience=WITHOUT_PAUSES)


def read(path: Path) -> ObjectMeta:
    """Read a file that is there."""
    meta = read_object_meta(path)
    assert meta is not None
    return meta


def field_names(meta: ObjectMeta, name: str) -> list[str]:
    """Return the names of an object's fields."""
    return [item.name for item in meta.objects[name].fields]


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return what is on disk below a folder: path → content and time of change."""
    return {str(p): (p.read_bytes(), p.stat().st_mtime_ns) for p in sorted(folder.rglob("*")) if p.is_file()}


def select(path: Path, **patterns: tuple[str, ...]) -> None:
    """Change the selection in the file, as a person would."""
    meta = read_object_meta(path) or ObjectMeta()
    write_object_meta(path, meta.model_copy(update={"selection": Selection(**patterns)}))


def refused(path: Path, action: Callable[[], object]) -> MonarchError:
    """Return the error of a fetch; nothing on disk has changed."""
    before = files(path.parents[1])
    with pytest.raises(MonarchError) as raised:
        action()
    assert files(path.parents[1]) == before
    return raised.value


def reports(result: MergeResult) -> dict[str, tuple[str, ...]]:
    """Return the names that a merge reports by kind of change, without the kinds that are empty."""
    found: dict[str, tuple[str, ...]] = {}
    for change in result.changes:
        found[change.kind] = (*found.get(change.kind, ()), change.name)
    return found
