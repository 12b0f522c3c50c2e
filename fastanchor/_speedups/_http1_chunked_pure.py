"""The pure twin of `_http1_chunked`: the chunked coding (RFC 9112 §7.1), read line by line."""

from __future__ import annotations

import re

from ._http1_trailers import MAX_EXTENSIONS, MAX_SIZE_LINE, Trailers, check_extension
from ._http1_types import REQUEST_LIMITS, BadMessage, Buffer, HeadLimits

UNBOUNDED = (1 << 63) - 1
SIZE_SO_FAR = re.compile(rb"(?:[0-9A-Fa-f]{1,16}(?:\r|;[\t\x20-\x7e\x80-\xff]*\r?)?)?")
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[^\r\n]*)?")


class ChunkDecoder:
    """The chunked coding of one body (RFC 9112 §7.1), fed as it arrives.

    `feed` returns what could be decoded; b"" means that only framing came. `done` is set behind the last chunk and its
    trailers (which are checked and dropped); what came after them is in `rest`. Raises BadMessage: 400 for framing
    that is broken, 413 past `max_body` bytes.
    """

    __slots__ = ("_extensions", "_left", "_partial", "_phase", "_room", "_trailers", "done", "rest")

    def __init__(self, max_body: int = UNBOUNDED, limits: HeadLimits = REQUEST_LIMITS) -> None:
        self.done = False
        self.rest = b""
        self._room = max_body  # bytes of body still allowed
        self._left = 0  # bytes of the current chunk still to come
        self._partial = b""  # the start of a framing line whose end has not come
        self._phase = self._size
        self._extensions = 0
        self._trailers = Trailers(limits)

    def feed(self, data: Buffer) -> bytes:
        """The next decoded bytes of the body."""
        text = self._partial + bytes(data)
        pieces: list[bytes] = []
        pos, moved = -1, 0
        while pos < moved < len(text):
            pos = moved
            moved = self._phase(text, pos, pieces)
        self._partial = text[moved:]
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _size(self, text: bytes, pos: int, pieces: list[bytes]) -> int:
        end = text.find(b"\n", pos, pos + MAX_SIZE_LINE)
        if end < 0:
            if len(text) - pos >= MAX_SIZE_LINE or SIZE_SO_FAR.fullmatch(text, pos) is None:
                raise BadMessage(400, "invalid chunk size")
            return pos
        match = SIZE_LINE.fullmatch(text, pos, end - 1) if text[end - 1] == 0x0D else None
        if match is None:
            raise BadMessage(400, "invalid chunk size")
        self._check_extension(match[2])
        self._left = int(match[1], 16)
        if self._left > self._room:
            raise BadMessage(413, "body too large")
        self._room -= self._left
        self._phase = self._data if self._left else self._trailer
        return end + 1

    def _check_extension(self, extension: bytes | None) -> None:
        if extension is None:
            return
        check_extension(extension)
        self._extensions += len(extension)
        if self._extensions > MAX_EXTENSIONS:
            raise BadMessage(400, "too many chunk extensions")

    def _data(self, text: bytes, pos: int, pieces: list[bytes]) -> int:
        piece = text[pos : pos + self._left]
        pieces.append(piece)
        self._left -= len(piece)
        if not self._left:
            self._phase = self._data_end
        return pos + len(piece)

    def _data_end(self, text: bytes, pos: int, pieces: list[bytes]) -> int:
        if not text.startswith(b"\r\n", pos):
            if text[pos:] == b"\r":
                return pos
            raise BadMessage(400, "chunk data longer than its size")
        self._phase = self._size
        return pos + 2

    def _trailer(self, text: bytes, pos: int, pieces: list[bytes]) -> int:
        rest = self._trailers.feed(text[pos:])
        if rest is not None:
            self.done = True
            self._phase = self._beyond
            return len(text) - len(rest)
        return len(text)

    def _beyond(self, text: bytes, pos: int, pieces: list[bytes]) -> int:
        self.rest += text[pos:]
        return len(text)


def chunk(data: Buffer) -> bytes:
    """One chunk of the chunked coding; b"" for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), bytes(data)) if data else b""
