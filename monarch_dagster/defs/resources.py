"""The one resource: Monarch's settings, read when a step starts, so that a changed `.env` needs no reload."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import dagster as dg
from dagster._utils.interrupts import raise_interrupts_as

from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import Interrupted

if TYPE_CHECKING:
    from monarch_dagster.settings import Settings


class Monarch:
    """Gives assets, checks and sensors the project's settings."""

    def settings(self) -> Settings:
        """Read the settings of this process. Raises `MonarchError` for a value that cannot be used."""
        from monarch_dagster.settings import Settings

        return Settings.load()


# A plain object: a `ConfigurableResource` without fields makes Dagster fall back to what pydantic deprecates.
MonarchResource = dg.ResourceParam[Monarch]


@contextmanager
def failing_clearly() -> Iterator[None]:
    """Turn a `MonarchError` into a failed step whose message is for people; no retry would mend it.

    Meanwhile an interrupt of the run (Ctrl-C, SIGTERM, a cancel in the UI) is an `Interrupted`.
    """
    # Dagster's own exception is no KeyboardInterrupt, so psycopg does not cancel the statement for it: the server would
    # work on without a client, and hold its locks.
    with raise_interrupts_as(Interrupted):
        try:
            yield
        except MonarchError as error:
            raise dg.Failure(description=str(error), allow_retries=False) from None
