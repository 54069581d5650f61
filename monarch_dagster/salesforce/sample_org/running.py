"""Starting and stopping the sample org on this machine.

The thread, the socket and the signals; what is served is in `server`. Listens on 127.0.0.1 only.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from monarch_dagster.listening import listen
from monarch_dagster.salesforce.sample_org.credentials import FOLDER, Credentials, load_or_make_credentials
from monarch_dagster.salesforce.sample_org.describes import DescribeFolder
from monarch_dagster.salesforce.sample_org.faults import Faults
from monarch_dagster.salesforce.sample_org.org import ShippedOrg
from monarch_dagster.salesforce.sample_org.permissions import Hidden, Permissions
from monarch_dagster.salesforce.sample_org.served import ChangeLog, ServedOrg

_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RunningOrg:
    """A sample org that accepts connections."""

    url: str
    """Its origin, such as `http://127.0.0.1:8080`."""

    organization_id: str
    credentials: Credentials
    faults: Faults = field(repr=False)
    """What goes wrong with requests; nothing, until faults are added."""

    served: ServedOrg = field(repr=False)
    permissions: Permissions = field(repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which Monarch uses this org, by the client-credentials flow."""
        return {
            "SALESFORCE_BASE_URL": self.url,
            "SALESFORCE_DOMAIN": self.credentials.domain,
            "SALESFORCE_CONSUMER_KEY": self.credentials.consumer_key,
            "SALESFORCE_CONSUMER_SECRET": self.credentials.consumer_secret,
        }

    def hide(self, hidden: Hidden) -> None:
        """Take from the user, from the next call on, the permission to see that, and give back every other."""
        self.permissions.hide(hidden)

    @property
    def calls(self) -> int:
        """How many calls the org has counted today."""
        return self.served.calls

    def limit_calls(self, daily: int, *, used: int = 0) -> None:
        """Allow so many calls a day, of which so many count as used; further ones are 403."""
        self.served.daily_calls, self.served.calls = daily, used


@contextmanager
def running(describes: Path | None = None, *, version: int = 1, port: int = 0, home: Path) -> Iterator[RunningOrg]:
    """Serve the sample org in a thread of this process for as long as the block lasts.

    Args:
        describes: a folder of describes to serve; None serves the shipped org.
        version: the version of the shipped org to start with.
        port: where to listen; 0 lets the system choose.
        home: Monarch's home folder, which keeps the credentials below `sample-org/`.

    Yields:
        The running org, once it accepts connections.

    Raises:
        MonarchError: the port is taken, the folder holds no describes, there is no such version, or the home folder
            cannot be written.
    """
    import uvicorn

    from monarch_dagster.salesforce.sample_org.disturbed import Disturbed, Message
    from monarch_dagster.salesforce.sample_org.server import create_app

    source = ShippedOrg(version) if describes is None else DescribeFolder(describes)
    credentials = load_or_make_credentials(home, source.organization_id)
    permissions = Permissions(source)
    served = ServedOrg(permissions, credentials, ChangeLog(home.resolve() / FOLDER / "last_modified.json"))
    faults = Faults()
    app = create_app(served, faults, switch=source.switch if isinstance(source, ShippedOrg) else None)

    def hang_up(scope: Message) -> None:
        for connection in server.server_state.connections:
            if connection.transport.get_extra_info("peername") == tuple(scope["client"]):
                connection.transport.abort()

    with listen(_HOST, port) as listener:
        # No log_config: uvicorn's own would replace the handlers of the process that the thread is a guest in.
        config = uvicorn.Config(
            Disturbed(app, faults, served, hang_up),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), name="sample-org", daemon=True)
        thread.start()
        try:
            url = f"http://{_HOST}:{listener.getsockname()[1]}"
            yield RunningOrg(url, source.organization_id, credentials, faults, served, permissions)
        finally:
            faults.clear()  # and so end the waiting
            server.should_exit = True
            thread.join()


def serve(
    describes: Path | None, *, version: int, port: int, home: Path, announce: Callable[[RunningOrg], None]
) -> None:
    """Serve the sample org until Ctrl-C or SIGTERM; to be called from the main thread.

    Args:
        describes: as `running`.
        version: as `running`.
        port: as `running`.
        home: as `running`.
        announce: called once, when the org accepts connections.

    Raises:
        MonarchError: as `running`.
    """
    stopped = threading.Event()
    before = {each: signal.signal(each, lambda *_: stopped.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with running(describes, version=version, port=port, home=home) as org:
            announce(org)
            stopped.wait()
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
