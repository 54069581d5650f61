"""The code location: assembly only."""

import dagster as dg

from monarch_dagster.defs.assets import object_meta, revision_files, schema_state
from monarch_dagster.defs.checks import checks
from monarch_dagster.defs.executor import in_process_executor
from monarch_dagster.defs.jobs import JOBS
from monarch_dagster.defs.resources import Monarch
from monarch_dagster.defs.sensors import SENSORS
from monarch_dagster.defs.sources import SOURCES

defs = dg.Definitions(
    assets=[*SOURCES, object_meta, revision_files, schema_state],
    asset_checks=checks,
    jobs=JOBS,
    sensors=SENSORS,
    resources={"monarch": Monarch()},
    executor=in_process_executor,
)
