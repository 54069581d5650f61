"""Starting and ending the server of `monarch api`: the socket, the signals, what must be right before it starts."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn

from monarch_dagster.api.guard import Guard, check_token
from monarch_dagster.api.processes import ENDING_SECONDS, prepare
from monarch_dagster.errors import MonarchError
from monarch_dagster.interrupts import uninterrupted
from monarch_dagster.listening import listen
from monarch_dagster.settings import Settings

if TYPE_CHECKING:
    from monarch_dagster.api.lanes import Work


def serve(settings: Settings, *, host: str, port: int, announce: Callable[[str], None]) -> None:
    """Serve the endpoints until Ctrl-C or SIGTERM; to be called from the main thread.

    Args:
        settings: of the project whose jobs are started.
        host: the address to listen on; without a token it must be one that only this machine reaches.
        port: where to listen; 0 lets the system choose.
        announce: called once with the server's URL, when it accepts calls.

    Raises:
        MonarchError: a setting cannot be used, the port is taken, or Dagster's storage cannot be reached.
        Interrupted: at the end; every run that had begun was interrupted, and has its end in the history.
    """
    ui_url = check_ui_url(settings.ui_url)
    with listen(host, port) as listener:
        check_token(settings.api_token, listener.getsockname()[0])
        # What a call would stumble over later is told now.
        settings.target_url()
        if settings.shadow_url:
            settings.shadows()
        prepare()
        with uninterrupted():
            from monarch_dagster.api.app import create_app
            from monarch_dagster.api.lanes import Work
            from monarch_dagster.api.runs import Runs
            from monarch_dagster.defs.dead_runs import report_dead_runs
            from monarch_dagster.defs.running import open_instance
        with open_instance(settings) as instance:
            report_dead_runs(instance)
            work = Work(Runs(instance, ui_url))
            config = uvicorn.Config(
                Guard(create_app(work), settings.api_token),
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=ENDING_SECONDS + 5,
            )
            _Server(config, work, lambda: announce(_url(listener))).run([listener])


def check_ui_url(url: str) -> str:
    """Return the UI's address without a slash at its end. Raises `MonarchError` where it is none."""
    found = urlsplit(url)
    if found.scheme not in ("http", "https") or not found.hostname or found.query or found.fragment:
        raise MonarchError(
            "MONARCH_UI_URL is not the address of a UI.", remedy="Set it to such as https://dagster.example.com."
        )
    if found.username or found.password:
        raise MonarchError("MONARCH_UI_URL has a login, which answers would tell.", remedy="Leave it out.")
    return url.rstrip("/")


class _Server(uvicorn.Server):
    """Ends the runs before it waits for the calls that wait for them."""

    def __init__(self, config: uvicorn.Config, work: Work, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._work = work
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._work.stop()
        await super().shutdown(sockets)
        await self._work.finished()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
