"""Clients and providers in one: everything happens in one order, one step at a time, whatever the machine is doing.

All clients ask, all providers answer, and between two steps is a pause in which the gateway comes to rest. Its worker
is stopped while a step is sent, and finds all of it at once. So it never finds two events of a stream in one read and
never waits with a timeout that fires; and what it does once for all that happens together, such as a turn of trio's
loop, is shared by as many in every run.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from types import TracebackType

CLIENTS = 16
PAUSE = 0.01  # seconds
TIMEOUT = 60.0  # seconds; under callgrind a gateway is fifty times slower
HEAD_END = b"\r\n\r\n"


class LockstepError(Exception):
    """The gateway sent something else than what the step asks for; the text has its last bytes."""


class Lockstep:
    """The clients' connections to the gateway, and the providers' ends of the gateway's own."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.provider_port: int = self._listener.getsockname()[1]
        self.port = 0
        """Of the gateway."""
        self.worker: int | None = None
        """Its process."""
        self._clients: list[socket.socket] = []
        self._providers: list[socket.socket] = []

    def __enter__(self) -> Lockstep:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in (*self._clients, *self._providers, self._listener):
            sock.close()

    def ask(self, request: bytes) -> None:
        """All clients send this request, and the providers read what becomes of it."""
        while len(self._clients) < CLIENTS:
            self._clients.append(_prompt(socket.create_connection(("127.0.0.1", self.port), TIMEOUT)))
        self._send(self._clients, request)
        waiting = set(self._providers)
        while waiting or len(self._providers) < CLIENTS:
            for ready in self._ready(waiting):
                waiting.discard(ready)
                _read_request(ready)
        time.sleep(PAUSE)

    def answer(self, data: bytes, until: bytes) -> None:
        """All providers send, and the clients read until these bytes have come."""
        self._send(self._providers, data)
        for client in self._clients:
            _until(client, until)
        time.sleep(PAUSE)

    def _send(self, senders: list[socket.socket], data: bytes) -> None:
        """All of them send while nobody reads."""
        if self.worker is not None:
            os.kill(self.worker, signal.SIGSTOP)
        try:
            for sender in senders:
                sender.sendall(data)
        finally:
            if self.worker is not None:
                os.kill(self.worker, signal.SIGCONT)

    def _ready(self, waiting: set[socket.socket]) -> list[socket.socket]:
        """Connections on which a request comes, new ones among them."""
        ready, _, _ = select.select([self._listener, *waiting], [], [], TIMEOUT)
        if not ready:
            raise LockstepError(f"requests came to {CLIENTS - len(waiting)} of {CLIENTS} providers")
        if self._listener not in ready:
            return ready
        self._providers.append(_prompt(self._listener.accept()[0]))
        return self._providers[-1:]


def _read_request(provider: socket.socket) -> None:
    head, _, body = _until(provider, HEAD_END).partition(HEAD_END)
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += _some(provider, body)


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
