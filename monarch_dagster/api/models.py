"""What callers send and get, as OpenAPI tells it. The bodies are the configs of the jobs; no decision is made here."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

import dagster as dg
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from monarch_dagster.defs.config import LONGEST_LOCK_TIMEOUT_SECONDS, GenerateConfig, RevisionName, RunConfig
from monarch_dagster.migrations.revisions import check_range

LONGEST_WAIT_SECONDS = 600

RunState = Literal["QUEUED", "STARTED", "SUCCESS", "FAILURE", "CANCELED"]


def _as_in(config: type[dg.Config], name: str, **limits: Any) -> Any:
    """Return the field of a job's config: the Launchpad's default and words."""
    field = config.model_fields[name]
    return Field(default=field.default, description=field.description, **limits)


def _whole(value: object) -> object:
    """Return 5 for 5.0, which is an integer in JSON (JSON Schema 2020-12, "Validation", section 6.1.1)."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


_Integer = Annotated[int, BeforeValidator(_whole)]
# What the checks take, as OpenAPI can say it: white space is less in JSON Schema's expressions than in Python's.
_ID = r"[^\s\x1c-\x1f\x85@:+\-]+"
_Name = Annotated[RevisionName, Field(json_schema_extra={"pattern": f"^({_ID})?$"})]
_Range = Annotated[str, AfterValidator(check_range), Field(json_schema_extra={"pattern": f"^{_ID}(:{_ID})?$"})]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    @model_validator(mode="after")
    def _can_be_written(self) -> Self:
        # JSON can say a half of a surrogate pair (RFC 8259, section 8.2); no file and no answer can hold it.
        try:
            json.dumps(self.model_dump(), ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("A text has half of a surrogate pair.") from None
        return self


class GenerateBody(_Body):
    """Config of the job `generate_migrations`. What is left out has its default."""

    fetch: bool = _as_in(GenerateConfig, "fetch")
    message: str = _as_in(GenerateConfig, "message")
    dry_run: bool = _as_in(GenerateConfig, "dry_run")


class RunBody(_Body):
    """Config of the job `run_migrations`. What is left out has its default."""

    target: _Name = _as_in(RunConfig, "target")
    expected_version: _Name = _as_in(RunConfig, "expected_version")
    allow_data_loss: list[_Range] = _as_in(RunConfig, "allow_data_loss")
    allow_unproved: list[_Range] = _as_in(RunConfig, "allow_unproved")
    dry_run: bool = _as_in(RunConfig, "dry_run")
    lock_timeout_seconds: _Integer = _as_in(RunConfig, "lock_timeout_seconds", ge=1, le=LONGEST_LOCK_TIMEOUT_SECONDS)


class Waiting(BaseModel):
    """How long a call waits for the outcome; other parameters are refused, so that a misspelt one is noticed."""

    model_config = ConfigDict(extra="forbid")

    wait: int = Field(
        default=0, ge=0, le=LONGEST_WAIT_SECONDS, description="Seconds to wait for the end of the run. 0: do not wait."
    )


class RunAnswer(BaseModel):
    """A run of a job: where it is seen, how far it is, and what it came to.

    Versions are revisions, or `base` for none. `assets` and `checks` have all that the run reported, as
    `monarch … --json` prints it; the other fields have what callers ask for first.
    """

    run_id: str = Field(description="Id of the run in Dagster.")
    job: str = Field(description="Name of the job.")
    status: RunState = Field(description="QUEUED and STARTED: not ended yet.")
    link: str = Field(description="The run in the Dagster UI (MONARCH_UI_URL).")
    summary: str = Field(default="", description="What was done, in words.")
    version_before: str | None = Field(
        default=None, description="Before the run: of the chain where it generates, of the target where it applies."
    )
    version_after: str | None = Field(default=None, description="After the run.")
    path: str | None = Field(default=None, description="File of the first revision that was proposed.")
    revisions: list[str] = Field(default=[], description="Revisions that were proposed, applied or reverted, in order.")
    hazards: list[dict[str, Any]] = Field(
        default=[], description="What the revisions may cost: `revision`, `kind`, `object`, `detail`, the worst first."
    )
    error: str = Field(default="", description="Why it failed: what was found, what was expected.")
    remedy: str = Field(default="", description="What to do now.")
    assets: dict[str, dict[str, Any]] = Field(default={}, description="What each asset reported.")
    checks: dict[str, dict[str, Any]] = Field(default={}, description="What each check reported.")


class StatusAnswer(BaseModel):
    """The object of `monarch status --json`: where target, revisions and sources stand."""

    model_config = ConfigDict(extra="allow")

    database_revision: str | None = Field(description="Version of the target; null for none.")
    head_revision: str | None = Field(description="Last revision of the chain; null for none, or for several heads.")
    heads: list[str] = Field(description="All heads of the chain; more than one wants `monarch rebase`.")
    pending: list[dict[str, Any]] = Field(description="Revisions that were not applied: files, hazards, table sizes.")
    sources_covered: bool = Field(description="Whether the revisions come to what the schema files declare.")
    missing: list[dict[str, Any]] = Field(description="What the org no longer shows.")
    drift: list[dict[str, Any]] = Field(description="What was changed in the target by hand.")
    problems: list[str] = Field(description="Where things disagree, with remedies.")
    object_meta: dict[str, Any] = Field(description="`path`, `sha256`, `objects` and `fields` of object_meta.json.")


class Health(BaseModel):
    """The answer to a probe."""

    status: Literal["ok"] = Field(default="ok", description="The server answers; nothing else was looked at.")


class ErrorAnswer(BaseModel):
    """A call that was refused, or failed."""

    error: str = Field(description="What was found, and what was expected.")
    remedy: str = Field(description="What to do now; empty where the error says it.")
