"""The pure twin of `_http1`: every head goes through the gate, chunk framing is read line by line.

Sans-io. A parser gets what has arrived so far and answers with a head, with None (more is needed), or with BadMessage.
The writers are the only place where heads are put together, and they look at every byte that goes into one.
"""

from __future__ import annotations

import re

from . import _http1_gate as gate
from ._http1_chunks import MAX_EXTENSIONS, MAX_SIZE_LINE, Trailers, check_extension
from ._http1_types import (
    REQUEST_LIMITS,
    RESPONSE_LIMITS,
    BadMessage,
    Headers,
    HeadLimits,
    RequestHead,
    ResponseHead,
    UnsafeHeader,
)

Buffer = bytes | bytearray | memoryview

UNBOUNDED = (1 << 63) - 1
SIZE_SO_FAR = re.compile(rb"(?:[0-9A-Fa-f]{1,16}(?:\r|;[\t\x20-\x7e\x80-\xff]*\r?)?)?")
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(;[^\r\n]*)?")
SAFE_TARGET = re.compile(rb"[\x21-\x7e]+")
REASONS = {
    100: b"Continue", 101: b"Switching Protocols", 103: b"Early Hints",
    200: b"OK", 201: b"Created", 202: b"Accepted", 204: b"No Content", 206: b"Partial Content",
    301: b"Moved Permanently", 302: b"Found", 303: b"See Other", 304: b"Not Modified",
    307: b"Temporary Redirect", 308: b"Permanent Redirect",
    400: b"Bad Request", 401: b"Unauthorized", 402: b"Payment Required", 403: b"Forbidden", 404: b"Not Found",
    405: b"Method Not Allowed", 408: b"Request Timeout", 409: b"Conflict", 410: b"Gone",
    411: b"Length Required", 413: b"Content Too Large", 414: b"URI Too Long", 415: b"Unsupported Media Type",
    417: b"Expectation Failed", 421: b"Misdirected Request", 422: b"Unprocessable Content",
    425: b"Too Early", 426: b"Upgrade Required", 428: b"Precondition Required", 429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error", 501: b"Not Implemented", 502: b"Bad Gateway",
    503: b"Service Unavailable", 504: b"Gateway Timeout", 505: b"HTTP Version Not Supported",
}  # fmt: skip


def parse_request(
    buf: Buffer, limits: HeadLimits = REQUEST_LIMITS, scanned: int = 0
) -> RequestHead | None:
    """The request head at the start of `buf`; None while it is incomplete.

    `scanned` is the length of `buf` at the last call that answered None (0 for the first): with it a head that
    trickles in costs linear time. Raises BadMessage with the status to answer.
    """
    data = bytes(buf)
    span = gate.request_span(data, limits, scanned)
    if span is None:
        return None
    start, end = span
    head = gate.read_request(data[start:end], limits)
    head.size = end
    return head


def parse_response(
    buf: Buffer, limits: HeadLimits = RESPONSE_LIMITS, scanned: int = 0
) -> ResponseHead | None:
    """The response head at the start of `buf`; None while it is incomplete. Raises BadMessage."""
    data = bytes(buf)
    span = gate.response_span(data, limits, scanned)
    return None if span is None else gate.read_response(data[: span[1]], limits)


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


def response_head(status: int, headers: Headers) -> bytes:
    """A whole response head, blank line included. Raises UnsafeHeader, and ValueError for a status out of range."""
    if not 100 <= status <= 599:
        raise ValueError(f"status out of range: {status}")
    return b"HTTP/1.1 %d %b\r\n%b" % (status, REASONS.get(status, b""), field_lines(headers))


def request_head(method: bytes, target: bytes, headers: Headers) -> bytes:
    """A whole request head, blank line included. Raises UnsafeHeader."""
    if gate.TOKEN.fullmatch(method) is None or SAFE_TARGET.fullmatch(target) is None:
        raise UnsafeHeader("unsafe byte in the method or the request-target")
    return b"%b %b HTTP/1.1\r\n%b" % (method, target, field_lines(headers))


def field_lines(headers: Headers) -> bytes:
    """The fields and the blank line behind them; a value is never shown in the error, it may be a secret."""
    lines = []
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError("field names and values are bytes")
        if gate.TOKEN.fullmatch(name) is None:
            raise UnsafeHeader(f"unsafe field name: {name!r}")
        if gate.VALUE.fullmatch(value) is None:
            raise UnsafeHeader(f"unsafe byte in the value of {name.decode('ascii')}")
        lines.append(b"%b: %b\r\n" % (name, value))
    lines.append(b"\r\n")
    return b"".join(lines)


def chunk(data: Buffer) -> bytes:
    """One chunk of the chunked coding; b"" for no data, since an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), bytes(data)) if data else b""
