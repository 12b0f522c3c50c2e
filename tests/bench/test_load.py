"""The load generator must not take a wrong answer for a right one: each fault of a stream is a failure of its kind."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.build import Native

EVENTS = 3
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"
END = b"0\r\n\r\n"
Answer = Callable[[int], bytes]


def event(stream: int, sequence: int) -> bytes:
    mark = b"~%09d.%06d.%020d~" % (stream, sequence, time.monotonic_ns())
    return b'data: {"choices":[{"delta":{"content":"' + mark + b'"}}]}\n\n'


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(*events: bytes) -> bytes:
    return HEAD + b"".join(map(chunk, events)) + END


def right(number: int) -> bytes:
    return stream(*(event(number, i) for i in range(EVENTS)), DONE)


FAULTS: dict[str, tuple[str, Answer]] = {
    "a cut in an event": ("cut", lambda n: right(n)[:200]),
    "a cut before the last chunk": ("cut", lambda n: right(n)[: -len(END)]),
    "a cut inside the trailer": ("cut", lambda n: right(n)[:-2]),
    "no [DONE]": ("corrupt", lambda n: stream(*(event(n, i) for i in range(EVENTS)))),
    "something after [DONE]": (
        "corrupt",
        lambda n: stream(*(event(n, i) for i in range(EVENTS)), DONE, b": hello\n\n"),
    ),
    "an event too few": ("corrupt", lambda n: stream(event(n, 0), event(n, 1), DONE)),
    "an event too many": ("corrupt", lambda n: stream(*(event(n, i) for i in range(EVENTS + 1)), DONE)),
    "a lost event": ("corrupt", lambda n: stream(event(n, 0), event(n, 2), DONE)),
    "a doubled event": ("corrupt", lambda n: stream(event(n, 0), event(n, 0), event(n, 1), event(n, 2), DONE)),
    "events out of order": ("corrupt", lambda n: stream(event(n, 1), event(n, 0), event(n, 2), DONE)),
    "an event of another stream": ("corrupt", lambda n: stream(event(n, 0), event(n + 1, 1), event(n, 2), DONE)),
    "a mangled mark": ("corrupt", lambda n: right(n).replace(b".000001.", b".00000x.")),
    "a usage chunk that nobody asked for": (
        "corrupt",
        lambda n: stream(*(event(n, i) for i in range(EVENTS)), b'data: {"choices":[],"usage":{}}\n\n', DONE),
    ),
    "a chunk longer than its size": ("corrupt", lambda n: right(n).replace(b"\r\n0\r\n", b"x\r\n0\r\n")),
    "no chunk size": ("corrupt", lambda n: HEAD + b"\r\n" + chunk(event(n, 0))),
    "bytes after the answer": ("corrupt", lambda n: right(n) + b"HTTP/1.1 200 OK\r\n"),
    "a head that is none": ("status", lambda n: b"hello\r\n\r\n"),
    "an error status": ("status", lambda n: right(n).replace(b" 200 OK", b" 502 Bad Gateway")),
    "an empty body": ("corrupt", lambda n: b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    "a body shorter than its length": (
        "cut",
        lambda n: b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n" + event(n, 0),
    ),
}


def read_request(connection: socket.socket) -> int:
    """Reads one request and returns its stream number, -1 at the end of the connection."""
    data = b""
    while not (match := re.search(rb"content-length: (\d+)\r\n\r\n", data)) or len(data) < match.end() + int(match[1]):
        piece = connection.recv(65536)
        if not piece:
            return -1
        data += piece
    number = re.search(rb"stream-(\d{9})", data)
    assert number is not None
    return int(number[1])


@contextmanager
def server(answer: Answer, piece: int = 1 << 20) -> Iterator[int]:
    """A server for one connection at a time that answers in pieces and closes after an answer; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                number = read_request(connection)
                whole = answer(number) if number >= 0 else b""
                for at in range(0, len(whole), piece):
                    try:
                        connection.sendall(whole[at : at + piece])
                    except OSError:
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield int(listener.getsockname()[1])
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def load(native: Native, port: int, *options: str) -> dict[str, Any]:
    command = [str(native.load), "--port", str(port), "--connections", "1", "--requests", "1", "--warm", "0", *options]
    done = subprocess.run(command, input=b"go\n", capture_output=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["phase"] == "done"
    return dict(lines[-1])


STREAM = ("--stream", "--model", f"bench-n{EVENTS}-p0")


@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_right_answer_is_taken_however_it_is_cut(native: Native, piece: int) -> None:
    with server(right, piece) as port:
        seen = load(native, port, *STREAM)
    assert seen["failures"]["all"] == 0, seen["first_failure"]
    assert (seen["requests"], seen["events"], seen["event_delay"]["count"]) == (1, EVENTS, EVENTS)


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_a_failure_of_its_kind(native: Native, fault: str) -> None:
    kind, wrong = FAULTS[fault]
    faulty = iter([wrong])
    with server(lambda number: next(faulty, right)(number)) as port:
        seen = load(native, port, *STREAM)
    assert seen["failures"][kind] == seen["failures"]["all"] == 1, seen["first_failure"]


def test_silence_is_a_timeout(native: Native) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        seen = load(native, listener.getsockname()[1], *STREAM, "--timeout", "0.2")
    assert seen["failures"]["timeout"] == seen["failures"]["all"] == 1


def test_a_refused_connection_is_a_failure(native: Native) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert load(native, port)["failures"]["connect"] == 1
