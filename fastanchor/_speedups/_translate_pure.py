"""The pure twin of `translate`: a lane that never learns, so that everything goes the general way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview

General: TypeAlias = Callable[[bytes, bool], bytes]
"""The general way: bytes of the stream, and whether they are exactly one event, to what the client gets for them."""


class Lane:
    """See `translate`."""

    def __init__(self, *, idle: tuple[bytes, ...] = (), counts: bytes = b"", counter: bytes = b"") -> None:
        self.number = 0
        self.carried = 0

    def feed(self, data: Data, general: General) -> bytes:
        return general(data if type(data) is bytes else bytes(data), False)

    def learn(self, raw: bytes, text: bytes, out: bytes) -> None:
        pass

    def forget(self) -> None:
        pass

    def take(self) -> tuple[bytes, bytes]:
        return b"", b""
