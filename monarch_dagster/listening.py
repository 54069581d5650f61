"""The socket that a server of Monarch's listens on; what it serves is elsewhere."""

from __future__ import annotations

import errno
import socket

from monarch_dagster.errors import MonarchError

_REMEDY = "Name another --port, or 0 to have one chosen."


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that accepts connections at once; they wait in its queue until the server takes them.

    Raises `MonarchError` where the port is taken, or there is no such address on this machine.
    """
    try:
        family, kind, protocol, _, found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise MonarchError(f"Cannot listen on {host}: {error}.", remedy="Name an address of this machine.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((found[0], port, *found[2:]))
        listener.listen(2048)
    except (OSError, OverflowError) as error:
        listener.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise MonarchError(f"Port {port} on {host} is taken.", remedy=_REMEDY) from error
        raise MonarchError(f"Cannot listen on port {port} of {host}: {error}.", remedy=_REMEDY) from error
    return listener
