"""Generic rows for a proof: put into the tables of a shadow, and looked for after the revision has run."""

from monarch_dagster.migrations.rows.fill import Filled, fill
from monarch_dagster.migrations.rows.snapshot import Snapshot, least, lost, rewritten, take

__all__ = ["Filled", "Snapshot", "fill", "least", "lost", "rewritten", "take"]
