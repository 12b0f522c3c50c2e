"""Connections spread over the workers of an instance, also when one of these has died."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.binary import Binary, fastanchor
from tests.kit.fire import children, until

WORKERS = 4
PROBE = b"GET /livez HTTP/1.1\r\nhost: h\r\n\r\n"


@pytest.fixture
def four(tmp_path: Path) -> Iterator[Binary]:
    with fastanchor(tmp_path, f'[server]\nworkers = {WORKERS}\nauth = false\naccess_log = "off"\n') as binary:
        until(lambda: all_serve(binary), "not all workers serve")
        yield binary


def all_serve(binary: Binary) -> bool:
    """Whether every worker answers the control process: those that do also accept."""
    return b"\nfastanchor_workers_up %d.0\n" % WORKERS in binary.get("/metrics")[1]


def connect(binary: Binary, count: int, open_: ExitStack) -> None:
    """Open so many connections, and see each of them answered."""
    clients = [open_.enter_context(socket.create_connection(("127.0.0.1", binary.port))) for _ in range(count)]
    for client in clients:
        client.sendall(PROBE)
    for client in clients:
        assert client.recv(65536).startswith(b"HTTP/1.1 200")


def spread(binary: Binary) -> dict[int, int]:
    """Connections of clients by worker."""
    mine = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if (fields := line.split())[3] == "01" and int(fields[1].split(":")[1], 16) == binary.port
    }
    return {
        pid: sum(os.readlink(fd)[8:-1] in mine for fd in Path(f"/proc/{pid}/fd").iterdir() if fd.is_symlink())
        for pid in children(binary, "fa worker")
    }


def test_a_hundred_connections_are_spread_within_a_fifth(four: Binary) -> None:
    with ExitStack() as open_:
        connect(four, 100, open_)
        counts = spread(four).values()
    assert sum(counts) == 100
    assert all(20 <= count <= 30 for count in counts), counts


def test_a_successor_of_a_killed_worker_gets_its_share(four: Binary) -> None:
    with ExitStack() as open_:
        connect(four, 60, open_)
        victim, lost = next(iter(spread(four).items()))
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in children(four, "fa worker") and all_serve(four), "nobody came in its place")
        connect(four, lost, open_)
        counts = spread(four).values()
    assert sum(counts) == 60
    assert all(10 <= count <= 20 for count in counts), counts
