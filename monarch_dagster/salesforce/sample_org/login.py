"""Logging in to the sample org: the OAuth token endpoint with three grants, and SOAP `login()`.

Functions from a request's parts to an answer; `server` speaks HTTP. Rules and error codes follow Salesforce Help,
"OAuth Authorization Flows", and the SOAP API Developer Guide, `login()`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from urllib.parse import parse_qsl
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from monarch_dagster.salesforce.sample_org.rest import Answer
from monarch_dagster.salesforce.sample_org.served import ServedOrg, encode

USER_ID = "0055g00000DfGhIAAV"
"""The `User` id of the one user who can log in."""

_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LAST_SOAP_LOGIN_VERSION = 64

_SOAP = """<?xml version="1.0" encoding="UTF-8"?>
<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" {namespace}>\
<soapenv:Body>{body}</soapenv:Body></soapenv:Envelope>"""


class _LoginError(Exception):
    """A login that fails: OAuth's error code and its description."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.answer = Answer(status, encode({"error": error, "error_description": description}))


def answer_token_request(org: ServedOrg, body: bytes, authorization: str) -> Answer:
    """Answer `POST /services/oauth2/token` for the JWT bearer, client-credentials and password grants.

    Args:
        org: what is served; a success opens a session there.
        body: the form.
        authorization: the header of that name, which may carry the client's key and secret (RFC 6749, 2.3.1).

    Returns:
        The token with the instance's URL, or OAuth's `error` and `error_description`.
    """
    form = dict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True))
    grant = form.get("grant_type", "")
    try:
        if grant == _JWT_BEARER:
            _check_assertion(org, form.get("assertion", ""))
        elif grant == "client_credentials":
            _check_client(org, form, authorization)
        elif grant == "password":
            _check_client(org, form, authorization)
            _check_password(org, form.get("username", ""), form.get("password", ""))
        else:
            raise _LoginError("unsupported_grant_type", "grant type not supported")
    except _LoginError as error:
        return error.answer
    return Answer(200, encode(_token(org)))


def answer_soap_login(org: ServedOrg, body: bytes, version: float) -> Answer:
    """Answer `POST /services/Soap/u/VERSION`, the partner API's `login()`.

    Args:
        org: what is served; a success opens a session there.
        body: the SOAP envelope.
        version: the API version in the path, such as 59.0.

    Returns:
        A `loginResponse`, or a fault. From version 65 on `login()` does not exist; the fault's wording is recorded in
        github.com/forcedotcom/wsc, issue 363.
    """
    if version > _LAST_SOAP_LOGIN_VERSION:
        return soap_login_retired(f"{version}")
    username, password = _username_and_password(body)
    try:
        _check_password(org, username, password)
    except _LoginError:
        return _fault("INVALID_LOGIN", "Invalid username, password, security token; or user locked out.")
    organization = org.source.organization_id
    server_url = f"{_instance_url(org)}/services/Soap/u/{version}/{organization[:15]}"
    response = (
        "<loginResponse><result><passwordExpired>false</passwordExpired>"
        f"<sandbox>false</sandbox><serverUrl>{server_url}</serverUrl><sessionId>{org.open_session()}</sessionId>"
        f"<userId>{USER_ID}</userId><userInfo><organizationId>{organization}</organizationId>"
        f"<organizationName>Monarch sample org</organizationName><userId>{USER_ID}</userId>"
        f"<userName>{escape(org.credentials.username)}</userName></userInfo></result></loginResponse>"
    )
    return _soap(200, 'xmlns="urn:partner.soap.sforce.com"', response)


def soap_login_retired(version: str) -> Answer:
    """Return the fault of a `login()` that the API version does not have."""
    return _fault(
        "INVALID_OPERATION",
        f"The SOAP Login operation is not available in the API version specified ({version}). "
        "Refer to the documentation for supported versions.",
    )


def _check_assertion(org: ServedOrg, assertion: str) -> None:
    """Refuse an assertion that the private key did not sign, that expired, or that names somebody else."""
    import jwt
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    credentials = org.credentials
    key = load_pem_private_key(credentials.private_key_file.read_bytes(), password=None).public_key()
    hosts = ("login", "test", credentials.domain)
    try:
        claims = jwt.decode(
            assertion,
            key,  # type: ignore[arg-type]  # an RSA key: that is what `credentials` makes
            algorithms=["RS256"],
            audience=[f"https://{host}.salesforce.com" for host in hosts],
            options={"require": ["iss", "sub", "aud", "exp"]},
        )
    except jwt.ExpiredSignatureError as error:
        raise _LoginError("invalid_grant", "assertion is expired") from error
    except jwt.InvalidAudienceError as error:
        raise _LoginError("invalid_grant", "audience is invalid") from error
    except jwt.InvalidTokenError as error:
        raise _LoginError("invalid_grant", "invalid assertion") from error
    if claims["iss"] != credentials.consumer_key:
        raise _LoginError("invalid_client_id", "client identifier invalid")
    if claims["sub"] != credentials.username:
        raise _LoginError("invalid_grant", "user hasn't approved this consumer")


def _check_client(org: ServedOrg, form: dict[str, str], authorization: str) -> None:
    key, secret = form.get("client_id", ""), form.get("client_secret", "")
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            key, _, secret = base64.b64decode(encoded).decode().partition(":")
        except ValueError as error:
            raise _LoginError("invalid_client", "invalid client credentials", 401) from error
    if key != org.credentials.consumer_key:
        raise _LoginError("invalid_client_id", "client identifier invalid")
    if secret != org.credentials.consumer_secret:
        raise _LoginError("invalid_client", "invalid client credentials", 401)


def _check_password(org: ServedOrg, username: str, password: str) -> None:
    expected = org.credentials
    if (username, password) != (expected.username, expected.password + expected.security_token):
        raise _LoginError("invalid_grant", "authentication failure")


def _token(org: ServedOrg) -> dict[str, str]:
    identity = f"https://login.salesforce.com/id/{org.source.organization_id}/{USER_ID}"
    issued_at = str(int(time.time() * 1000))
    signature = hmac.digest(org.credentials.consumer_secret.encode(), (identity + issued_at).encode(), hashlib.sha256)
    return {
        "access_token": org.open_session(),
        "signature": base64.b64encode(signature).decode(),
        "instance_url": _instance_url(org),
        "id": identity,
        "token_type": "Bearer",
        "issued_at": issued_at,
    }


def _username_and_password(body: bytes) -> tuple[str, str]:
    """Return both from the envelope; empty where the body is no such envelope."""
    try:
        envelope = ElementTree.fromstring(body)  # noqa: S314 - a loopback server; expat limits entity expansion
    except ElementTree.ParseError:
        return "", ""
    partner = "{urn:partner.soap.sforce.com}"
    return envelope.findtext(f".//{partner}username", ""), envelope.findtext(f".//{partner}password", "")


def _fault(code: str, message: str) -> Answer:
    detail = f"<sf:exceptionCode>{code}</sf:exceptionCode><sf:exceptionMessage>{escape(message)}</sf:exceptionMessage>"
    fault = (
        f"<soapenv:Fault><faultcode>sf:{code}</faultcode><faultstring>{code}: {escape(message)}</faultstring>"
        f'<detail><sf:LoginFault xsi:type="sf:LoginFault">{detail}</sf:LoginFault></detail></soapenv:Fault>'
    )
    return _soap(500, 'xmlns:sf="urn:fault.partner.soap.sforce.com"', fault)


def _soap(status: int, namespace: str, body: str) -> Answer:
    return Answer(status, _SOAP.format(namespace=namespace, body=body).encode(), {"Content-Type": "text/xml"})


def _instance_url(org: ServedOrg) -> str:
    return f"https://{org.credentials.domain}.salesforce.com"
