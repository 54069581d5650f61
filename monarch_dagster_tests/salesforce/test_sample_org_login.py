"""Logging in to the sample org, through unmodified simple-salesforce."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jwt
import pytest
import requests
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
)

from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.test_sample_org_support import (
    INSTANCE,
    connect,
    get,
)

JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def org(home: Path) -> Iterator[RunningOrg]:
    with running(home=home) as started:
        yield started


def token_request(org: RunningOrg, **form: str) -> requests.Response:
    return requests.post(f"{org.url}/services/oauth2/token", data=form, timeout=10)


def assertion(org: RunningOrg, *, key: bytes | None = None, **claims: Any) -> str:
    made = {
        "iss": org.credentials.consumer_key,
        "sub": org.credentials.username,
        "aud": "https://login.salesforce.com",
        "exp": int(time.time()) + 180,
    }
    return jwt.encode(made | claims, key or org.credentials.private_key_file.read_bytes(), algorithm="RS256")


def test_client_credentials_open_a_session(org: RunningOrg) -> None:
    assert "Account" in [each["name"] for each in connect(org).describe()["sobjects"]]


def test_a_jwt_signed_with_the_private_key_opens_a_session(org: RunningOrg) -> None:
    credentials = org.credentials
    salesforce = connect(
        org,
        username=credentials.username,
        consumer_key=credentials.consumer_key,
        privatekey_file=str(credentials.private_key_file),
        domain=credentials.domain,
    )
    assert salesforce.Account.describe()["name"] == "Account"


def test_password_and_token_with_a_connected_app_open_a_session(org: RunningOrg) -> None:
    credentials = org.credentials
    salesforce = connect(
        org,
        username=credentials.username,
        password=credentials.password + credentials.security_token,
        consumer_key=credentials.consumer_key,
        consumer_secret=credentials.consumer_secret,
    )
    assert salesforce.Account.describe()["name"] == "Account"


def test_soap_login_opens_a_session(org: RunningOrg) -> None:
    credentials = org.credentials
    salesforce = connect(
        org,
        username=credentials.username,
        password=credentials.password,
        security_token=credentials.security_token,
    )
    assert salesforce.sf_instance == urlsplit(INSTANCE).netloc
    assert salesforce.Account.describe()["name"] == "Account"


def test_the_session_id_needs_no_login(org: RunningOrg) -> None:
    salesforce = connect(org, session_id=org.credentials.session_id, instance_url=INSTANCE)
    assert salesforce.Account.describe()["name"] == "Account"


def test_soap_login_with_a_wrong_password_is_an_invalid_login(org: RunningOrg) -> None:
    with pytest.raises(SalesforceAuthenticationFailed, match=r"INVALID_LOGIN.*Invalid username, password"):
        connect(org, username=org.credentials.username, password="wrong", security_token="wrong")


def test_soap_login_does_not_exist_from_version_65_on(org: RunningOrg) -> None:
    credentials = org.credentials
    with pytest.raises(SalesforceAuthenticationFailed, match=r"INVALID_OPERATION.*not available.*65\.0"):
        connect(
            org,
            username=credentials.username,
            password=credentials.password,
            security_token=credentials.security_token,
            version="65.0",
        )


def test_soap_login_with_something_else_than_xml_is_an_invalid_login(org: RunningOrg) -> None:
    answered = requests.post(f"{org.url}/services/Soap/u/59.0", data="not xml", timeout=10)
    assert answered.status_code == 500
    assert "<faultcode>sf:INVALID_LOGIN</faultcode>" in answered.text


@pytest.mark.parametrize(
    ("wrong", "error"), [("consumer_key", "invalid_client_id"), ("consumer_secret", "invalid_client")]
)
def test_wrong_client_credentials_are_refused(org: RunningOrg, wrong: str, error: str) -> None:
    spoilt: dict[str, Any] = {wrong: "wrong"}
    changed = replace(org, credentials=replace(org.credentials, **spoilt))
    with pytest.raises(SalesforceAuthenticationFailed) as raised:
        connect(changed)
    assert raised.value.code == error


def test_client_credentials_may_stand_in_the_body(org: RunningOrg) -> None:
    credentials = org.credentials
    answered = token_request(
        org,
        grant_type="client_credentials",
        client_id=credentials.consumer_key,
        client_secret=credentials.consumer_secret,
    )
    assert answered.status_code == 200
    assert answered.json()["instance_url"] == INSTANCE


def test_a_broken_basic_header_is_refused(org: RunningOrg) -> None:
    answered = requests.post(
        f"{org.url}/services/oauth2/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": "Basic é"},
        timeout=10,
    )
    assert (answered.status_code, answered.json()["error"]) == (401, "invalid_client")


def test_a_password_without_its_security_token_is_refused(org: RunningOrg) -> None:
    credentials = org.credentials
    answered = token_request(
        org,
        grant_type="password",
        client_id=credentials.consumer_key,
        client_secret=credentials.consumer_secret,
        username=credentials.username,
        password=credentials.password,
    )
    assert answered.status_code == 400
    assert answered.json() == {"error": "invalid_grant", "error_description": "authentication failure"}


def test_an_unknown_grant_type_is_refused(org: RunningOrg) -> None:
    answered = token_request(org, grant_type="magic")
    assert (answered.status_code, answered.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("claims", "error", "description"),
    [
        ({"exp": 1}, "invalid_grant", "expired"),
        ({"aud": "https://elsewhere.example"}, "invalid_grant", "audience"),
        ({"iss": "another app"}, "invalid_client_id", "client identifier invalid"),
        ({"sub": "nobody@sample-org.example"}, "invalid_grant", "user hasn't approved this consumer"),
        ({"exp": None}, "invalid_grant", "invalid assertion"),
    ],
)
def test_an_assertion_with_a_wrong_claim_is_refused(
    org: RunningOrg, claims: dict[str, Any], error: str, description: str
) -> None:
    answered = token_request(org, grant_type=JWT_BEARER, assertion=assertion(org, **claims))
    assert (answered.status_code, answered.json()["error"]) == (400, error)
    assert description in answered.json()["error_description"]


def test_an_assertion_signed_with_another_key_is_refused(org: RunningOrg, tmp_path: Path) -> None:
    with running(home=tmp_path) as other:
        foreign = other.credentials.private_key_file.read_bytes()
    answered = token_request(org, grant_type=JWT_BEARER, assertion=assertion(org, key=foreign))
    assert (answered.status_code, answered.json()["error"]) == (400, "invalid_grant")


def test_an_unsigned_assertion_is_refused(org: RunningOrg) -> None:
    unsigned = jwt.encode({"iss": org.credentials.consumer_key}, "", algorithm="none")
    answered = token_request(org, grant_type=JWT_BEARER, assertion=unsigned)
    assert (answered.status_code, answered.json()["error"]) == (400, "invalid_grant")


def test_a_bad_token_is_401(org: RunningOrg) -> None:
    salesforce = connect(org, session_id="made up", instance_url=INSTANCE)
    answered = get(org, salesforce, "sobjects")
    assert answered.status_code == 401
    assert answered.json() == [{"message": "Session expired or invalid", "errorCode": "INVALID_SESSION_ID"}]


def test_a_missing_token_is_401(org: RunningOrg) -> None:
    answered = requests.get(f"{org.url}/services/data/v59.0/sobjects", timeout=10)
    assert answered.status_code == 401
    assert "Sforce-Limit-Info" not in answered.headers
