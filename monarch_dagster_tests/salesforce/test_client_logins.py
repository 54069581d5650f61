"""Each login, end to end against the sample org, and what is said when it cannot be made or is refused."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.client import SalesforceOrg
from monarch_dagster.salesforce.login import FLOWS, choose_login, presentable
from monarch_dagster.salesforce.sample_org.faults import Fault
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.support import Reply, log_in, scripted

INSTANCE = "https://sample-org.my.salesforce.com"


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningOrg]:
    with running(home=tmp_path_factory.mktemp("home")) as started:
        yield started


def variables(org: RunningOrg) -> dict[str, dict[str, str]]:
    """Return the variables of each flow."""
    made = org.credentials
    connected_app = {"SALESFORCE_DOMAIN": made.domain, "SALESFORCE_CONSUMER_KEY": made.consumer_key}
    soap = {
        "SALESFORCE_USERNAME": made.username,
        "SALESFORCE_PASSWORD": made.password,
        "SALESFORCE_SECURITY_TOKEN": made.security_token,
    }
    return {
        "a session id": {"SALESFORCE_INSTANCE_URL": INSTANCE, "SALESFORCE_SESSION_ID": made.session_id},
        "JWT bearer": connected_app
        | {"SALESFORCE_USERNAME": made.username, "SALESFORCE_PRIVATE_KEY_FILE": str(made.private_key_file)},
        "client credentials": connected_app | {"SALESFORCE_CONSUMER_SECRET": made.consumer_secret},
        "OAuth username and password": soap
        | {
            "SALESFORCE_CONSUMER_KEY": made.consumer_key,
            "SALESFORCE_CONSUMER_SECRET": made.consumer_secret,
        },
        "SOAP login (retiring)": soap,
    }


def refused(org: RunningOrg, given: dict[str, str]) -> MonarchError:
    """Return the error with which a login, or its first call, is refused; it shows nothing that is secret."""
    with pytest.raises(MonarchError) as raised:
        log_in(org, **given).org_id()
    for name in ("SESSION_ID", "CONSUMER_SECRET", "PASSWORD", "SECURITY_TOKEN"):
        assert given.get(f"SALESFORCE_{name}", "\0") not in str(raised.value)
    assert "Nothing was changed" in raised.value.message
    return raised.value


@pytest.mark.parametrize("flow", FLOWS)
def test_each_login_reaches_the_org(org: RunningOrg, flow: str) -> None:
    given = variables(org)[flow]
    assert choose_login(given).flow == flow
    assert log_in(org, **given).org_id() == org.organization_id


def test_a_soap_login_takes_a_domain_of_its_own(org: RunningOrg) -> None:
    given = variables(org)["SOAP login (retiring)"] | {"SALESFORCE_DOMAIN": "test"}
    assert log_in(org, **given).org_id() == org.organization_id


def test_of_several_complete_logins_the_first_is_used(org: RunningOrg) -> None:
    everything = {name: value for given in variables(org).values() for name, value in given.items()}
    used = []
    for own in ("SESSION_ID", "PRIVATE_KEY_FILE", "PASSWORD"):
        used.append(choose_login(everything).flow)
        del everything[f"SALESFORCE_{own}"]
    assert [*used, choose_login(everything).flow] == list(FLOWS)[:4]


def test_soap_is_used_only_where_nothing_else_is_whole(org: RunningOrg) -> None:
    given = variables(org)["SOAP login (retiring)"] | {"SALESFORCE_DOMAIN": "example.my"}
    assert choose_login(given).flow == "SOAP login (retiring)"
    given["SALESFORCE_CONSUMER_KEY"] = "key"
    assert choose_login(given).flow == "SOAP login (retiring)"
    given["SALESFORCE_CONSUMER_SECRET"] = "secret"
    assert choose_login(given).flow == "OAuth username and password"


@pytest.mark.parametrize("domain", [{}, {"SALESFORCE_DOMAIN": "test"}])
def test_an_oauth_login_takes_a_domain_of_its_own(org: RunningOrg, domain: dict[str, str]) -> None:
    given = variables(org)["OAuth username and password"] | domain
    org.faults.add(Fault(kind="soap_retired", times=None))
    assert log_in(org, **given).org_id() == org.organization_id
    org.faults.clear()


def test_an_oauth_password_may_do_without_a_security_token(org: RunningOrg) -> None:
    given = variables(org)["OAuth username and password"]
    given["SALESFORCE_PASSWORD"] += given.pop("SALESFORCE_SECURITY_TOKEN")
    assert log_in(org, **given).org_id() == org.organization_id


@pytest.mark.parametrize(
    ("given", "lacking"),
    [
        (("USERNAME", "PASSWORD"), "SOAP login (retiring): SALESFORCE_SECURITY_TOKEN"),
        (("DOMAIN", "CONSUMER_KEY"), "client credentials: SALESFORCE_CONSUMER_SECRET"),
        (("DOMAIN", "CONSUMER_KEY", "USERNAME"), "JWT bearer: SALESFORCE_PRIVATE_KEY_FILE"),
        (("SESSION_ID",), "a session id: SALESFORCE_INSTANCE_URL"),
        (("USERNAME", "PASSWORD", "CONSUMER_SECRET"), "OAuth username and password: SALESFORCE_CONSUMER_KEY"),
    ],
)
def test_an_incomplete_login_says_what_is_lacking(given: tuple[str, ...], lacking: str) -> None:
    with pytest.raises(MonarchError) as raised:
        choose_login({f"SALESFORCE_{name}": "x" for name in given})
    assert f"for {lacking}" in raised.value.message


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"SALESFORCE_USERNAME": "a@b.example", "SALESFORCE_PASSWORD": "pa55word"},
        {"SALESFORCE_DOMAIN": "x.my", "SALESFORCE_CONSUMER_KEY": "key", "SALESFORCE_CONSUMER_SECRET": ""},
        {"SALESFORCE_BASE_URL": "http://127.0.0.1:1", "SALESFORCE_API_VERSION": "64.0"},
    ],
)
def test_an_incomplete_login_says_which_variables_make_which_login(given: dict[str, str]) -> None:
    with pytest.raises(MonarchError) as raised:
        SalesforceOrg(given, api_version="64.0")
    for flow, names in FLOWS.items():
        assert f"{flow}: {', '.join(names)}" in raised.value.remedy
    assert all(name in raised.value.message for name, value in given.items() if name in {*sum(FLOWS.values(), ())})
    assert "pa55word" not in str(raised.value)
    assert "monarch sample-org" in raised.value.remedy


@pytest.mark.parametrize("flow", FLOWS)
def test_wrong_credentials_are_refused_at_once_and_not_shown(org: RunningOrg, flow: str, tmp_path: Path) -> None:
    other_key = tmp_path / "other.pem"
    other_key.write_bytes(pem(rsa.generate_private_key(65537, 2048)))
    wrong = {
        "a session id": {"SALESFORCE_SESSION_ID": "00D5g000004AbCd!an.old.session.id"},
        "JWT bearer": {"SALESFORCE_PRIVATE_KEY_FILE": str(other_key)},
        "client credentials": {"SALESFORCE_CONSUMER_SECRET": "not<the>secret&"},
        "OAuth username and password": {"SALESFORCE_PASSWORD": "not<the>password&"},
        "SOAP login (retiring)": {"SALESFORCE_PASSWORD": "not<the>password&"},
    }
    began = time.monotonic()
    error = refused(org, variables(org)[flow] | wrong[flow])
    assert time.monotonic() - began < 1.5
    assert flow in str(error)
    assert "variables of that login" in error.remedy


def test_a_wrong_consumer_key_and_a_wrong_user_are_refused(org: RunningOrg) -> None:
    for flow, name in (
        ("JWT bearer", "USERNAME"),
        ("JWT bearer", "CONSUMER_KEY"),
        ("client credentials", "CONSUMER_KEY"),
    ):
        error = refused(org, variables(org)[flow] | {f"SALESFORCE_{name}": "somebody@else.example"})
        assert error.message.startswith(f"Login by {flow} was refused by Salesforce: ")


def test_a_soap_login_that_the_api_version_no_longer_has_names_the_logins_to_use_instead(org: RunningOrg) -> None:
    given = {"SALESFORCE_BASE_URL": org.url} | variables(org)["SOAP login (retiring)"]
    with pytest.raises(MonarchError, match="SOAP Login operation is not available in the API version") as raised:
        SalesforceOrg(given, api_version="65.0")
    assert_names_alternatives(raised.value)


def test_a_soap_login_that_the_org_has_no_more_names_the_logins_to_use_instead(org: RunningOrg) -> None:
    org.faults.add(Fault(kind="soap_retired"))
    error = refused(org, variables(org)["SOAP login (retiring)"])
    assert_names_alternatives(error)


def test_a_soap_login_whose_address_is_gone_names_the_logins_to_use_instead() -> None:
    with scripted({}) as gone:
        gone.replies["Soap"] = Reply(404, b"<html>Not Found")
        given = {"SALESFORCE_USERNAME": "a@b.example", "SALESFORCE_PASSWORD": "pa55", "SALESFORCE_SECURITY_TOKEN": "t"}
        with pytest.raises(MonarchError, match="HTTP 404") as raised:
            gone.login(**given)
        assert_names_alternatives(raised.value)


def test_an_oauth_password_that_is_refused_names_what_to_use_instead(org: RunningOrg) -> None:
    error = refused(org, variables(org)["OAuth username and password"] | {"SALESFORCE_PASSWORD": "wrong"})
    assert "unset SALESFORCE_PASSWORD" in error.remedy


def assert_names_alternatives(error: MonarchError) -> None:
    """Check that the two logins by a connected app stand in the remedy, with their variables."""
    for flow in ("JWT bearer", "client credentials"):
        assert f"{flow}: {', '.join(FLOWS[flow])}" in error.remedy


def test_who_is_logged_in_is_told_apart_without_naming_anybody(org: RunningOrg) -> None:
    users = [choose_login(given).user for given in variables(org).values()]
    users.append(choose_login(variables(org)["JWT bearer"] | {"SALESFORCE_USERNAME": "other@b.example"}).user)
    users.append(choose_login(variables(org)["a session id"] | {"SALESFORCE_SESSION_ID": "other"}).user)
    assert len(set(users)) == len(users)
    secret = variables(org)["client credentials"] | {"SALESFORCE_CONSUMER_SECRET": "renewed"}
    assert choose_login(secret).user in users
    assert all(len(user) == 64 for user in users)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, passphrase: bytes = b"") -> bytes:
    """Return a private key as a PEM file has it."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def test_a_private_key_that_cannot_be_used_is_named(org: RunningOrg, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    unusable = {
        "text": b"no key at all",
        "nothing": b"",
        "locked": pem(key, b"passphrase"),
        "curve": pem(ec.generate_private_key(ec.SECP256R1())),
        "public": public,
    }
    for name, content in unusable.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(MonarchError, match="does not hold an RSA private key in PEM form") as raised:
            log_in(org, **variables(org)["JWT bearer"] | {"SALESFORCE_PRIVATE_KEY_FILE": str(path)})
        assert str(path) in raised.value.message


def test_a_key_in_place_of_its_files_name_is_not_shown(org: RunningOrg) -> None:
    given = variables(org)["JWT bearer"]
    key = Path(given["SALESFORCE_PRIVATE_KEY_FILE"]).read_text()
    with pytest.raises(MonarchError, match="holds a key, expected the path") as raised:
        log_in(org, **given | {"SALESFORCE_PRIVATE_KEY_FILE": key})
    assert key.splitlines()[1] not in str(raised.value)


def test_a_private_key_that_is_not_there_is_named(org: RunningOrg, tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.pem", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(MonarchError, match=reason) as raised:
            log_in(org, **variables(org)["JWT bearer"] | {"SALESFORCE_PRIVATE_KEY_FILE": str(path)})
        assert str(path) in raised.value.message


@pytest.mark.parametrize(
    "domain",
    ["https://x.my.salesforce.com", "x.my.salesforce.com", "evil.example/", "evil.example#", "a b", "user@evil", "x:8"],
)
def test_a_domain_that_is_no_login_host_is_refused_before_a_secret_is_sent(domain: str) -> None:
    given = {"SALESFORCE_DOMAIN": domain, "SALESFORCE_CONSUMER_KEY": "k", "SALESFORCE_CONSUMER_SECRET": "s"}
    with pytest.raises(MonarchError, match=r"expected the login host without \.salesforce\.com") as raised:
        choose_login(given)
    assert "such as example.my" in raised.value.remedy.lower()
    shown = domain.endswith(".salesforce.com")  # anything else may be a secret in the wrong variable
    assert (domain in raised.value.message) is shown


@pytest.mark.parametrize("domain", ["login", "test"])
def test_client_credentials_ask_for_the_orgs_own_domain(domain: str) -> None:
    given = {"SALESFORCE_DOMAIN": domain, "SALESFORCE_CONSUMER_KEY": "k", "SALESFORCE_CONSUMER_SECRET": "s"}
    with pytest.raises(MonarchError, match="no login by client credentials"):
        choose_login(given)


@pytest.mark.parametrize(
    "address", ["example.my.salesforce.com", "https://", "http://x.example", "https://x:y", "https://user:pw@x.example"]
)
def test_an_instance_that_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(
        MonarchError, match="SALESFORCE_INSTANCE_URL is not an address of the form https://HOST"
    ) as raised:
        choose_login({"SALESFORCE_INSTANCE_URL": address, "SALESFORCE_SESSION_ID": "s"})
    assert "pw" not in str(raised.value)


def test_a_secret_is_hidden_however_it_is_quoted() -> None:
    secret = "p<a>&s's+w/ö d"
    quoted = f"{secret} p&lt;a&gt;&amp;s&#x27;s+w/ö d p%3Ca%3E%26s%27s%2Bw%2F%C3%B6%20d p%3Ca%3E%26s%27s%2Bw%2F%C3%B6+d"
    assert presentable(quoted, [secret]) == "*** *** *** ***"


def test_a_secret_that_begins_another_leaves_no_rest() -> None:
    assert presentable("hunter2hunter", ["hunter", "hunter2hunter"]) == "***"


def test_text_of_others_is_shown_on_one_line_without_control_characters() -> None:
    assert presentable("a\x1b[31m\n\tb\u202ec", []) == "a [31m b c"
    assert len(presentable("x" * 10_000, [])) == 300
