"""The two framings of a Gemini stream: server-sent events (`alt=sse`), or one JSON array of documents.

Both are cut into documents, and the first byte that is not white space says which one it is. A bare JSON object is read
as an array of one: that is how an error takes the place of a stream, and how a whole answer looks.
"""

from __future__ import annotations

import re

from fastanchor._speedups import sse

MAX_DOCUMENT = 8 * 1024 * 1024  # bytes
SPACE = b" \t\r\n\xef\xbb\xbf"
BETWEEN = SPACE + b"[],"
"""What stands around and between the objects of an array."""

_STRUCTURE = re.compile(rb'["{}\[\]]')
_IN_STRING = re.compile(rb'["\\]')


class Elements:
    """Cuts a JSON array into its objects, or takes a lone object. Bytes between them are not looked at."""

    def __init__(self, max_document: int = MAX_DOCUMENT) -> None:
        self._max = max_document
        self._held = bytearray()
        self._at = 0  # everything before has been looked at
        self._start = 0
        self._level = 0  # open braces and brackets inside the current object
        self._string = False

    def feed(self, data: bytes) -> tuple[bytes, list[tuple[int, int]]]:
        """`(whole, spans)`: the bytes up to the end of the last complete object, and where each one is in them.

        Raises EventTooLarge.
        """
        self._held += data
        spans = []
        while (end := self._scan()) is not None:
            self._check(end - self._start)
            spans.append((self._start, end))
        self._check(len(self._held) - self._start if self._level else 0)
        return self._take(spans[-1][1] if spans else 0), spans

    def tail(self) -> bytes:
        """What is held back."""
        return bytes(self._held)

    def _check(self, size: int) -> None:
        if size > self._max:
            raise sse.EventTooLarge(f"a document is longer than {self._max} bytes")

    def _take(self, size: int) -> bytes:
        whole = bytes(self._held[:size])
        del self._held[:size]
        self._at -= size
        self._start = max(0, self._start - size)
        return whole

    def _scan(self) -> int | None:
        """The end of the next object, or None when it has not come yet."""
        held = self._held
        while True:
            found = (_IN_STRING if self._string else _STRUCTURE).search(held, self._at)
            if found is None:
                self._at = len(held)
                return None
            byte, at = held[found.start()], found.start()
            if byte == 0x5C:  # an escape: the byte after it may still be on its way
                if at + 1 == len(held):
                    self._at = at
                    return None
                self._at = at + 2
                continue
            self._at = at + 1
            if byte == 0x22:
                self._string = not self._string if self._level else False
            elif self._bracket(byte, at):
                return self._at

    def _bracket(self, byte: int, at: int) -> bool:
        """Whether this brace or bracket ends an object. Outside of one only `{` means anything."""
        if byte in b"{[":
            if self._level or byte == 0x7B:
                self._start = self._start if self._level else at
                self._level += 1
            return False
        if not self._level:
            return False
        self._level -= 1
        return not self._level


class Frames:
    """Cuts an answer in either framing into its JSON documents."""

    def __init__(self) -> None:
        self._events: sse.Decoder | None = None
        self._elements: Elements | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """The documents that are complete now. Raises EventTooLarge."""
        if self._events is None and self._elements is None:
            data = data.lstrip(SPACE)  # a byte order mark too, and what is left of one that was cut
            kind = framing(data)
            if kind == "sse":
                self._events = sse.Decoder(max_event=MAX_DOCUMENT)
            elif kind == "array":
                self._elements = Elements()
        if self._events is not None:
            return [event.data for event in self._events.feed(data)]
        if self._elements is not None:
            whole, spans = self._elements.feed(data)
            return [whole[start:end] for start, end in spans]
        return []  # white space only

    def end(self) -> bytes:
        """What may be a last document: one that no blank line has ended, or that is not complete; b"" for none."""
        if self._elements is not None:
            return self._elements.tail().strip(BETWEEN)
        last = self._events.end() if self._events else None
        return last.data if last else b""


def framing(data: bytes) -> str | None:
    """ "sse" or "array" by the first byte that counts; None while there is none."""
    start = data.lstrip(SPACE)[:1]
    if not start:
        return None
    return "array" if start in b"[{" else "sse"
