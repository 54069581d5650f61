"""The endpoints: each reads what it was sent, starts or reads one thing, and answers. Every error is JSON alike."""

from __future__ import annotations

import asyncio
import logging
import traceback
from contextlib import suppress
from typing import Annotated, Any
from uuid import UUID

from fastapi import Body, FastAPI, Path, Query, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.security import HTTPBearer
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from monarch_dagster.api.guard import LARGEST_BODY_BYTES
from monarch_dagster.api.lanes import Lane, TooManyCallsError, Work
from monarch_dagster.api.models import (
    ErrorAnswer,
    GenerateBody,
    Health,
    RunAnswer,
    RunBody,
    StatusAnswer,
    Waiting,
)
from monarch_dagster.errors import MonarchError

log = logging.getLogger(__name__)

LONGEST_ERROR = 2000
_DESCRIPTION = """
Schema migrations of one target. A call starts the job of its name in Dagster, where it is a run like any other, and
answers with the run's id and its link in the UI; with `?wait=SECONDS` also with what it came to. Runs of one job are
executed one after the other, in the order of the calls.

Every error is `{"error", "remedy"}`: what was found and expected, and what to do now.
"""
_BEARER = HTTPBearer(
    auto_error=False,
    scheme_name="token",
    description="The server's MONARCH_API_TOKEN. A server on 127.0.0.1 may have none; then none is asked for.",
)
_JOB = {
    200: "The run ended well.",
    202: "The run has not ended yet: ask `GET /runs/{run_id}` later.",
    409: "The run was refused or failed: `error` and `remedy` say why.",
}
_LINKED = {
    "links": {"run": {"operationId": "get_run", "parameters": {"run_id": "$response.body#/run_id"}}},
    "headers": {"Location": {"description": "Path of the run.", "schema": {"type": "string"}}},
}
_ERRORS = {
    400: "The body could not be read.",
    401: "The bearer token is missing or wrong.",
    403: "The server has no token, and the call comes from elsewhere than this machine.",
    404: "There is no such run.",
    413: f"The body is larger than {LARGEST_BODY_BYTES // 1024} KiB.",
    422: "The call has a value that cannot be, or a key that is not known.",
    429: "Too many runs of this job wait already.",
    500: "A defect; what the API printed tells more.",
    503: "Dagster's storage or the target cannot be reached, or the API is ending.",
}


def _answers(*errors: int, **told: str) -> dict[int | str, dict[str, Any]]:
    found = {code: {"model": ErrorAnswer, "description": _ERRORS[code]} for code in errors}
    return found | {int(code.strip("_")): {"description": text} for code, text in told.items()}  # type: ignore[return-value]


def create_app(work: Work) -> FastAPI:
    """Return the application; who may call it is judged in front of it."""
    app = FastAPI(
        title="Monarch",
        description=_DESCRIPTION,
        version="1",
        redoc_url=None,
        swagger_ui_oauth2_redirect_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    _add_errors(app)
    _add_jobs(app, work)
    _add_reads(app, work)
    return app


def _add_jobs(app: FastAPI, work: Work) -> None:
    job: dict[str, Any] = {
        "response_model": RunAnswer,
        "dependencies": [Security(_BEARER)],
        "tags": ["jobs"],
        "responses": {code: {"model": RunAnswer, "description": text, **_LINKED} for code, text in _JOB.items()}
        | _answers(400, 401, 403, 413, 422, 429, 500, 503),
    }

    @app.post("/generate-migrations", summary="Propose revisions", **job)
    async def generate_migrations(
        waiting: Annotated[Waiting, Query()], body: Annotated[GenerateBody | None, Body()] = None
    ) -> JSONResponse:
        """Start the job `generate_migrations`: propose revisions for what changed in the schema files, for review.

        Nothing is applied. No body: all defaults.
        """
        return await _run(work, work.generate, body or GenerateBody(), waiting)

    @app.post("/run-migrations", summary="Apply the pending revisions", **job)
    async def run_migrations(
        waiting: Annotated[Waiting, Query()], body: Annotated[RunBody | None, Body()] = None
    ) -> JSONResponse:
        """Start the job `run_migrations`: apply the pending revisions to the target.

        Stored values are lost only by name (`allow_data_loss`). No body: all defaults.
        """
        return await _run(work, work.run, body or RunBody(), waiting)


def _add_reads(app: FastAPI, work: Work) -> None:
    protected = [Security(_BEARER)]

    @app.get(
        "/runs/{run_id}",
        summary="What a run came to",
        tags=["jobs"],
        dependencies=protected,
        responses=_answers(401, 403, 404, 422, 500, 503, _200="How far the run is, and what it came to."),
    )
    async def get_run(run_id: Annotated[UUID, Path(description="Id of a run of one of Monarch's jobs.")]) -> RunAnswer:
        """Tell how far a run of a job of Monarch's is, whoever started it."""
        found: RunAnswer | None = await asyncio.to_thread(work.runs.read, str(run_id))
        if found is None:
            raise HTTPException(404, f"There is no run {run_id} of a job of Monarch's.")
        return found

    @app.get(
        "/status",
        summary="Where target, revisions and sources stand",
        tags=["status"],
        dependencies=protected,
        response_model=StatusAnswer,
        responses=_answers(401, 403, 500, 503, _200="As `monarch status --json` prints it."),
    )
    async def get_status() -> JSONResponse:
        """Read versions, pending revisions, hazards, missing entries and drift; nothing is changed.

        It is read after the call came, once for all who wait.
        """
        return JSONResponse(await work.status.read())

    @app.get("/health", summary="Whether the server answers", tags=["status"], responses=_answers(500))
    async def get_health() -> Health:
        """Answer a probe; no token is asked for, and nothing is looked at."""
        return Health()


async def _run(work: Work, lane: Lane, config: BaseModel, waiting: Waiting) -> JSONResponse:
    ticket = await lane.start(config.model_dump())
    answer = RunAnswer(run_id=ticket.run_id, job=lane.job, status="QUEUED", link=work.runs.link(ticket.run_id))
    if waiting.wait:
        with suppress(TimeoutError):
            await asyncio.wait_for(ticket.ended.wait(), waiting.wait)
        found: RunAnswer | None = await asyncio.to_thread(work.runs.read, ticket.run_id)
        answer = found or answer
    code = {"SUCCESS": 200, "QUEUED": 202, "STARTED": 202}.get(answer.status, 409)
    location = {"Location": f"/runs/{ticket.run_id}"}
    return JSONResponse(answer.model_dump(mode="json", fallback=str), code, location)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(MonarchError)
    async def told(_request: Request, error: MonarchError) -> JSONResponse:
        return _error(429 if isinstance(error, TooManyCallsError) else 503, error.message, error.remedy)

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        return _error(422, found, "See /docs for what the call takes.")

    @app.exception_handler(HTTPException)
    async def refused(_request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, error.detail, "See /docs for what there is.", error.headers)

    @app.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        log.error("A defect in %s:\n%s", request.url.path, "".join(traceback.format_exception(error)))
        return _error(500, f"A defect: {type(error).__name__}.", "What the API printed tells more; report it.")


def _error(code: int, error: str, remedy: str, headers: Any = None) -> JSONResponse:
    return JSONResponse(ErrorAnswer(error=error[:LONGEST_ERROR], remedy=remedy).model_dump(), code, headers)
