"""The sockets that an instance listens on: bound here, or handed over by the service manager.

systemd's socket activation (sd_listen_fds(3)): `LISTEN_FDS` sockets from descriptor 3 on, meant for the process that
`LISTEN_PID` names. They take the place of the configured addresses, and all workers accept from each of them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from dataclasses import replace

from fastanchor.settings.server import ServerSettings
from fastanchor.wire.listen import bind

FIRST = 3


def handed_over(environ: MutableMapping[str, str], first: int = FIRST) -> list[socket.socket]:
    """The listening sockets of the service manager; none without one. The variables are taken away from children.

    Raises:
        OSError: a descriptor is no listening stream socket.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not (count.isascii() and count.isdigit()):
        return []
    return [_adopted(descriptor) for descriptor in range(first, first + int(count))]


def _adopted(descriptor: int) -> socket.socket:
    found = socket.socket(fileno=descriptor)
    if found.type != socket.SOCK_STREAM or not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        found.close()
        raise OSError(f"descriptor {descriptor} from the service manager is no listening stream socket")
    found.set_inheritable(False)
    found.setblocking(False)
    return found


def slots(server: ServerSettings, workers: int, given: list[socket.socket]) -> list[list[socket.socket]]:
    """Listening sockets for each worker: the given ones, else its own for every TCP address (SO_REUSEPORT) and one
    shared for a unix path.

    Raises OSError when an address is taken.
    """
    if given:
        return [given] * workers
    found: list[list[socket.socket]] = [[] for _ in range(workers)]
    for address in server.listen:
        shared = bind(str(address)) if address.path else None
        port = address.port
        for slot in found:
            if shared is not None:
                slot.append(shared)
                continue
            listener = bind(str(replace(address, port=port)), reuse_port=True, backlog=server.limits.backlog)
            port = listener.getsockname()[1]  # port 0: all workers share what the first one got
            slot.append(listener)
    return found
