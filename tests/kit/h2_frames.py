"""HTTP/2 byte by byte for tests: frames as they are written down, and a client that sends them and says what came."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trio
from hpack import Decoder, Encoder
from trio.testing import wait_all_tasks_blocked

from fastanchor.wire import Handler, ServerLimits
from fastanchor.wire.front import serve_socket

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0, 1, 2, 3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, ENHANCE_YOUR_CALM = 5, 6, 7, 8, 11

Fields = Sequence[tuple[bytes, bytes]]
GET: Fields = ((b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"h"), (b":path", b"/"))
POST: Fields = ((b":method", b"POST"), *GET[1:])


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def block(fields: Fields) -> bytes:
    """A header block that touches no table."""
    encoder = Encoder()
    encoder.header_table_size = 0
    return encoder.encode([(name, value, True) for name, value in fields], huffman=False)


def headers(stream: int, fields: Fields = GET, flags: int = END_HEADERS | END_STREAM) -> bytes:
    return frame(HEADERS, flags, stream, block(fields))


def data(stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return frame(DATA, flags, stream, payload)


def reset(stream: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in pairs))


def window(stream: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def goaway(last: int, code: int = 0) -> bytes:
    return frame(GOAWAY, 0, 0, last.to_bytes(4, "big") + code.to_bytes(4, "big"))


@dataclass(frozen=True)
class Frame:
    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        return int.from_bytes(self.payload[-4:] if self.kind == RST_STREAM else self.payload[4:8], "big")


def split(raw: bytes) -> Iterator[Frame]:
    """The whole frames at the start of `raw`."""
    while len(raw) >= 9 and len(raw) >= 9 + (length := int.from_bytes(raw[:3], "big")):
        yield Frame(raw[3], raw[4], int.from_bytes(raw[5:9], "big"), raw[9 : 9 + length])
        raw = raw[9 + length :]


@dataclass
class Answer:
    fields: dict[bytes, bytes] = field(default_factory=dict)
    interim: list[bytes] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    code: int | None = None
    """Of RST_STREAM."""

    @property
    def status(self) -> int:
        return int(self.fields.get(b":status", b"0"))


class RawH2:
    """Writes bytes; understands what has come."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self.raw = b""
        self.ended = False

    async def write(self, data: bytes) -> None:
        """Send, and let the server do all it can."""
        rest = memoryview(data)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            while rest:
                try:
                    rest = rest[self.sock.send(rest) :]
                except BlockingIOError:
                    await wait_all_tasks_blocked()
                    self.read()
        await wait_all_tasks_blocked()

    def read(self) -> bytes:
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while data := self.sock.recv(1 << 20):
                self.raw += data
            self.ended = True
        return self.raw

    def frames(self, kind: int | None = None) -> list[Frame]:
        return [one for one in split(self.read()) if kind is None or one.kind == kind]

    def answers(self) -> dict[int, Answer]:
        """What came on each stream."""
        found: dict[int, Answer] = {}
        decoder = Decoder()
        for one in self.frames():
            answer = found.setdefault(one.stream, Answer()) if one.stream else Answer()
            if one.kind == HEADERS:
                fields = dict(decoder.decode(one.payload, raw=True))
                if fields.get(b":status", b"").startswith(b"1"):
                    answer.interim.append(fields[b":status"])
                else:
                    answer.fields = fields
            elif one.kind == DATA:
                answer.body += one.payload
            elif one.kind == RST_STREAM:
                answer.code = one.code
            if one.kind in (HEADERS, DATA) and one.flags & END_STREAM:
                answer.ended = True
        return found

    @property
    def goodbye(self) -> int | None:
        """The error code of the last GOAWAY."""
        last = self.frames(GOAWAY)
        return last[-1].code if last else None


@asynccontextmanager
async def h2_served(
    handler: Handler, limits: ServerLimits | None = None, *, greet: bool = True, **options: Any
) -> AsyncIterator[RawH2]:
    """A raw client whose other end is served by `handler`."""
    ours, theirs = socket.socketpair()
    async with trio.open_nursery() as nursery:
        with ours:
            nursery.start_soon(lambda: serve_socket(theirs, handler, limits or ServerLimits(), **options))
            client = RawH2(ours)
            if greet:
                await client.write(PREFACE + settings())
            yield client
        nursery.cancel_scope.cancel()
