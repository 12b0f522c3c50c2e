"""HTTP/2 frames as they arrive: cut out of the stream by their 9-byte headers, and bounded before they are buffered.

h2 buffers a frame whole before it looks at its length, and a header block whole before it looks at anything; so the
cutting is done here, and h2 gets whole frames, one at a time (RFC 9113 §4). What a peer is *allowed* to send is h2's
to say; this module only says how much.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from h2.errors import ErrorCodes
from hyperframe.frame import GoAwayFrame, PingFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER = 9
MAX_FRAME = 16 * 1024
"""What SETTINGS_MAX_FRAME_SIZE says unless told otherwise, and what we send at most."""
LAST_STREAM = 2**31 - 1

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8


class Hostile(Exception):
    """The peer passed a bound, and its connection ends. `bound` names it for metrics, `code` is for GOAWAY."""

    def __init__(self, bound: str, code: ErrorCodes = ErrorCodes.ENHANCE_YOUR_CALM) -> None:
        super().__init__(bound)
        self.bound = bound
        self.code = code


class Frame(NamedTuple):
    """One whole frame; `raw` holds its header too."""

    kind: int
    flags: int
    stream_id: int
    raw: bytes

    @property
    def ack(self) -> bool:
        return bool(self.flags & ACK)

    @property
    def empty(self) -> bool:
        """A DATA frame with nothing but padding, and no end."""
        padding = 1 + self.raw[HEADER] if self.flags & PADDED and len(self.raw) > HEADER else 0
        return len(self.raw) - HEADER <= padding and not self.flags & END_STREAM


class Scanner:
    """Cuts frames out of what is received.

    Args:
        block: bytes of one encoded header block.
        continuations: CONTINUATION frames of one header block.
    """

    def __init__(self, block: int, continuations: int) -> None:
        self._most_block = block
        self._most_continuations = continuations
        self._partial = b""
        self._block = 0
        self._continuations = 0
        self.in_block = False
        """A header block has begun and not ended."""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are now whole. Raises Hostile behind those that came before the offence."""
        data = self._partial + data
        at, end = 0, len(data)
        while end - at >= HEADER:
            length = int.from_bytes(data[at : at + 3], "big")
            if length > MAX_FRAME:
                raise Hostile("h2_frame_size", ErrorCodes.FRAME_SIZE_ERROR)
            stop = at + HEADER + length
            kind, flags = data[at + 3], data[at + 4]
            if kind in (HEADERS, CONTINUATION):
                self._bound_block(kind, length)
            if stop > end:
                break
            if kind in (HEADERS, CONTINUATION):
                self._count_block(kind, flags, length)
            yield Frame(kind, flags, int.from_bytes(data[at + 5 : at + 9], "big") & LAST_STREAM, data[at:stop])
            at = stop
        self._partial = data[at:]

    def _bound_block(self, kind: int, length: int) -> None:
        """Refuse a piece of a header block by its header alone."""
        if kind == CONTINUATION and self._continuations >= self._most_continuations:
            raise Hostile("h2_continuation")
        if (self._block if kind == CONTINUATION else 0) + length > self._most_block:
            raise Hostile("h2_header_block")

    def _count_block(self, kind: int, flags: int, length: int) -> None:
        if kind == HEADERS:
            self._block = self._continuations = 0
        else:
            self._continuations += 1
        self._block += length
        self.in_block = not flags & END_HEADERS


def goaway(last_stream: int, code: ErrorCodes) -> bytes:
    """A GOAWAY frame; h2's own would end the connection for streams that are still open."""
    frame = GoAwayFrame(0)
    frame.last_stream_id = last_stream
    frame.error_code = code
    return frame.serialize()


def ping(payload: bytes) -> bytes:
    """A PING frame; `payload` has 8 bytes."""
    frame = PingFrame(0)
    frame.opaque_data = payload
    return frame.serialize()
