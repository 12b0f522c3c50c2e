"""Client and provider in one: everything happens in one order, one step at a time, whatever the machine is doing.

The provider sends its next bytes only when the client has seen the last ones. So the gateway never finds two events in
one read, never waits with a timeout that fires, and does the same work in every run.
"""

from __future__ import annotations

import socket
from types import TracebackType

TIMEOUT = 60.0  # seconds; under callgrind a gateway is fifty times slower
HEAD_END = b"\r\n\r\n"


class LockstepError(Exception):
    """The gateway sent something else than what the step asks for; the text has its last bytes."""


class Lockstep:
    """One client connection to the gateway, and the provider's end of the gateway's connection."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT)
        self.provider_port: int = self._listener.getsockname()[1]
        self._client: socket.socket | None = None
        self._provider: socket.socket | None = None

    def __enter__(self) -> Lockstep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (self._client, self._provider, self._listener):
            if sock is not None:
                sock.close()

    def connect(self, port: int) -> None:
        """Open the client's connection."""
        self._client = _prompt(socket.create_connection(("127.0.0.1", port), TIMEOUT))

    def ask(self, request: bytes) -> None:
        """The client sends a request, and the provider reads what becomes of it."""
        assert self._client is not None
        self._client.sendall(request)
        if self._provider is None:
            self._provider = _prompt(self._listener.accept()[0])
        head, _, body = _until(self._provider, HEAD_END).partition(HEAD_END)
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += _some(self._provider, body)

    def answer(self, data: bytes, until: bytes) -> bytes:
        """The provider sends, and the client reads until these bytes have come; returns all that it read."""
        assert self._provider is not None
        assert self._client is not None
        self._provider.sendall(data)
        return _until(self._client, until)


def _prompt(sock: socket.socket) -> socket.socket:
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.settimeout(TIMEOUT)
    return sock


def _until(sock: socket.socket, what: bytes) -> bytes:
    data = b""
    while what not in data:
        data += _some(sock, data)
    return data


def _some(sock: socket.socket, before: bytes) -> bytes:
    try:
        data = sock.recv(1 << 16)
    except TimeoutError:
        raise LockstepError(f"nothing more came after {before[-500:]!r}") from None
    if not data:
        raise LockstepError(f"the connection ended after {before[-500:]!r}")
    return data
