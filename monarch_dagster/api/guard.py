"""Who may call, and how much they may send: decided before anything of a request is read.

Holds what OpenAPI cannot enforce. Pure but for the ASGI class at the end.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from monarch_dagster.errors import MonarchError

OPEN_PATHS = frozenset({"/health", "/openapi.json", "/docs"})
LARGEST_BODY_BYTES = 64 * 1024
# RFC 6750, section 2.1 (b64token): what a header can carry.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MAKE_ONE = "Set MONARCH_API_TOKEN, such as to the output of `openssl rand -hex 32`."


@dataclass(frozen=True)
class Refusal:
    """An answer to a call that may not be made."""

    status: int
    error: str
    remedy: str
    headers: tuple[tuple[str, str], ...] = ()


def check_token(token: str, address: str) -> None:
    """Raise `MonarchError` where a server on this address may not start with this token ("" for none)."""
    if not token and not is_loopback(address):
        raise MonarchError(
            f"Without a token, everybody who reaches {address} could migrate the database.",
            remedy=f"{_MAKE_ONE} Or listen on this machine only: --host 127.0.0.1.",
        )
    if token and not _TOKEN.fullmatch(token):
        raise MonarchError(
            "MONARCH_API_TOKEN has characters that a bearer token cannot have (RFC 6750: A-Z a-z 0-9 - . _ ~ + /).",
            remedy=_MAKE_ONE,
        )


def is_loopback(host: str) -> bool:
    """Say whether a host, as a name or an address, is this machine and reached by nobody else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def judge(path: str, headers: Mapping[str, str], token: str) -> Refusal | None:
    """Return why a call is refused, None where it is not."""
    size = headers.get("content-length", "0")
    if size.isdecimal() and int(size[:20]) > LARGEST_BODY_BYTES:
        return TOO_LARGE
    if path in OPEN_PATHS:
        return None
    if token:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), token.encode())
        if scheme.lower() == "bearer" and right:
            return None
        return Refusal(
            401,
            "The bearer token is wrong." if given else "The call has no bearer token.",
            "Send `Authorization: Bearer …` with the server's MONARCH_API_TOKEN.",
            (("WWW-Authenticate", 'Bearer realm="monarch"'),),
        )
    # Whoever reaches a server without a token may call it, and so may a page in a browser of this machine: it sends
    # its origin along, or another name that it had lead here.
    named = [f"//{headers.get('host', '')}", *([headers["origin"]] if "origin" in headers else [])]
    if all(is_loopback(_hostname(each)) for each in named):
        return None
    return Refusal(
        403,
        "Without a token, only calls from this machine to 127.0.0.1 or localhost are taken, and none of another site.",
        _MAKE_ONE,
    )


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


TOO_LARGE = Refusal(413, f"The body is larger than {LARGEST_BODY_BYTES // 1024} KiB.", "Send the job's config only.")


class Guard:
    """The ASGI application behind the judgement."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Take the application and the token that callers must have; "" where this machine alone can call."""
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = judge(scope["path"], Headers(scope=scope), self._token)
        if refusal is not None:
            answer = {"error": refusal.error, "remedy": refusal.remedy}
            await JSONResponse(answer, refusal.status, dict(refusal.headers))(scope, receive, send)
            return
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            # A body in chunks does not say beforehand how large it is.
            if read > LARGEST_BODY_BYTES:
                raise HTTPException(TOO_LARGE.status, TOO_LARGE.error)
            return message

        await self._app(scope, limited, send)
