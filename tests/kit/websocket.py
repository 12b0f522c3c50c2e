"""WebSocket frames by hand, and a raw client that says them: nothing in here forbids what the protocol forbids."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import trio

MASK = b"\x11\x22\x33\x44"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

HANDSHAKE = (
    b"GET %b HTTP/1.1\r\nhost: test\r\nconnection: Upgrade\r\nupgrade: websocket\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n%b\r\n"
)
ACCEPTED = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""RFC 6455 §1.3: the answer to that key."""


def handshake(path: bytes = b"/ws", *fields: bytes) -> bytes:
    return HANDSHAKE % (path, b"".join(field + b"\r\n" for field in fields))


def masked(payload: bytes) -> bytes:
    return bytes(byte ^ MASK[i % 4] for i, byte in enumerate(payload)) if len(payload) < 4096 else _masked(payload)


def _masked(payload: bytes) -> bytes:
    key = int.from_bytes((MASK * (len(payload) // 4 + 1))[: len(payload)], "big")
    return (int.from_bytes(payload, "big") ^ key).to_bytes(len(payload), "big")


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bool = True, length: int | None = None,
    size: int = 0,
) -> bytes:
    """A frame of a client. `length` is told in place of the payload's; `size` forces a length of 2 or 8 bytes."""
    told = len(payload) if length is None else length
    size = size or (0 if told < 126 else 2 if told < 65_536 else 8)
    short = {0: told, 2: 126, 8: 127}[size]
    head = bytes((0x80 * fin | rsv << 4 | opcode, 0x80 * mask | short)) + (told.to_bytes(size, "big") if size else b"")
    return head + (MASK + masked(payload) if mask else payload)


def text(value: str) -> bytes:
    return frame(TEXT, value.encode())


def close(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


@dataclass(frozen=True)
class Frame:
    """A frame of the server's."""

    opcode: int
    payload: bytes
    fin: bool = True

    @property
    def code(self) -> int:
        """Of a close frame; 1005 when it has none."""
        return int.from_bytes(self.payload[:2], "big") if self.payload else 1005


def frames(data: bytes) -> Iterator[Frame]:
    """The whole frames in `data`; a masked one is an error of the server's."""
    at = 0
    while at + 2 <= len(data):
        assert not data[at + 1] & 0x80
        assert not data[at] & 0x70
        length, start = data[at + 1], at + 2
        if length > 125:
            size = 2 if length == 126 else 8
            length, start = int.from_bytes(data[start : start + size], "big"), start + size
        if start + length > len(data):
            return
        yield Frame(data[at] & 0x0F, data[start : start + length], bool(data[at] & 0x80))
        at = start + length


class RawSocket:
    """A client on a stream: after `open`, frames out and frames in."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self.stream = stream
        self.received = b""
        self.head = b""

    async def open(self, path: bytes = b"/ws", *fields: bytes) -> bytes:
        """Shake hands; the head of the answer."""
        await self.stream.send_all(handshake(path, *fields))
        while b"\r\n\r\n" not in self.received:
            data = await self.stream.receive_some(65536)
            assert data, self.received
            self.received += data
        self.head, _, self.received = self.received.partition(b"\r\n\r\n")
        return self.head

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            await self.stream.send_all(piece)

    async def frame(self) -> Frame | None:
        """The server's next frame; None at the end of the connection."""
        while (found := next(frames(self.received), None)) is None:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self.received += data
        self.received = self.received[_size(found) :]
        return found

    async def rest(self) -> list[Frame]:
        """All frames to the end of the connection."""
        found = []
        while (one := await self.frame()) is not None:
            found.append(one)
        return found


def _size(one: Frame) -> int:
    length = len(one.payload)
    return length + (2 if length < 126 else 4 if length < 65_536 else 10)
