"""The pure twin of `_http1`: every head goes through the gate.

Sans-io. A parser gets what has arrived so far and answers with a head, with None (more is needed), or with BadMessage.
The writers are the only place where heads are put together, and they look at every byte that goes into one.
"""

from __future__ import annotations

import re

from . import _http1_gate as gate
from ._http1_chunked_pure import ChunkDecoder, chunk
from ._http1_types import (
    REQUEST_LIMITS,
    RESPONSE_LIMITS,
    Buffer,
    Headers,
    HeadLimits,
    RequestHead,
    ResponseHead,
    UnsafeHeader,
)

__all__ = ["ChunkDecoder", "chunk", "parse_request", "parse_response", "request_head", "response_head"]

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


def response_head(
    status: int, headers: Headers, own: bytes = b"", reserved: frozenset[bytes] = frozenset()
) -> bytes:
    """A whole response head, blank line included.

    `own` holds whole lines that go behind the fields as they are. Raises UnsafeHeader, and ValueError for a status out
    of range and for a field whose name (in lower case) is `reserved`.
    """
    if not 100 <= status <= 599:
        raise ValueError(f"status out of range: {status}")
    return b"HTTP/1.1 %d %b\r\n%b" % (status, REASONS.get(status, b""), field_lines(headers, own, reserved))


def request_head(
    method: bytes,
    target: bytes,
    headers: Headers,
    host: bytes | None = None,
    own: bytes = b"",
    reserved: frozenset[bytes] = frozenset(),
) -> bytes:
    """A whole request head, blank line included; `host` comes first, unless the fields have one.

    `own` and `reserved` are those of `response_head`. Raises UnsafeHeader, ValueError.
    """
    if gate.TOKEN.fullmatch(method) is None or SAFE_TARGET.fullmatch(target) is None:
        raise UnsafeHeader("unsafe byte in the method or the request-target")
    if host is not None and not any(name == b"host" for name, _ in headers):
        headers = [(b"host", host), *headers]
    return b"%b %b HTTP/1.1\r\n%b" % (method, target, field_lines(headers, own, reserved))


def field_lines(headers: Headers, own: bytes, reserved: frozenset[bytes]) -> bytes:
    """The fields, our own lines and the blank line; a value is never shown in the error, it may be a secret."""
    lines = []
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError("field names and values are bytes")
        if gate.TOKEN.fullmatch(name) is None:
            raise UnsafeHeader(f"unsafe field name: {name!r}")
        if gate.VALUE.fullmatch(value) is None:
            raise UnsafeHeader(f"unsafe byte in the value of {name.decode('ascii')}")
        if name in reserved:
            raise ValueError(f"{name.decode('ascii')} is written by the wire")
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"%b%b\r\n" % (b"".join(lines), own)
