"""The sockets that an instance listens on: bound here, or handed over by the service manager.

systemd's socket activation (sd_listen_fds(3)): `LISTEN_FDS` sockets from descriptor 3 on, meant for the process that
`LISTEN_PID` names. They take the place of the configured addresses.

All workers accept from each socket (see `wire.occupancy`): with a socket for each worker (SO_REUSEPORT) the kernel
draws lots, and of 100 connections one of four workers gets 17, another 33.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

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


def listening(server: ServerSettings, given: list[socket.socket]) -> list[socket.socket]:
    """The sockets that all workers accept from: the given ones, else one for each configured address.

    Raises OSError when an address is taken.
    """
    return given or [bind(str(address), backlog=server.limits.backlog) for address in server.listen]
