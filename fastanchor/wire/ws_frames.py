"""What a WebSocket peer may make us do, judged on the heads of its frames, before anybody parses or keeps a byte.

The state machine behind this (wsproto) knows no bound: it keeps on handing out a frame of 2^62 bytes piece by piece and
takes empty fragments for ever. So the meter walks the heads (RFC 6455 §5.2), skips the payloads, and stops at the first
frame that is too much. It judges no frame's validity: the state machine sees the head of the last frame too, and what
it refuses is told first.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from .limits import WSLimits

CONTINUATION = 0x0
TEXT = 0x1
BINARY = 0x2
CONTROL = 0x8  # this bit of an opcode
MASKED = 0x80

WINDOW = 10.0
"""Seconds over which control frames are counted."""

POLICY_VIOLATION = 1008
TOO_BIG = 1009


class Excess(NamedTuple):
    """A bound that was passed, by its name among the counters, and the close code that says so."""

    bound: str
    code: int


class Meter:
    """Counts the frames of one connection. No I/O, no clock."""

    def __init__(self, limits: WSLimits) -> None:
        self._limits = limits
        self._head = b""  # of a frame, cut off
        self._left = 0  # bytes of payload to skip
        self._fragments = 0
        self._size = 0  # of the message so far
        self._controls: deque[float] = deque()

    def feed(self, data: bytes, now: float) -> tuple[bytes, Excess | None]:
        """The bytes to be parsed, and the bound that the frame at their end has passed, if any."""
        at = 0
        while at < len(data):
            if self._left:
                skipped = min(self._left, len(data) - at)
                self._left -= skipped
                at += skipped
                continue
            head = self._head + data[at : at + 14 - len(self._head)]
            size = _head_size(head)
            if len(head) < size:
                self._head = head
                return data, None
            at += size - len(self._head)
            self._head = b""
            excess = self._frame(head[0] & 0x0F, _length(head), now)
            if excess is not None:
                return data[:at], excess
        return data, None

    def _frame(self, opcode: int, length: int, now: float) -> Excess | None:
        self._left = length
        if opcode & CONTROL:
            return self._control(now)
        if opcode == CONTINUATION:
            self._fragments += 1
            self._size += length
        else:
            self._fragments, self._size = 1, length
        if length > self._limits.frame:
            return Excess("ws_frame", TOO_BIG)
        if self._size > self._limits.message:
            return Excess("ws_message", TOO_BIG)
        return Excess("ws_fragments", POLICY_VIOLATION) if self._fragments > self._limits.fragments else None

    def _control(self, now: float) -> Excess | None:
        times = self._controls
        times.append(now)
        while times[0] <= now - WINDOW:
            times.popleft()
        return Excess("ws_control_frames", POLICY_VIOLATION) if len(times) > self._limits.control_frames else None


def _head_size(head: bytes) -> int:
    """Bytes of the frame's head, at least as many as are needed to know more."""
    if len(head) < 2:
        return 2
    short = head[1] & 0x7F
    extended = 8 if short == 127 else 2 if short == 126 else 0
    return 2 + extended + (4 if head[1] & MASKED else 0)


def _length(head: bytes) -> int:
    short = head[1] & 0x7F
    if short == 126:
        return int.from_bytes(head[2:4], "big")
    return int.from_bytes(head[2:10], "big") if short == 127 else short


def frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame of a server: final, unmasked."""
    size = len(payload)
    first = 0x80 | opcode
    if size < 126:
        return bytes((first, size)) + payload
    if size < 65_536:
        return bytes((first, 126)) + size.to_bytes(2, "big") + payload
    return bytes((first, 127)) + size.to_bytes(8, "big") + payload
