"""The sample org's HTTP: routes, bearer tokens, the count of calls.

Only what HTTP adds: what is answered is decided in `rest`, `composite` and `login`, what is served is `served`, and
`running` starts it. Every response leaves through the one application that `create_app` returns; `disturbed` stands
around it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.sample_org.composite import answer_composite
from monarch_dagster.salesforce.sample_org.faults import Faults, answer_control
from monarch_dagster.salesforce.sample_org.login import answer_soap_login, answer_token_request
from monarch_dagster.salesforce.sample_org.org import VERSIONS
from monarch_dagster.salesforce.sample_org.rest import (
    VERSION_PATTERN,
    Answer,
    answer,
    failure,
    limit_exceeded,
    versions,
)
from monarch_dagster.salesforce.sample_org.served import ServedOrg, encode

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

_COMPOSITE = re.compile(rf"/services/data/{VERSION_PATTERN}/composite/?")
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def create_app(org: ServedOrg, faults: Faults, *, switch: Callable[[int], None] | None) -> Starlette:
    """Return the application that serves `org` in good health, and steers it below `/sample-org/`.

    Args:
        org: what is served.
        faults: what `/sample-org/faults` steers; whoever stands around the application brings them about.
        switch: changes the version of the shipped org; None for any other org.
    """
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    def respond(answered: Answer) -> Response:
        headers = {"Content-Type": "application/json;charset=UTF-8", **answered.headers}
        return Response(answered.body, answered.status, headers)

    async def list_versions(_request: Request) -> Response:
        return respond(versions())

    async def call(request: Request) -> Response:
        return respond(_answer_call(org, request, await request.body()))

    async def token(request: Request) -> Response:
        return respond(answer_token_request(org, await request.body(), request.headers.get("Authorization", "")))

    async def soap(request: Request) -> Response:
        return respond(answer_soap_login(org, await request.body(), request.path_params["version"]))

    async def switch_version(request: Request) -> Response:
        return respond(_switch(switch, request.path_params["version"]))

    async def steer_faults(request: Request) -> Response:
        return respond(answer_control(faults, request.method, await request.body()))

    return Starlette(
        routes=[
            Route("/services/data", list_versions),
            Route("/services/data/", list_versions),
            Route("/services/data/{rest:path}", call, methods=_METHODS),
            Route("/services/oauth2/token", token, methods=["POST"]),
            Route("/services/Soap/u/{version:float}", soap, methods=["POST"]),
            Route("/sample-org/faults", steer_faults, methods=["GET", "POST", "DELETE"]),
            Route("/sample-org/version/{version:int}", switch_version, methods=["POST"]),
        ]
    )


def _answer_call(org: ServedOrg, request: Request, body: bytes) -> Answer:
    """Answer a call to the REST API: token first, then the count, then the call itself."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "oauth") or not org.accepts(token):
        return failure(401, "INVALID_SESSION_ID", "Session expired or invalid")
    if org.calls >= org.daily_calls:
        return limit_exceeded()
    org.calls += 1
    try:
        org.refresh()
    except MonarchError as error:
        return failure(500, "UNKNOWN_EXCEPTION", f"The sample org cannot be served: {error.message}")
    path = request.scope["raw_path"].decode("latin-1")
    if _COMPOSITE.fullmatch(path) and request.method == "POST":
        answered = answer_composite(org, body)
    else:
        answered = answer(org, request.method, f"{path}?{request.url.query}", request.headers)
    usage = {"Sforce-Limit-Info": f"api-usage={org.calls}/{org.daily_calls}"}
    return Answer(answered.status, answered.body, {**answered.headers, **usage})


def _switch(switch: Callable[[int], None] | None, version: int) -> Answer:
    if switch is None:
        return failure(409, "NO_VERSIONS", "An org served from a folder has no versions; edit its files instead")
    if version not in VERSIONS:
        return failure(404, "NOT_FOUND", f"The sample org has versions 1 and 2, not {version}")
    switch(version)
    return Answer(200, encode({"version": version}))
