"""systemd's notification protocol: one datagram to the socket that the service manager names (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def send(state: str) -> None:
    """Tell the service manager, if there is one."""
    path = os.environ.get("NOTIFY_SOCKET")
    if not path:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.sendto(state.encode(), "\0" + path[1:] if path.startswith("@") else path)
