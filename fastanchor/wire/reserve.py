"""A descriptor kept for the moment when there is no other: with it a process that has run out can still say so.

Without it a new client waits in the backlog for nobody, and the listener stays readable for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket

REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain\r\ncontent-length: 33\r\n"
    b"retry-after: 1\r\nconnection: close\r\n\r\nno room for another connection.\r\n"
)
UNREAD = 64 * 1024


class Reserve:
    """One spare descriptor, where there was one to be had."""

    def __init__(self) -> None:
        self._spare: int | None = None
        self._refill()

    def shed(self, listener: socket.socket, refusal: bytes) -> bool:
        """Accept one connection in the spare's place, answer `refusal` and close it.

        False when there was no spare, or nobody to accept.
        """
        if self._spare is None:
            self._refill()
        self.close()
        try:
            sock, _ = listener.accept()
        except OSError:
            return False
        else:
            turn_away(sock, refusal)
            return True
        finally:
            self._refill()

    def close(self) -> None:
        """Give the descriptor back."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _refill(self) -> None:
        with contextlib.suppress(OSError):
            self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


def turn_away(sock: socket.socket, refusal: bytes = b"") -> None:
    """Say `refusal` and close, without waiting for anybody.

    What has come is read first: closing over unread bytes is a reset, which may overtake the answer.
    """
    with sock, contextlib.suppress(OSError):
        if refusal:
            sock.setblocking(False)
            sock.send(refusal)
            sock.shutdown(socket.SHUT_WR)
            sock.recv(UNREAD)
