"""Asset checks: on `revision_files` those of the files, on `schema_state` those that compare the target with them."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from monarch_dagster.defs.assets import revision_files, schema_state
from monarch_dagster.defs.resources import MonarchResource, failing_clearly

if TYPE_CHECKING:
    from monarch_dagster.migrations.checks import Outcome

# Named here too: what is in `migrations.checks` would load SQLAlchemy with the code location.
FILE_CHECKS = {
    "revision_chain_unbroken": "The revision files are one chain: one head, none missing, none twice.",
    "sources_covered": "The revisions come to what models and object metadata declare.",
    "revisions_proved": "Each pending revision has run up, down and up again on a shadow database.",
    "tables_within_limits": "Tables have room for more columns, and nothing pending makes rows too wide.",
}
TARGET_CHECKS = {
    "ledger_agrees": "alembic_version holds one row, it is the ledger's last, and the files have all that was applied.",
    "alembic_version_precedes_next": "The stored version is the down_revision of the next pending revision.",
    "alembic_version_at_head": "The target is at the chain's head: true after every run of migrations.",
    "applied_files_unchanged": "The files of applied revisions are as they were when they were applied.",
    "no_drift": "The target's relations are as the revisions made them there.",
    "revisions_reversible": "Each pending revision can be taken back.",
    "revisions_keep_data": "No pending revision drops or cuts stored values without being named.",
}


def _specs(asset: dg.AssetsDefinition, checks: dict[str, str]) -> list[dg.AssetCheckSpec]:
    # Where a run generates and does not apply, the checks look after it has generated.
    deps = [] if asset is revision_files else [revision_files]
    return [
        dg.AssetCheckSpec(name, asset=asset, description=text, additional_deps=deps) for name, text in checks.items()
    ]


@dg.multi_asset_check(specs=_specs(revision_files, FILE_CHECKS), can_subset=True)
def revision_files_checks(
    context: dg.AssetCheckExecutionContext, monarch: MonarchResource
) -> Iterator[dg.AssetCheckResult]:
    """Check the revision files."""
    yield from _run(context, monarch)


@dg.multi_asset_check(specs=_specs(schema_state, TARGET_CHECKS), can_subset=True)
def schema_state_checks(
    context: dg.AssetCheckExecutionContext, monarch: MonarchResource
) -> Iterator[dg.AssetCheckResult]:
    """Check the target beside the revision files."""
    yield from _run(context, monarch)


def _run(context: dg.AssetCheckExecutionContext, monarch: MonarchResource) -> Iterator[dg.AssetCheckResult]:
    from monarch_dagster.migrations.checks import CHECKS, run_check
    from monarch_dagster.migrations.situation import Situation

    with failing_clearly():
        settings = monarch.settings()
        situation = Situation(settings.prover(), settings.target_url())
    for key in sorted(context.selected_asset_check_keys, key=lambda key: list(CHECKS).index(key.name)):
        outcome = run_check(CHECKS[key.name], situation)
        yield dg.AssetCheckResult(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity(outcome.severity),
            description=_told(outcome),
            metadata={
                "stored": outcome.stored,
                "expected": outcome.expected,
                "remedy": outcome.remedy or "none needed",
            },
        )


def _told(outcome: "Outcome") -> str:
    if not outcome.passed:
        return f"stored {outcome.stored}, expected {outcome.expected}"
    return f"{outcome.stored}, as expected" if outcome.stored == outcome.expected else outcome.stored


checks = [revision_files_checks, schema_state_checks]
