"""Which login the `SALESFORCE_*` variables make, and what of them is a secret. No network: `connection` logs in."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit

from monarch_dagster.errors import MonarchError

SESSION = "a session id"
JWT = "JWT bearer"
PASSWORD = "OAuth username and password"  # noqa: S105 - a login's name
CLIENT = "client credentials"
SOAP = "SOAP login (retiring)"
# The first whose variables are all set is used. Session and key say most clearly who is to log in; user and password
# beside a connected app mean that user, not the app's own; SOAP is what no org will have by Summer '27.
FLOWS = {
    SESSION: ("SALESFORCE_INSTANCE_URL", "SALESFORCE_SESSION_ID"),
    JWT: ("SALESFORCE_DOMAIN", "SALESFORCE_CONSUMER_KEY", "SALESFORCE_USERNAME", "SALESFORCE_PRIVATE_KEY_FILE"),
    PASSWORD: (
        "SALESFORCE_USERNAME",
        "SALESFORCE_PASSWORD",
        "SALESFORCE_CONSUMER_KEY",
        "SALESFORCE_CONSUMER_SECRET",
    ),
    CLIENT: ("SALESFORCE_DOMAIN", "SALESFORCE_CONSUMER_KEY", "SALESFORCE_CONSUMER_SECRET"),
    SOAP: ("SALESFORCE_USERNAME", "SALESFORCE_PASSWORD", "SALESFORCE_SECURITY_TOKEN"),
}
_OPTIONAL = {PASSWORD: ("SALESFORCE_DOMAIN", "SALESFORCE_SECURITY_TOKEN"), SOAP: ("SALESFORCE_DOMAIN",)}
_ARGUMENTS = {
    "SALESFORCE_INSTANCE_URL": "instance_url",
    "SALESFORCE_SESSION_ID": "session_id",
    "SALESFORCE_DOMAIN": "domain",
    "SALESFORCE_CONSUMER_KEY": "consumer_key",
    "SALESFORCE_CONSUMER_SECRET": "consumer_secret",
    "SALESFORCE_USERNAME": "username",
    "SALESFORCE_PASSWORD": "password",
    "SALESFORCE_SECURITY_TOKEN": "security_token",
    "SALESFORCE_PRIVATE_KEY_FILE": "privatekey_file",
}
_SECRETS = (
    "SALESFORCE_SESSION_ID",
    "SALESFORCE_CONSUMER_SECRET",
    "SALESFORCE_PASSWORD",
    "SALESFORCE_SECURITY_TOKEN",
)
# What an org answers whose API version has no SOAP login(), or that has it switched off, or that no longer knows it.
_NO_SOAP = frozenset({"INVALID_OPERATION", "UNSUPPORTED_API_VERSION", "API_DISABLED_FOR_ORG", "HTTP 404", "HTTP 410"})
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*")
_HOST = re.compile(r"(https?://)?[A-Za-z0-9.-]+\.salesforce\.com/?")
_SHOWN_TEXT = 300


@dataclass(frozen=True)
class Login:
    """A login that the variables make."""

    flow: str
    arguments: Mapping[str, str] = field(repr=False)
    """simple-salesforce's, by their names there."""

    secrets: tuple[str, ...] = field(repr=False)

    @property
    def renewable(self) -> bool:
        """Whether it can be made again when its session expires."""
        return self.flow != SESSION

    @property
    def user(self) -> str:
        """A digest that stands for who is logged in; it gives no secret away."""
        named = {name: self.arguments.get(name, "") for name in ("domain", "consumer_key", "username", "session_id")}
        named["session_id"] = hashlib.sha256(named["session_id"].encode()).hexdigest()
        return hashlib.sha256(json.dumps([self.flow, named], sort_keys=True).encode()).hexdigest()


def choose_login(variables: Mapping[str, str]) -> Login:
    """Return the login that the set variables make.

    `variables` holds the `SALESFORCE_*` variables that are set. Raises `MonarchError`, naming which variables make
    which login and what the nearest one lacks, when they make none, and when a value cannot be what its name says.
    """
    for flow, names in FLOWS.items():
        if all(variables.get(name) for name in names):
            chosen = {name: variables[name] for name in (*names, *_OPTIONAL.get(flow, ())) if variables.get(name)}
            _check(flow, chosen)
            secrets = tuple(variables[name] for name in _SECRETS if variables.get(name))
            return Login(flow, _arguments(flow, chosen), secrets)
    found = sorted(name for name in variables if name in _ARGUMENTS and variables[name]) or ["none of them"]
    ways = "\n".join(f"  {flow}: {', '.join(names)}" for flow, names in FLOWS.items())
    raise MonarchError(
        f"No Salesforce login can be made from the variables that are set ({', '.join(found)}).{_nearest(variables)}",
        remedy=f"Set all variables of one login (in the environment or in .env); the first that is whole is used:\n"
        f"{ways}\nTo play without an org, run `monarch sample-org` and use the variables that it prints.",
    )


def remedy_of_refusal(flow: str, code: str) -> str:
    """Return what to do after Salesforce refused that login with that error code (`HTTP 404` where it sent none)."""
    if flow == SOAP and code in _NO_SOAP:
        return (
            "The org has no SOAP login (any more; Salesforce retires it). Log in by a connected app, and unset "
            "SALESFORCE_PASSWORD:\n" + "\n".join(f"  {other}: {', '.join(FLOWS[other])}" for other in (JWT, CLIENT))
        )
    remedy = "Check the variables of that login; of the logins that are complete, `monarch fetch` uses the first."
    if flow == PASSWORD:
        remedy += (
            f" Many orgs block that login: for {CLIENT} unset SALESFORCE_PASSWORD and set {', '.join(FLOWS[CLIENT])}."
        )
    return remedy


def remedy_of_expiry(login: Login) -> str:
    """Return what to do when Salesforce accepts the session of that login no more."""
    remedy = f"The session by {login.flow} is not accepted (any more): check the variables of that login."
    if not login.renewable:
        remedy += (
            " A session id ends after some time and cannot be renewed: set a new SALESFORCE_SESSION_ID, or log in by a "
            f"connected app ({JWT} or {CLIENT}), which renews itself."
        )
    return remedy


def presentable(text: str, secrets: list[str]) -> str:
    """Return other people's text as a message may show it: no secret however it is quoted, one line, not too long."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, escape(secret), quote(secret, safe=""), quote_plus(secret)):
            text = text.replace(form, "***")
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:_SHOWN_TEXT]


def _arguments(flow: str, chosen: Mapping[str, str]) -> dict[str, str]:
    arguments = {_ARGUMENTS[name]: value for name, value in chosen.items()}
    if flow == PASSWORD:
        # A separate token would make simple-salesforce log in by SOAP; OAuth wants it at the password's end.
        arguments["password"] += arguments.pop("security_token", "")
    return arguments


def _nearest(variables: Mapping[str, str]) -> str:
    """Say what the login lacks that is nearest to being whole; "" where nothing of any is set."""
    lacking = {flow: [name for name in names if not variables.get(name)] for flow, names in FLOWS.items()}
    begun = {flow: names for flow, names in lacking.items() if len(names) < len(FLOWS[flow])}
    if not begun:
        return ""
    fewest = min(len(names) for names in begun.values())
    nearest = [f"for {flow}: {', '.join(names)}" for flow, names in begun.items() if len(names) == fewest]
    return f" Lacking {'; '.join(nearest)}."


def _check(flow: str, chosen: Mapping[str, str]) -> None:
    domain = chosen.get("SALESFORCE_DOMAIN", "login")
    if not _DOMAIN.fullmatch(domain) or domain.endswith(".salesforce.com"):
        # Shown only where it looks like a host: a secret may have got into the wrong variable.
        found = f"{domain!r}" if _HOST.fullmatch(domain) else "no host"
        raise MonarchError(
            f"SALESFORCE_DOMAIN is {found}, expected the login host without .salesforce.com.",
            remedy="Such as example.my for https://example.my.salesforce.com, or login, or test for a sandbox.",
        )
    if flow == CLIENT and domain in ("login", "test"):
        raise MonarchError(
            f"SALESFORCE_DOMAIN is {domain!r}, where Salesforce offers no login by client credentials.",
            remedy="Set it to the org's own domain, such as example.my for https://example.my.salesforce.com.",
        )
    if "SALESFORCE_INSTANCE_URL" in chosen:
        _check_instance(chosen["SALESFORCE_INSTANCE_URL"])
    if "SALESFORCE_PRIVATE_KEY_FILE" in chosen:
        _check_private_key(chosen["SALESFORCE_PRIVATE_KEY_FILE"])


def _check_instance(address: str) -> None:
    try:
        parts = urlsplit(address)
        usable = parts.scheme == "https" and bool(parts.hostname) and parts.port != 0 and parts.username is None
    except ValueError:
        usable = False
    if not usable:
        raise MonarchError(
            "SALESFORCE_INSTANCE_URL is not an address of the form https://HOST.",
            remedy="Set it to the org's address, such as https://example.my.salesforce.com.",
        )


def _check_private_key(path: str) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "\n" in path or "-----" in path:
        # Not shown: it is the secret itself.
        raise MonarchError(
            "SALESFORCE_PRIVATE_KEY_FILE holds a key, expected the path of the file that holds it.",
            remedy="Write the key into a file that only you can read, and name that file.",
        )
    try:
        usable = isinstance(load_pem_private_key(Path(path).read_bytes(), password=None), RSAPrivateKey)
    except OSError as error:
        raise MonarchError(
            f"SALESFORCE_PRIVATE_KEY_FILE: {path} could not be read: {error.strerror}.",
            remedy="Name the PEM file of the private key whose certificate the connected app has.",
        ) from None
    except (ValueError, TypeError, UnsupportedAlgorithm):
        usable = False
    if not usable:
        raise MonarchError(
            f"SALESFORCE_PRIVATE_KEY_FILE: {path} does not hold an RSA private key in PEM form without a passphrase.",
            remedy="Name the PEM file of the private key whose certificate the connected app has.",
        )
