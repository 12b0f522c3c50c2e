"""Header lists of HTTP/2 held to the rules of HTTP/1.1 heads (RFC 9113 §8.2, §8.3).

Whatever comes over HTTP/2 can go on over HTTP/1.1, so names, values, method, path and authority pass the same grammar;
h2's own checks are off, since they let most of that through. BadMessage with status 400 says that the message is
malformed and its stream is reset; with another status, that this is the answer. Stricter than the grammar: a method
with lower-case letters (there is none) is refused, since peers disagree whether it is the upper-case one.
"""

from __future__ import annotations

import re

from hpack import HeaderTuple, NeverIndexedHeaderTuple

from fastanchor._speedups._http1_gate import (
    SINGLE_IN_REQUEST,
    SINGLE_IN_RESPONSE,
    TOKEN,
    VALUE,
    read_expect,
    read_framing,
)
from fastanchor._speedups._http1_target import check_authority, split_target
from fastanchor._speedups.http1 import (
    REQUEST_LIMITS,
    RESPONSE_LIMITS,
    BadMessage,
    Header,
    Headers,
    HeadLimits,
    RequestHead,
    ResponseHead,
    UnsafeHeader,
)

NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Z]+")
TARGET = re.compile(rb"[\x21-\x7e]+")
STATUS = re.compile(rb"[1-5][0-9]{2}")
CONNECTION_FIELDS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
OF_REQUEST = frozenset((b":method", b":scheme", b":authority", b":path"))
OF_RESPONSE = frozenset((b":status",))
NOT_IN_TRAILERS = frozenset(
    (b"authorization", b"content-encoding", b"content-length", b"content-type", b"cookie", b"expect", b"host",
     b"te", b"trailer", b"x-api-key")
)  # fmt: skip
NEVER_INDEXED = frozenset(
    (b"api-key", b"authorization", b"cookie", b"proxy-authorization", b"set-cookie", b"x-api-key", b"x-goog-api-key")
)
"""Secrets stay out of the compression context (RFC 7541 §7.1)."""


def read_request(fields: Headers, limits: HeadLimits = REQUEST_LIMITS, *, ended: bool) -> RequestHead:
    """The head of a request; `ended` when no body follows. `:authority` comes out as Host, crumbs as one Cookie."""
    pseudo, headers = split(fields, OF_REQUEST, limits, SINGLE_IN_REQUEST)
    method, target = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
    if METHOD.fullmatch(method) is None:
        raise BadMessage(400, "invalid method")
    seen = dict(headers)
    authority = pseudo.get(b":authority", seen.get(b"host"))
    if authority is None or seen.get(b"host", authority) != authority:
        raise BadMessage(400, "missing or ambiguous authority")
    check_authority(authority)
    if method == b"CONNECT":
        raise BadMessage(501, "CONNECT is not supported")
    if pseudo.get(b":scheme") not in (b"http", b"https"):
        raise BadMessage(400, "invalid scheme")
    path, query = read_path(method, target, limits)
    length = read_length(seen, ended=ended)
    expects = read_expect(seen.get(b"expect"), b"1.1") and not ended
    headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
    return RequestHead(method, target, path, query, b"2", headers, length, False, True, expects, 0)


def read_path(method: bytes, target: bytes, limits: HeadLimits) -> tuple[bytes, bytes]:
    """(path, query) of `:path`, which is in origin-form, or `*` for OPTIONS."""
    if len(target) > limits.line:
        raise BadMessage(414, "path too long")
    if TARGET.fullmatch(target) is None or not (target.startswith(b"/") or target == b"*"):
        raise BadMessage(400, "invalid path")
    path, query, _ = split_target(method, target)
    return path, query


def read_length(seen: dict[bytes, bytes], *, ended: bool) -> int | None:
    """Content-Length, which must fit a message that has already ended."""
    length, _ = read_framing(seen, b"1.1")
    if ended and length:
        raise BadMessage(400, "Content-Length without a body")
    return length


def read_response(fields: Headers, limits: HeadLimits = RESPONSE_LIMITS) -> ResponseHead:
    """The head of a response, interim ones too."""
    pseudo, headers = split(fields, OF_RESPONSE, limits, SINGLE_IN_RESPONSE)
    status = pseudo.get(b":status", b"")
    if STATUS.fullmatch(status) is None:
        raise BadMessage(400, "invalid status")
    length, _ = read_framing(dict(headers), b"1.1")
    return ResponseHead(int(status), b"", b"2", headers, length, False, True, 0)


def check_trailers(fields: Headers, limits: HeadLimits) -> None:
    """Trailers are checked and dropped: nobody merges them (RFC 9110 §6.5.1)."""
    _, trailers = split(fields, frozenset(), limits, frozenset())
    for name, _ in trailers:
        if name in NOT_IN_TRAILERS:
            raise BadMessage(400, f"{name.decode('ascii')} in trailers")


def split(
    fields: Headers, allowed: frozenset[bytes], limits: HeadLimits, single: frozenset[bytes]
) -> tuple[dict[bytes, bytes], list[Header]]:
    """(pseudo-header fields, fields) of a header list, each of them well-formed."""
    if len(fields) > limits.fields + len(allowed):
        raise BadMessage(431, "too many fields")
    pseudo: dict[bytes, bytes] = {}
    headers: list[Header] = []
    seen: set[bytes] = set()
    crumbs: list[bytes] = []
    for name, value in fields:
        if name.startswith(b":"):
            if headers or crumbs or name in pseudo or name not in allowed:
                raise BadMessage(400, "misplaced pseudo-header field")
            pseudo[name] = value
            continue
        check_field(name, value, limits)
        if name in single:
            if name in seen:
                raise BadMessage(400, f"field given twice: {name.decode('ascii')}")
            seen.add(name)
        if name == b"cookie":
            crumbs.append(value)
        else:
            headers.append((name, value))
    if crumbs:
        headers.append((b"cookie", b"; ".join(crumbs)))
    return pseudo, headers


def check_field(name: bytes, value: bytes, limits: HeadLimits) -> None:
    """A lower-case token, a value without control bytes or white space around it, and nothing of the connection."""
    if NAME.fullmatch(name) is None:
        raise BadMessage(400, "invalid field name")
    if VALUE.fullmatch(value) is None or value.strip(b" \t") != value:
        raise BadMessage(400, "invalid byte in a field value")
    if len(name) + len(value) + 2 > limits.field:
        raise BadMessage(431, "field too large")
    if name in CONNECTION_FIELDS or (name == b"te" and value.lower() != b"trailers"):
        raise BadMessage(400, "field of a connection")


def response_fields(status: int, headers: Headers) -> list[HeaderTuple]:
    """The header list of a response. Raises UnsafeHeader, and ValueError for a status out of range."""
    if not 100 <= status <= 599:
        raise ValueError(f"status out of range: {status}")
    return [HeaderTuple(b":status", b"%d" % status), *safe_fields(headers)]


def request_fields(
    scheme: bytes, authority: bytes, method: bytes, target: bytes, headers: Headers
) -> list[HeaderTuple]:
    """The header list of a request; a Host among the fields stands for `authority`. Raises UnsafeHeader."""
    if TOKEN.fullmatch(method) is None or TARGET.fullmatch(target) is None:
        raise UnsafeHeader("unsafe byte in the method or the request-target")
    host = next((value for name, value in headers if name == b"host"), authority)
    if VALUE.fullmatch(host) is None:
        raise UnsafeHeader("unsafe byte in the value of host")
    return [
        HeaderTuple(b":method", method),
        HeaderTuple(b":scheme", scheme),
        HeaderTuple(b":authority", host),
        HeaderTuple(b":path", target),
        *safe_fields([field for field in headers if field[0] != b"host"]),
    ]


def safe_fields(headers: Headers) -> list[HeaderTuple]:
    """Every name and value looked at once more; a value is never shown in the error, it may be a secret."""
    found: list[HeaderTuple] = []
    for name, value in headers:
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError("field names and values are bytes")
        if NAME.fullmatch(name) is None:
            raise UnsafeHeader(f"unsafe field name: {name!r}")
        if VALUE.fullmatch(value) is None:
            raise UnsafeHeader(f"unsafe byte in the value of {name.decode('ascii')}")
        kind = NeverIndexedHeaderTuple if name in NEVER_INDEXED else HeaderTuple
        found.append(kind(name, value.strip(b" \t")))
    return found
