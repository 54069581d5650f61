"""Dagster's own storage: PostgreSQL at `DAGSTER_POSTGRES_URL`, else on the embedded server.

Named in `dagster.yaml`, so that every Dagster process and `monarch` share one history with nothing set.
"""

from __future__ import annotations

from typing import Any

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from monarch_dagster.settings import Settings

# Dagster's event log watcher sends `NOTIFY` in psycopg2's parameter style; a bare postgresql:// means psycopg 3 here.
DRIVER = "postgresql+psycopg2"


class MonarchStorage(DagsterPostgresStorage):
    """`DagsterPostgresStorage` that finds its URL by itself."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of its config in `dagster.yaml`: there is none."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> MonarchStorage:  # noqa: ARG003
        """Open the storage; the embedded server is started where no URL is set."""
        url = Settings.load().dagster_url().set(drivername=DRIVER)
        return cls(postgres_url=url.render_as_string(hide_password=False), inst_data=inst_data)
