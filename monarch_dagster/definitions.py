"""The code location: assembly only."""

import dagster as dg

from monarch_dagster.defs.assets import object_meta, revision_files, schema_state
from monarch_dagster.defs.checks import checks
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
    # A process a step costs twenty seconds here and buys nothing: the work is one database's.
    executor=dg.in_process_executor,
)
