"""Where Dagster keeps what it knows: runs and events in PostgreSQL, files under `MONARCH_HOME`.

Named in `dagster.yaml`, so that every Dagster process and `monarch` share one history with nothing set and no absolute
path: each class finds its place by itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from monarch_dagster.settings import Settings

# Dagster's event log watcher sends `NOTIFY` in psycopg2's parameter style; a bare postgresql:// means psycopg 3 here.
DRIVER = "postgresql+psycopg2"


def dagster_folder(settings: Settings) -> Path:
    """Return the folder for the files of Dagster's instance."""
    return settings.home.resolve() / "dagster"


class MonarchStorage(DagsterPostgresStorage):
    """Runs, events and schedules: at `DAGSTER_POSTGRES_URL`, else on the embedded server."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of its config in `dagster.yaml`: there is none."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> MonarchStorage:  # noqa: ARG003
        """Open the storage; the embedded server is started where no URL is set."""
        url = Settings.load().dagster_url().set(drivername=DRIVER)
        return cls(postgres_url=url.render_as_string(hide_password=False), inst_data=inst_data)


class MonarchComputeLogs(LocalComputeLogManager):
    """What runs print. Without a place of their own they would go with the temporary home of `dagster dev`."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of its config in `dagster.yaml`: there is none."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> MonarchComputeLogs:  # noqa: ARG003
        """Open the folder, laid out as Dagster does it."""
        return cls(str(dagster_folder(Settings.load()) / "storage"), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Keep what a step prints. Where nobody sees it meanwhile, no process is started to show it.

        Dagster's would be in the way of a command: Ctrl-C reaches them too, and their traces the terminal.
        """
        if getattr(sys.stderr, "name", "") != os.devnull:
            with super().capture_logs(log_key) as context:
                yield context
            return
        paths = [
            self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind])
            for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        ]
        for path in paths:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        with redirect_to_file(sys.stdout, paths[0]), redirect_to_file(sys.stderr, paths[1]):
            yield CapturedLogContext(log_key)
        Path(self.complete_artifact_path(log_key)).touch()  # type: ignore[no-untyped-call]


class MonarchArtifacts(LocalArtifactStorage):
    """Other files of the instance, so that a `DAGSTER_HOME` at the project root leaves no folder there."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return the schema of its config in `dagster.yaml`: there is none."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> MonarchArtifacts:  # noqa: ARG003
        """Open the folder."""
        return cls(str(dagster_folder(Settings.load())), inst_data=inst_data)
