"""Run config: what an asset can be told, and the flat config of each job with its safe defaults.

A job maps its flat config onto its assets, so that a caller who omits a field gets the safe value written here, not the
asset's own default. Every field has a concrete default: only those are pre-filled in the Launchpad.

Dagster refuses unknown keys, wrong types and values that are none of a `Literal` while they are typed. What else is
wrong (a range, the form of a revision's name) a job's launch refuses, before there is a run: the mapping builds the
flat class. An asset that is materialised without a job refuses it in its step, before it does anything.
"""

from typing import Annotated, Any, Literal

import dagster as dg
from pydantic import AfterValidator, Field

from monarch_dagster.migrations.revisions import check_name, check_range
from monarch_dagster.salesforce.guards import MAX_MISSING_PERCENT

# As `migrations.environment` has it; importing that here would load SQLAlchemy with the code location.
LOCK_TIMEOUT_SECONDS = 5
# For as long a revision is tried again whose locks are not to be had; the same module has that.
LONGEST_LOCK_TIMEOUT_SECONDS = 600

_FETCH = "Fetch object_meta.json from the Salesforce org. Off: use the file as it is."
_OTHER_ORG = "Take the metadata of another org than the one that the file is of, such as a sandbox with a new id."
_LOWER_VERSION = "Fetch with a lower API version than the file was fetched with, which may show less."
_MAX_MISSING = (
    "Share of the known fields (percent, 0 to 100) that may be missing at once; more stops the fetch, since the user "
    "has most likely lost permissions. 100 takes any share but all."
)
_OBJECTS = "Objects to fetch: names or patterns (npsp__*); empty: all that the selection in object_meta.json takes."
_GENERATE = "Generate migrations for what changed in the schema files. Off: use the revisions that exist."
_MESSAGE = "Message of the revision; it also ends in the file's name."
_DRY_GENERATE = "Show and prove the revision, but write no file."
_DRY_APPLY = "Show the SQL, but run nothing on the target."
_LOSS = (
    "Revisions (REV or FROM:TO) that may lose stored values. Others that would are refused, with the rows they hold."
)
_UNPROVED = "Revisions (REV or FROM:TO) that may run without a proof, such as where no shadow database can be had."
_EXPECTED = "Revision that the target must be at before anything runs (base for none); empty: any."
_LOCK = "Seconds (1 to 600) that a statement waits for a lock before its revision is rolled back and tried again."


RevisionName = Annotated[str, AfterValidator(check_name)]
RevisionRanges = list[Annotated[str, AfterValidator(check_range)]]


class ObjectMetaConfig(dg.Config):
    """What `object_meta` does."""

    fetch: bool = Field(default=True, description=_FETCH)
    objects: list[str] = Field(default=[], description=_OBJECTS)
    other_org: bool = Field(default=False, description=_OTHER_ORG)
    lower_api_version: bool = Field(default=False, description=_LOWER_VERSION)
    max_missing_percent: int = Field(default=MAX_MISSING_PERCENT, ge=0, le=100, description=_MAX_MISSING)


class RevisionFilesConfig(dg.Config):
    """What `revision_files` does."""

    generate: bool = Field(default=True, description=_GENERATE)
    message: str = Field(default="", description=_MESSAGE)
    dry_run: bool = Field(default=False, description=_DRY_GENERATE)


class SchemaStateConfig(dg.Config):
    """What `schema_state` does."""

    direction: Literal["upgrade", "revert", "adopt"] = Field(
        default="upgrade", description="Apply revisions, take them back, or record the one that the schema equals."
    )
    target: RevisionName = Field(default="head", description="Revision to end at: head, base, an id or its start.")
    apply_new: bool = Field(default=False, description="Also apply revisions that this very run has written.")
    expected_version: RevisionName = Field(default="", description=_EXPECTED)
    allow_data_loss: RevisionRanges = Field(default=[], description=_LOSS)
    allow_unproved: RevisionRanges = Field(default=[], description=_UNPROVED)
    dry_run: bool = Field(default=False, description=_DRY_APPLY)
    lock_timeout_seconds: int = Field(
        default=LOCK_TIMEOUT_SECONDS, ge=1, le=LONGEST_LOCK_TIMEOUT_SECONDS, description=_LOCK
    )


class SetupConfig(dg.Config):
    """The former DAG's two toggles; both off is the local install: run the revisions that exist."""

    fetch: bool = Field(default=False, description=_FETCH)
    generate: bool = Field(default=False, description=_GENERATE)


class FetchConfig(dg.Config):
    """Config of `fetch_object_meta`."""

    objects: list[str] = Field(default=[], description=_OBJECTS)
    other_org: bool = Field(default=False, description=_OTHER_ORG)
    lower_api_version: bool = Field(default=False, description=_LOWER_VERSION)
    max_missing_percent: int = Field(default=MAX_MISSING_PERCENT, ge=0, le=100, description=_MAX_MISSING)


class GenerateConfig(dg.Config):
    """Config of `generate_migrations`."""

    fetch: bool = Field(default=False, description=_FETCH)
    message: str = Field(default="", description=_MESSAGE)
    dry_run: bool = Field(default=False, description=_DRY_GENERATE)


class RunConfig(dg.Config):
    """Config of `run_migrations`."""

    target: RevisionName = Field(default="head", description="Revision to apply up to: head, an id or its start.")
    expected_version: RevisionName = Field(default="", description=_EXPECTED)
    allow_data_loss: RevisionRanges = Field(default=[], description=_LOSS)
    allow_unproved: RevisionRanges = Field(default=[], description=_UNPROVED)
    dry_run: bool = Field(default=False, description=_DRY_APPLY)
    lock_timeout_seconds: int = Field(
        default=LOCK_TIMEOUT_SECONDS, ge=1, le=LONGEST_LOCK_TIMEOUT_SECONDS, description=_LOCK
    )


class RevertConfig(dg.Config):
    """Config of `revert_migrations`."""

    target: RevisionName = Field(default="", description="Revision to go back to (base empties). The run demands one.")
    allow_data_loss: RevisionRanges = Field(default=[], description=_LOSS)


class AdoptConfig(dg.Config):
    """Config of `adopt_database`."""

    dry_run: bool = Field(default=True, description="Tell which revision the schema equals, but record nothing.")


@dg.config_mapping
def setup_mapping(config: SetupConfig) -> dict[str, Any]:
    """Map the two toggles; revisions that the run writes are applied in the same pass."""
    return _ops(
        object_meta={"fetch": config.fetch},
        revision_files={"generate": config.generate},
        schema_state={"apply_new": True},
    )


@dg.config_mapping
def fetch_mapping(config: FetchConfig) -> dict[str, Any]:
    """Map onto `object_meta`."""
    return _ops(
        object_meta={
            "fetch": True,
            "objects": list(config.objects),
            "other_org": config.other_org,
            "lower_api_version": config.lower_api_version,
            "max_missing_percent": config.max_missing_percent,
        }
    )


@dg.config_mapping
def generate_mapping(config: GenerateConfig) -> dict[str, Any]:
    """Map onto `object_meta` and `revision_files`."""
    return _ops(
        object_meta={"fetch": config.fetch},
        revision_files={"generate": True, "message": config.message, "dry_run": config.dry_run},
    )


@dg.config_mapping
def run_mapping(config: RunConfig) -> dict[str, Any]:
    """Map onto `schema_state`."""
    return _ops(
        schema_state={
            "target": config.target,
            "expected_version": config.expected_version,
            "allow_data_loss": list(config.allow_data_loss),
            "allow_unproved": list(config.allow_unproved),
            "dry_run": config.dry_run,
            "lock_timeout_seconds": config.lock_timeout_seconds,
        }
    )


@dg.config_mapping
def revert_mapping(config: RevertConfig) -> dict[str, Any]:
    """Map onto `schema_state`, downwards."""
    return _ops(
        schema_state={
            "direction": "revert",
            "target": config.target,
            "allow_data_loss": list(config.allow_data_loss),
        }
    )


@dg.config_mapping
def adopt_mapping(config: AdoptConfig) -> dict[str, Any]:
    """Map onto `schema_state`, which then runs no revision."""
    return _ops(schema_state={"direction": "adopt", "dry_run": config.dry_run})


def _ops(**assets: dict[str, Any]) -> dict[str, Any]:
    return {"ops": {name: {"config": config} for name, config in assets.items()}}
