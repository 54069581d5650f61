"""Who may use the sample org: made once per home folder, kept in files that only their owner reads.

Kept rather than made anew, so that a shell with the `export` lines of yesterday's sample org still works today. They
open nothing but the sample org.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from monarch_dagster.errors import MonarchError

FOLDER = "sample-org"
"""The folder below the home folder that holds what the sample org keeps."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What each login flow needs, as a person would have it from an org's administrator."""

    domain: str
    """Login host without `.salesforce.com`; a "My Domain", as the client-credentials flow demands."""

    consumer_key: str
    username: str
    private_key_file: Path
    consumer_secret: str = field(repr=False)
    password: str = field(repr=False)
    security_token: str = field(repr=False)
    session_id: str = field(repr=False)


def load_or_make_credentials(home: Path, organization_id: str) -> Credentials:
    """Return the sample org's credentials, made on the first call for this home.

    Args:
        home: Monarch's home folder; files go to `sample-org/` below it, mode 0600.
        organization_id: begins the session id, as in Salesforce.

    Raises:
        MonarchError: the folder cannot be written, or the file there is not what was written.
    """
    folder = home.resolve() / FOLDER
    file, key = folder / "credentials.json", folder / "private_key.pem"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_once(file, _new_secrets)
        _make_once(key, _new_private_key)
        kept = json.loads(file.read_text(encoding="utf-8"))
        session_id = f"{organization_id[:15]}!{kept.pop('session')}"
        return Credentials(**kept, session_id=session_id, private_key_file=key)
    except OSError as error:
        raise MonarchError(
            f"Cannot keep the sample org's credentials in {folder}: {error.strerror}.",
            remedy="Make the folder writable, or name another one in MONARCH_HOME.",
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise MonarchError(
            f"{file} does not hold the sample org's credentials.", remedy="Delete the file; it is made again."
        ) from error


def _make_once(path: Path, content: Callable[[], bytes]) -> None:
    """Write the file unless it is there; of several processes that do, one wins and all read its content."""
    if path.exists():
        return
    with tempfile.NamedTemporaryFile(dir=path.parent) as file:  # made with mode 0600
        file.write(content())
        file.flush()
        with contextlib.suppress(FileExistsError):
            os.link(file.name, path)


def _new_secrets() -> bytes:
    made = {
        "domain": "sample-org.my",
        "consumer_key": "3MVG9" + secrets.token_hex(40),
        "consumer_secret": secrets.token_hex(32).upper(),
        "username": "integration@sample-org.example",
        "password": secrets.token_urlsafe(12) + "<&'>",
        "security_token": secrets.token_hex(12),
        "session": secrets.token_urlsafe(64),
    }
    return json.dumps(made, indent=2).encode()


def _new_private_key() -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
