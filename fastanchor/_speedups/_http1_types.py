"""The values both halves of `http1` give out: heads, their bounds, and the one error.

Two rules. A head is plain data: what was on the line and what it means for framing (RFC 9112 §6), with every length
already an integer. And the halves share these classes, so that a test can compare their answers with `==`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Buffer = bytes | bytearray | memoryview
Header = tuple[bytes, bytes]
Headers = Sequence[Header]

MAX_LENGTH_DIGITS = 18
"""Digits of a Content-Length: keeps the number inside 63 bits, and `int()` cheap on hostile input."""


class BadMessage(ValueError):
    """The peer broke the protocol. `status` is what a server answers; the connection is of no more use.

    `bound` names the limit that was passed, where it was one.
    """

    def __init__(self, status: int, reason: str, bound: str = "") -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason
        self.bound = bound

    def __str__(self) -> str:
        return f"{self.status} {self.reason}"


class UnsafeHeader(ValueError):
    """A head that we were about to write holds a byte that would break it (RFC 9110 §5.5)."""


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """Bounds of one message head, in bytes, and of its number of fields."""

    line: int = 8 * 1024
    field: int = 16 * 1024
    head: int = 32 * 1024
    fields: int = 100


REQUEST_LIMITS = HeadLimits()
RESPONSE_LIMITS = HeadLimits(line=8 * 1024, field=32 * 1024, head=64 * 1024, fields=200)


@dataclass(slots=True)
class RequestHead:
    """One request head. `size` is how many bytes of the buffer it took, leading blank lines included.

    `content_length` is None when the field is absent; a request then has no body unless it is `chunked`.
    `headers` have lower-case names, keep their order, and their values carry no white space at either end.
    """

    method: bytes
    target: bytes
    path: bytes
    query: bytes
    version: bytes
    headers: list[Header]
    content_length: int | None
    chunked: bool
    keep_alive: bool
    expect_continue: bool
    size: int


@dataclass(slots=True)
class ResponseHead:
    """One response head. Whether a body follows also depends on the request's method and the status."""

    status: int
    reason: bytes
    version: bytes
    headers: list[Header]
    content_length: int | None
    chunked: bool
    keep_alive: bool
    size: int
