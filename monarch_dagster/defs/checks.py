"""Asset checks on `schema_state`: what `alembic_version` stores, what is expected, what to do."""

from collections.abc import Callable, Sequence

import dagster as dg

from monarch_dagster.defs.assets import revision_files, schema_state
from monarch_dagster.defs.resources import MonarchResource
from monarch_dagster.errors import MonarchError
from monarch_dagster.migrations.chain import Chain, load_chain
from monarch_dagster.migrations.checks import CHECKS, Outcome

# Revisions wait for their review most of the time; where the stored version does not fit the chain, something broke.
WAITING = "alembic_version_at_head"


def _check(name: str, decide: Callable[[Sequence[str], Chain], Outcome]) -> dg.AssetChecksDefinition:
    # Where a run generates and does not apply, the checks look after it has generated.
    @dg.asset_check(asset=schema_state, name=name, description=decide.__doc__, additional_deps=[revision_files])
    def check(monarch: MonarchResource) -> dg.AssetCheckResult:
        from monarch_dagster.migrations.runner import read_versions

        try:
            settings = monarch.settings()
            outcome = decide(read_versions(settings.target_url()), load_chain(settings.sources.schema_dir))
        except MonarchError as error:
            outcome = Outcome(False, "could not be read", "a readable chain and target", str(error))
        return dg.AssetCheckResult(
            passed=outcome.passed,
            severity=dg.AssetCheckSeverity.WARN if name == WAITING else dg.AssetCheckSeverity.ERROR,
            description=f"stored {outcome.stored}, expected {outcome.expected}",
            metadata={
                "stored": outcome.stored,
                "expected": outcome.expected,
                "remedy": outcome.remedy or "none needed",
            },
        )

    return check


schema_state_checks = [_check(name, decide) for name, decide in CHECKS.items()]
