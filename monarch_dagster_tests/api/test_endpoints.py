"""The endpoints over HTTP, against a server process: what a call starts, what it answers, what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pydantic import ValidationError

from monarch_dagster.api.models import GenerateBody, RunBody, StatusAnswer
from monarch_dagster.defs.config import GenerateConfig, RunConfig
from monarch_dagster_tests.api.support import TOKEN, Api

JOBS = ("generate-migrations", "run-migrations")
UNREACHABLE = "postgresql://monarch:hunter2@127.0.0.1:1/warehouse"


@pytest.fixture
def unreachable(api: Api) -> Iterator[Api]:
    """The API with a target that cannot be reached, whose URL has a password."""
    api.lead_to(UNREACHABLE)
    yield api
    api.lead_back()


def test_a_change_is_proposed_seen_and_applied(api: Api) -> None:
    proposed = api.run("generate-migrations", {"message": "a note"})
    (path,) = api.project.versions.glob("*.py")
    assert proposed["path"] == str(path)
    assert (proposed["version_before"], proposed["version_after"]) == ("base", api.project.chain().head)
    assert "proposed" in proposed["summary"]
    status = api.call("GET", "/status").json()
    assert [item["revision"] for item in StatusAnswer.model_validate(status).pending] == proposed["revisions"]
    applied = api.run("run-migrations", {"expected_version": "base"})
    assert (applied["version_before"], applied["version_after"]) == ("base", proposed["version_after"])
    assert applied["revisions"] == proposed["revisions"]
    assert applied["checks"]["alembic_version_at_head"]["passed"] is True
    assert applied["link"] == f"http://127.0.0.1:3000/runs/{applied['run_id']}"
    assert api.rows(applied["run_id"]) == [("run_migrations", "SUCCESS")]


def test_without_a_wait_the_run_is_there_at_once_and_tells_its_outcome_later(api: Api) -> None:
    answer = api.call("POST", "/run-migrations", {"target": "nowhere"})
    assert answer.status_code == 202
    begun = answer.json()
    assert begun["status"] == "QUEUED"
    assert answer.headers["Location"] == f"/runs/{begun['run_id']}"
    assert [job for job, _ in api.rows(begun["run_id"])] == ["run_migrations"]
    ended = api.ended(begun["run_id"])
    assert ended["status"] == "FAILURE"
    assert "no revision 'nowhere'" in ended["error"]
    assert "Name one by its id" in ended["remedy"]


def test_a_run_that_is_refused_is_a_conflict_with_its_remedy(api: Api) -> None:
    refused = api.run("run-migrations", {"expected_version": "abc"}, code=409)
    assert refused["status"] == "FAILURE"
    assert "abc" in refused["error"]
    assert refused["remedy"]
    assert api.rows(refused["run_id"]) == [("run_migrations", "FAILURE")]


def test_the_password_of_a_target_out_of_reach_is_told_nowhere(unreachable: Api) -> None:
    failed = unreachable.call("POST", "/run-migrations", wait=120)
    assert failed.status_code == 409
    assert "warehouse on 127.0.0.1:1 could not be opened" in failed.json()["error"]
    status = unreachable.call("GET", "/status")
    assert status.status_code == 503
    assert status.json()["remedy"] == "Check that the server runs and that MONARCH_DATABASE_URL is right."
    told = failed.text + status.text + unreachable.log.read_text()
    assert "hunter2" not in told
    assert TOKEN not in told


@pytest.mark.parametrize(
    ("path", "body", "told"),
    [
        ("/run-migrations", {"targt": "head"}, "body.targt: Extra inputs are not permitted"),
        ("/run-migrations", {"dry_run": "yes"}, "body.dry_run: Input should be a valid boolean"),
        ("/run-migrations", {"lock_timeout_seconds": 0}, "greater than or equal to 1"),
        ("/run-migrations", {"lock_timeout_seconds": 10**9}, "less than or equal to 2147483"),
        ("/run-migrations", {"allow_data_loss": "abc"}, "body.allow_data_loss: Input should be a valid list"),
        ("/run-migrations", {"target": "a b"}, "body.target: Value error, 'a b' is no revision."),
        ("/run-migrations", {"allow_unproved": ["a:b:c"]}, "is neither REV nor FROM:TO"),
        ("/generate-migrations", [], "body: Input should be"),
        ("/generate-migrations", {"\ud800": 1}, "body: Input should be a valid string"),
        ("/generate-migrations", {"message": "\ud800"}, "body: Value error, A text has half of a surrogate pair."),
        ("/generate-migrations?wait=601", {}, "query.wait: Input should be less than or equal to 600"),
        ("/generate-migrations?wait=-1", {}, "query.wait"),
        ("/generate-migrations?Wait=1", {}, "query.Wait: Extra inputs are not permitted"),
        ("/runs/1", None, "path.run_id"),
    ],
)
def test_a_call_with_what_cannot_be_is_refused_and_starts_nothing(api: Api, path: str, body: Any, told: str) -> None:
    answer = api.call("GET" if path.startswith("/runs") else "POST", path, body)
    assert (answer.status_code, list(answer.json())) == (422, ["error", "remedy"])
    assert told in answer.json()["error"]


@pytest.mark.parametrize(
    ("sent", "code"),
    [(b"{", 422), (b"\xff", 400), (b'{"message": "' + b"x" * 70_000 + b'"}', 413), (iter([b" " * 40_000] * 2), 413)],
    ids=["no JSON", "no UTF-8", "large", "large in chunks"],
)
def test_a_body_that_cannot_be_read_is_refused(api: Api, sent: Any, code: int) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = requests.post(f"{api.url}/generate-migrations", data=sent, headers=headers, timeout=60)
    assert (answer.status_code, list(answer.json())) == (code, ["error", "remedy"])


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1], TOKEN + "x", "ü"])
@pytest.mark.parametrize("path", ["/run-migrations", "/status", "/nowhere"])
def test_a_call_without_the_token_is_refused_before_anything_is_read(api: Api, path: str, token: str) -> None:
    answer = api.call("POST", path, {"targt": 1}, token=token)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert list(answer.json()) == ["error", "remedy"]


def test_a_probe_and_the_description_want_no_token(api: Api) -> None:
    assert api.call("GET", "/health", token="").json() == {"status": "ok"}
    assert api.call("GET", "/docs", token="").status_code == 200
    assert api.call("GET", "/openapi.json", token="").status_code == 200


def test_what_is_not_there_is_told_as_json(api: Api) -> None:
    unknown = api.call("GET", "/runs/00000000-0000-4000-8000-000000000000")
    assert (unknown.status_code, list(unknown.json())) == (404, ["error", "remedy"])
    assert api.call("GET", "/nowhere").status_code == 404
    wrong = api.call("GET", "/run-migrations")
    assert (wrong.status_code, wrong.headers["Allow"], list(wrong.json())) == (405, "POST", ["error", "remedy"])


def test_the_description_has_words_models_and_the_token_for_every_call(api: Api) -> None:
    found = api.call("GET", "/openapi.json").json()
    operations = [(path, each) for path, methods in found["paths"].items() for each in methods.values()]
    assert [path for path, _ in operations] == [*(f"/{job}" for job in JOBS), "/runs/{run_id}", "/status", "/health"]
    (scheme,) = found["components"]["securitySchemes"].items()
    assert (scheme[0], scheme[1]["scheme"]) == ("token", "bearer")
    for path, operation in operations:
        assert operation["summary"] and operation["description"]
        assert operation.get("security", []) == ([] if path == "/health" else [{"token": []}])
        for answer in operation["responses"].values():
            assert answer["description"]
            assert "$ref" in answer["content"]["application/json"]["schema"]
        if path.endswith("migrations"):
            assert operation["responses"].keys() >= {"200", "202", "401", "409", "422", "429", "503"}
    for model in found["components"]["schemas"].values():
        assert all(field["description"] for field in model["properties"].values())


@pytest.mark.parametrize(("body", "config"), [(GenerateBody, GenerateConfig), (RunBody, RunConfig)])
def test_a_body_is_the_config_of_the_job(body: Any, config: Any) -> None:
    def told(model: Any) -> dict[str, Any]:
        return {name: (item.default, item.description) for name, item in model.model_fields.items()}

    assert told(body) == told(config)
    assert body().model_dump() == config().model_dump()


def test_a_number_without_a_fraction_is_an_integer_as_in_json() -> None:
    assert RunBody.model_validate({"lock_timeout_seconds": 7.0}) == RunBody(lock_timeout_seconds=7)
    for wrong in (7.5, True, "7", float("inf"), float("nan")):
        with pytest.raises(ValidationError):
            RunBody.model_validate({"lock_timeout_seconds": wrong})
