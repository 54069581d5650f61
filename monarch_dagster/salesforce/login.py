"""Which login the `SALESFORCE_*` variables make, and what of them is a secret. No network: `client` logs in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus, urlsplit

from monarch_dagster.errors import MonarchError

FLOWS = {
    "a session id": ("SALESFORCE_INSTANCE_URL", "SALESFORCE_SESSION_ID"),
    "JWT bearer": (
        "SALESFORCE_DOMAIN",
        "SALESFORCE_CONSUMER_KEY",
        "SALESFORCE_USERNAME",
        "SALESFORCE_PRIVATE_KEY_FILE",
    ),
    "client credentials": ("SALESFORCE_DOMAIN", "SALESFORCE_CONSUMER_KEY", "SALESFORCE_CONSUMER_SECRET"),
    "SOAP login (retiring)": ("SALESFORCE_USERNAME", "SALESFORCE_PASSWORD", "SALESFORCE_SECURITY_TOKEN"),
}
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
_DOMAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*")
_SHOWN_TEXT = 300


def choose_flow(variables: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Return the login flow that the set variables make, and simple-salesforce's arguments for it.

    `variables` holds the `SALESFORCE_*` variables that are set. Raises `MonarchError`, naming which variables make
    which flow, when they make none, and when a value cannot be what its name says.
    """
    for flow, names in FLOWS.items():
        if all(variables.get(name) for name in names):
            chosen = {name: variables[name] for name in (*names, "SALESFORCE_DOMAIN") if variables.get(name)}
            _check(flow, chosen)
            return flow, {_ARGUMENTS[name]: value for name, value in chosen.items()}
    found = sorted(name for name in variables if name in _ARGUMENTS) or ["none of them"]
    ways = "\n".join(f"  {flow}: {', '.join(names)}" for flow, names in FLOWS.items())
    raise MonarchError(
        f"No Salesforce login can be made from the variables that are set ({', '.join(found)}).",
        remedy=f"Set all variables of one login (in the environment or in .env):\n{ways}\n"
        "To play without an org, run `monarch sample-org` and use the variables that it prints.",
    )


def secrets_of(variables: Mapping[str, str]) -> list[str]:
    """Return the values among the variables that no message may show."""
    return [variables[name] for name in _SECRETS if variables.get(name)]


def presentable(text: str, secrets: list[str]) -> str:
    """Return other people's text as a message may show it: no secret however it is quoted, one line, not too long."""
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, escape(secret), quote(secret, safe=""), quote_plus(secret)):
            text = text.replace(form, "***")
    shown = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(shown.split())[:_SHOWN_TEXT]


def _check(flow: str, chosen: Mapping[str, str]) -> None:
    domain = chosen.get("SALESFORCE_DOMAIN", "login")
    if not _DOMAIN.fullmatch(domain) or domain.endswith(".salesforce.com"):
        raise MonarchError(
            f"SALESFORCE_DOMAIN is {domain!r}, expected the login host without .salesforce.com.",
            remedy="Such as example.my for https://example.my.salesforce.com, or login, or test for a sandbox.",
        )
    if flow == "client credentials" and domain in ("login", "test"):
        raise MonarchError(
            f"SALESFORCE_DOMAIN is {domain!r}, where Salesforce offers no login by client credentials.",
            remedy="Set it to the org's own domain, such as example.my for https://example.my.salesforce.com.",
        )
    if "SALESFORCE_INSTANCE_URL" in chosen:
        _check_instance(chosen["SALESFORCE_INSTANCE_URL"])
    if "SALESFORCE_PRIVATE_KEY_FILE" in chosen:
        _check_private_key(Path(chosen["SALESFORCE_PRIVATE_KEY_FILE"]))


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


def _check_private_key(path: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        usable = isinstance(load_pem_private_key(path.read_bytes(), password=None), RSAPrivateKey)
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
