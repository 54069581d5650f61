"""An application around the sample org's own that brings its faults about.

HTTP only, as ASGI has it: which fault is due is decided in `faults`, what a healthy org answers elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from monarch_dagster.salesforce.sample_org.faults import SERVER_ERROR, Count, Faults, described
from monarch_dagster.salesforce.sample_org.rest import Answer
from monarch_dagster.salesforce.sample_org.served import ServedOrg, encode

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

CONTROL = "/sample-org/"
"""Where the sample org itself is steered; no fault disturbs that."""

_STEP_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class _Exchange:
    """One request and the way to answer it."""

    scope: Message
    body: bytes
    receive: Receive
    send: Send


class Disturbed:
    """An application whose answers the faults disturb."""

    def __init__(
        self, application: Application, faults: Faults, org: ServedOrg, hang_up: Callable[[Message], None]
    ) -> None:
        """Stand around `application`, which serves `org`; `hang_up` ends the connection that a scope came by."""
        self._application, self._faults, self._org, self._hang_up = application, faults, org, hang_up

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http" or scope["path"].startswith(CONTROL):
            await self._application(scope, receive, send)
            return
        body = await _read(receive)
        due = self._faults.due(scope["method"], scope["path"], body)
        for count in due:
            if count.fault.kind == "latency":
                await self._wait(count, count.fault.seconds)
        met = next((each for each in due if each.fault.kind != "latency"), None)
        receive = _given(body, receive)
        if met is None:
            await self._application(scope, receive, send)
        elif met.fault.kind == "dropped":
            await self._end(scope, receive)
        elif met.fault.kind in ("dripping", "truncated", "cut_off", "subrequest_error"):
            await self._spoil(met, _Exchange(scope, body, receive, send))
        else:
            if met.fault.kind == "session_expired":
                self._org.end_session(_token(scope))
            await _send(send, *_encoded(met.fault.answer()))

    async def _spoil(self, met: Count, exchange: _Exchange) -> None:
        """Send the right answer as the fault leaves it."""
        start, content = await self._answer(exchange)
        send, half = exchange.send, len(content) // 2
        if met.fault.kind == "subrequest_error":
            reference = described(exchange.scope["path"], exchange.body)[met.fault.object.lower()]
            await _send(send, *_failed(start, content, reference))
        elif met.fault.kind == "truncated":
            await _send(send, start, content[:half])
        elif met.fault.kind == "cut_off":
            await _send(send, start, content[:half], promised=len(content))
            await self._end(exchange.scope, exchange.receive)
        else:
            pieces = max(1, round(met.fault.seconds / _STEP_SECONDS))
            size = -(-len(content) // pieces) or 1
            await _send(send, start, b"", promised=len(content))
            for at in range(0, len(content), size):
                await self._wait(met, met.fault.seconds / pieces)
                await send({"type": "http.response.body", "body": content[at : at + size], "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _wait(self, count: Count, seconds: float) -> None:
        """Hold the request back, until the fault is cleared at the latest, so that a stopping server need not wait."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0 and any(each is count for each in self._faults.counts()):
            await asyncio.sleep(min(left, _STEP_SECONDS))

    async def _end(self, scope: Message, receive: Receive) -> None:
        """End the connection; the server calls the silence an error unless it has noticed the end."""
        self._hang_up(scope)
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _answer(self, exchange: _Exchange) -> tuple[Message, bytes]:
        """Return what the application answers: the message that starts it, and the body."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._application(exchange.scope, exchange.receive, keep)
        return messages[0], b"".join(message.get("body", b"") for message in messages[1:])


def _token(scope: Message) -> str:
    sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
    return str(sent.decode("latin-1").partition(" ")[2])


def _encoded(answered: Answer) -> tuple[Message, bytes]:
    headers = [(name.encode(), value.encode()) for name, value in answered.headers.items()]
    return {"type": "http.response.start", "status": answered.status, "headers": headers}, answered.body


def _failed(start: Message, content: bytes, reference: str) -> tuple[Message, bytes]:
    """Return an answer in which that part of a composite failed; "" is an answer that is no composite's."""
    if not reference:
        return {**start, "status": SERVER_ERROR.status}, SERVER_ERROR.body
    answered = json.loads(content)
    for each in answered.get("compositeResponse", []) if isinstance(answered, dict) else []:
        if each["referenceId"] == reference:
            each.update(body=json.loads(SERVER_ERROR.body), httpStatusCode=SERVER_ERROR.status, httpHeaders={})
    return start, encode(answered)


async def _send(send: Send, start: Message, content: bytes, promised: int | None = None) -> None:
    """Send an answer; `promised` is the Content-Length where more is promised than `content`."""
    length = len(content) if promised is None else promised
    kept = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    await send({**start, "headers": [*kept, (b"content-length", str(length).encode())]})
    await send({"type": "http.response.body", "body": content, "more_body": promised is not None})


async def _read(receive: Receive) -> bytes:
    body = b""
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def _given(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body that was read already, then goes on with the connection's own."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return waiting.pop() if waiting else await receive()

    return next_message
