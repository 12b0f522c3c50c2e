"""The pure twin of `sse`: the same streams, spans and errors, a few times slower.

It also holds what both halves share: the `Event` type and the error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple, TypeAlias

Data: TypeAlias = bytes | bytearray | memoryview
Marks: TypeAlias = list[tuple[int, int, int]]
Odd: TypeAlias = Callable[[bytes, Marks | None], bytes]

MAX_EVENT = 8 * 1024 * 1024
MAX_NEEDLES = 62  # the mask stays a small, non-negative machine word in the compiled half

_BOM = b"\xef\xbb\xbf"
_EOL = re.compile(rb"\r\n?|\n")
_DATA_LINE = re.compile(rb"(?:\A|[\r\n])data[:\r\n]")
_KEY = re.compile(rb'("[^"\\]+")(?::")?')
_STRING = rb'[ \t]*+:[ \t]*+"((?:[^"\\\r\n]++|\\[^\r\n])*+)'


class EventTooLarge(ValueError):
    """An event, complete or not, is longer than the cap; the stream cannot be read any further."""


class Event(NamedTuple):
    """One parsed event: its `event` field (`b""` when there is none) and its data lines joined by LF."""

    event: bytes
    data: bytes


class _Framer:
    """Cuts a stream into raw events and holds back the one that is not complete."""

    def __init__(self, max_event: int) -> None:
        if max_event < 1:
            raise ValueError("max_event must be at least 1")
        self._max_event = max_event
        self._held = bytearray()
        self._line = 0  # where the current line starts in what is held; all of what is held has been searched
        self._after_cr = False  # the last byte seen was a CR: an LF now only completes that line end
        self._opening = True  # a byte order mark may still come

    def _cut(self, data: Data) -> tuple[bytes, list[tuple[int, int]]]:
        """The bytes up to the last blank line, and the span of each raw event in them."""
        data = data if type(data) is bytes else memoryview(data).tobytes()
        if not data:
            return b"", []
        searched, line, done = len(self._held), self._line, 0
        base: bytes | bytearray = data
        if self._held:
            self._held += data
            base = self._held
        if self._after_cr and data[0] == 0x0A:
            line = searched = searched + 1
            done = 0 if self._held else 1
        if self._opening:
            if len(base) < len(_BOM) and _BOM.startswith(base):
                self._held = bytearray(base)
                return b"", []
            self._opening = False
            line = searched = done = len(_BOM) if base.startswith(_BOM) else 0
        spans = []
        while eol := _EOL.search(base, searched):
            searched = eol.end()
            if eol.start() == line:
                self._check(searched - done)
                spans.append((done, searched))
                done = searched
            line = searched
        self._check(len(base) - done)
        self._after_cr = data[-1] == 0x0D
        self._line = line - done
        return self._take(base, done), spans

    def _take(self, base: bytes | bytearray, done: int) -> bytes:
        """Release the first `done` bytes and hold the rest."""
        if isinstance(base, bytes):
            self._held += base[done:]
            return base[:done]  # the object itself when all of it is released
        whole = bytes(base[:done])
        del base[:done]
        return whole

    def _check(self, size: int) -> None:
        if size > self._max_event:
            raise EventTooLarge(f"an event is longer than {self._max_event} bytes")


UNCLOSED = 1 << 62
"""In a mask: the event does not end with a closing brace."""


class Scanner(_Framer):
    """Forwards whole raw events, byte-exact, and marks the ones in which any of the needles occurs.

    `needles` are searched in the raw bytes of each event, so `b"event: error"` works as well as `b'"usage"'`.
    `measure` is a JSON key with its quotes, optionally with the start of its string value, `b'"content":"'`, or a tuple
    of such keys. An event of more than `max_event` bytes raises `EventTooLarge`. Raises ValueError for more than 62
    needles, an empty needle, or a `measure` that is no quoted key without escapes.

    With `unclosed`, events that have data and do not end with a closing brace are marked too (`UNCLOSED` in the mask):
    the sign of JSON that was cut off, found without parsing.

    `events` counts the complete events with at least one data line, `plain` those of them without a mark, and
    `plain_bytes` sums up the lengths of all events without one. `measured` is the sum of the lengths in bytes of
    the string values of the `measure` keys in the complete events, escapes counted as they stand: an estimate of how
    much text went by that needs no memory. Spaces and tabs around the colon are allowed whatever `measure` says.
    """

    def __init__(
        self,
        needles: tuple[bytes, ...] = (),
        *,
        measure: bytes | tuple[bytes, ...] = (),
        unclosed: bool = False,
        max_event: int = MAX_EVENT,
    ) -> None:
        super().__init__(max_event)
        self._unclosed = unclosed
        self._needles = [(needle, 1 << i) for i, needle in enumerate(check_needles(needles))]
        self._strings = [re.compile(re.escape(key) + _STRING) for key in measured_keys(measure)]
        self.events = 0
        self.plain = 0
        self.plain_bytes = 0
        self.measured = 0

    def feed(self, data: Data) -> tuple[bytes, list[tuple[int, int, int]]]:
        """Take in one read; return `(whole, marks)`.

        `whole` is the bytes of all events that are complete now, exactly as received: `data` itself when it is
        `bytes`, nothing was held back before and it ends with an event. `marks` are `(start, end, mask)` spans in
        `whole` of the events in which needle i occurs (bit i of `mask`); other events cost no object.
        """
        whole, spans = self._cut(data)
        marks = []
        for start, end in spans:
            raw = whole[start:end]
            has_data = _DATA_LINE.search(raw) is not None
            self.events += has_data
            for string in self._strings:
                self.measured += sum(len(value) for value in string.findall(raw))
            mask = sum(bit for needle, bit in self._needles if needle in raw)
            if self._unclosed and has_data and not raw.rstrip(b"\r\n \t").endswith(b"}"):
                mask |= UNCLOSED
            if mask:
                marks.append((start, end, mask))
            else:
                self.plain += has_data
                self.plain_bytes += end - start
        return whole, marks

    def through(self, data: Data, odd: Odd) -> bytes:
        """As `feed`, for whom events without a mark do not concern: `whole` where nothing is marked, else what
        `odd(whole, marks)` makes of it. An event that is too large is `odd(b"", None)`."""
        try:
            whole, marks = self.feed(data)
        except EventTooLarge:
            return odd(b"", None)
        return odd(whole, marks) if marks else whole

    def tail(self) -> bytes:
        """What is held back: at the end of the stream, the rest that no blank line has ended."""
        return bytes(self._held)


class Decoder(_Framer):
    """Parses a stream into its events with data.

    Comments, `id`, `retry` and unknown fields are ignored, and so are events without data. Bare JSON between the
    events, as Gemini sends its errors, is not lost: from the first line that is no known field and opens with `{` or
    `[` (after spaces or tabs) to the blank line or the end of the stream, all lines but known fields and comments are
    joined by LF and given as `Event(b"", block)`, after the event whose data lines they followed without a blank line,
    if any.
    """

    def __init__(self, *, max_event: int = MAX_EVENT) -> None:
        super().__init__(max_event)

    def feed(self, data: Data) -> list[Event]:
        """The events that are complete with this read. Raises `EventTooLarge`."""
        whole, spans = self._cut(data)
        return [event for start, end in spans for event in _events(whole[start:end])]

    def end(self) -> Event | None:
        """The last event when no blank line has ended it, as it is: the caller judges whether its JSON is complete.

        A bare JSON block in it goes before its data lines: it says why the stream has ended.
        """
        events = _events(bytes(self._held))
        return events[-1] if events else None


@lru_cache(maxsize=64)
def check_needles(needles: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The needles as plain `bytes`, or ValueError."""
    if len(needles) > MAX_NEEDLES or not all(needles):
        raise ValueError(f"at most {MAX_NEEDLES} needles, none of them empty")
    return tuple(bytes(needle) for needle in needles)


@lru_cache(maxsize=64)
def measured_keys(measure: bytes | tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The quoted keys of `measure`, or ValueError."""
    if isinstance(measure, bytes):
        measure = (measure,) if measure else ()
    found = [_KEY.fullmatch(key) for key in measure]
    keys = tuple(key[1] for key in found if key)
    if len(keys) < len(found):
        raise ValueError("measure must be quoted JSON keys without escapes")
    return keys


def data_of(raw: Data) -> bytes:
    """The data of one raw event: its data lines joined by LF, or `b""` when it has none."""
    return parse(raw).data


def parse(raw: Data) -> Event:
    """One raw event as its name and data."""
    name, data, _ = _read(raw)
    return Event(name, b"\n".join(data))


def _events(raw: bytes) -> list[Event]:
    name, data, block = _read(raw)
    events = (Event(name, b"\n".join(data)), Event(b"", b"\n".join(block)))
    return [event for event in events if event.data]


def _read(raw: Data) -> tuple[bytes, list[bytes], list[bytes]]:
    """The event name, the data lines, and the lines of a bare JSON block of one raw event."""
    name = b""
    data: list[bytes] = []
    block: list[bytes] = []
    for line in _EOL.split(bytes(raw)):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
        elif field in (b"", b"id", b"retry"):  # an empty name is a comment, or no line at all
            continue
        elif block or line.lstrip(b" \t").startswith((b"{", b"[")):
            block.append(line)
    return name, data, block
