"""The gate: every rule we hold a raw HTTP/1.1 head to, then h11's second opinion.

h11 alone takes heads that an edge must refuse (Content-Length beside Transfer-Encoding, folded fields, any Host), so
the rules come first and h11 has to agree with what they read; a head that either side refuses, or that the two read
differently, is refused. Rules, after RFC 9112 and RFC 9110:

- a line ends in CRLF; a bare CR or LF, NUL, any control byte but HTAB, and folded lines are refused;
- one SP between the parts of a start-line; HTTP/1.0 and HTTP/1.1 only; up to two blank lines before a request;
- a field name is a token right before its colon; values lose SP and HTAB at their ends and nothing else;
- exactly one valid Host in 1.1; fields whose doubling has split proxies from servers are refused when doubled;
- Content-Length is 1*18DIGIT, once; Transfer-Encoding is exactly `chunked`, once, never in 1.0, never beside a length.
"""

from __future__ import annotations

import re

from ._http1_target import check_authority, split_target
from ._http1_types import (
    MAX_LENGTH_DIGITS,
    BadMessage,
    Header,
    HeadLimits,
    RequestHead,
    ResponseHead,
)

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
BARE = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([\x21-\x7e]+) HTTP/([0-9]\.[0-9])")
STATUS_LINE = re.compile(rb"HTTP/(1\.[01]) ([1-5][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?")
TCHAR = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
SINGLE_IN_REQUEST = frozenset(
    (b"authorization", b"content-length", b"content-type", b"expect", b"host", b"transfer-encoding", b"x-api-key")
)
SINGLE_IN_RESPONSE = frozenset((b"content-length", b"transfer-encoding"))
FRAMING_ERROR = "bad framing"


# -- where a head ends ------------------------------------------------------------------------------------------------


def request_span(buf: bytes, limits: HeadLimits, scanned: int) -> tuple[int, int] | None:
    """(start, end) of the head in `buf`, blank lines before it skipped; None while it is incomplete.

    What cannot become a head is refused at once, so that nobody waits for the rest of it. `scanned` is how much of
    `buf` an earlier call has seen: it makes a trickled head cost linear time.
    """
    start = 0
    while start < 4 and buf.startswith(b"\r\n", start):
        start += 2
    if start == 4 and buf.startswith(b"\r\n", start):
        raise BadMessage(400, "blank lines before the request")
    if len(buf) == start or (len(buf) == start + 1 and buf[start] == 0x0D):
        return None
    if buf[start] not in TCHAR:
        raise BadMessage(400, "invalid request-line")
    line_end = buf.find(b"\r\n", start, start + limits.line + 2)
    if line_end < 0:
        check_line_ends(buf, max(start, scanned - 1), len(buf))
        if len(buf) - start > limits.line:
            raise BadMessage(414, "request-line too long", "request_line")
        return None
    end = head_end(buf, start, limits, scanned)
    if end < 0 and scanned < line_end + 2:
        read_request_line(buf[start:line_end])
    return None if end < 0 else (start, end)


def response_span(buf: bytes, limits: HeadLimits, scanned: int) -> tuple[int, int] | None:
    """As `request_span`, for a response: no blank line may come first."""
    if not buf.startswith(b"HTTP/1."[: len(buf)]):
        raise BadMessage(400, "not an HTTP/1 response")
    line_end = buf.find(b"\r\n", 0, limits.line + 2)
    if line_end < 0:
        check_line_ends(buf, max(0, scanned - 1), len(buf))
        if len(buf) > limits.line:
            raise BadMessage(400, "status-line too long")
        return None
    end = head_end(buf, 0, limits, scanned)
    if end < 0 and scanned < line_end + 2 and STATUS_LINE.fullmatch(buf, 0, line_end) is None:
        raise BadMessage(400, "invalid status-line")
    return None if end < 0 else (0, end)


def head_end(buf: bytes, start: int, limits: HeadLimits, scanned: int) -> int:
    """Offset behind the blank line that ends the head, -1 while there is none; raises when the bounds are passed."""
    end = buf.find(b"\r\n\r\n", max(start, scanned - 3))
    if end >= 0:
        if end + 4 - start > limits.head:
            raise BadMessage(431, "head too large", "head")
        return end + 4
    check_line_ends(buf, max(start, scanned - 1), len(buf))
    if len(buf) - start > limits.head:
        raise BadMessage(431, "head too large", "head")
    if len(buf) - buf.rfind(b"\n") - 1 > limits.field + 1:  # the CR of its end may be there already
        raise BadMessage(431, "field too large", "field")
    if buf.count(b"\n", start) > limits.fields + 1:
        raise BadMessage(431, "too many fields", "fields")
    return -1


def check_line_ends(buf: bytes, start: int, end: int) -> None:
    """Refuse a CR without its LF, and a LF without its CR."""
    if BARE.search(buf, start, end) is not None:
        raise BadMessage(400, "bare CR or LF in head")


# -- what a head says -------------------------------------------------------------------------------------------------


def read_request(raw: bytes, limits: HeadLimits) -> RequestHead:
    """The head `raw`, from its first byte to the blank line's last; `size` is len(raw)."""
    check_line_ends(raw, 0, len(raw))
    line, *fields = raw[:-4].split(b"\r\n")
    if len(line) > limits.line:
        raise BadMessage(414, "request-line too long", "request_line")
    method, target, version = read_request_line(line)
    headers = read_fields(fields, limits, SINGLE_IN_REQUEST)
    seen = dict(headers)
    path, query, authority = split_target(method, target)
    check_host(seen.get(b"host"), version)
    length, chunked = read_framing(seen, version)
    expects = read_expect(seen.get(b"expect"), version)
    from ._http1_opinion import agree_on_request  # and h11 with it: with the compiled half few heads come here

    agree_on_request(raw, method, target, headers)
    if authority is not None:  # RFC 9112 §3.2.2: the target's authority replaces whatever Host says
        headers = [(b"host", authority), *(field for field in headers if field[0] != b"host")]
    keep_alive = persists(headers, version)
    return RequestHead(
        method, target, path, query, version, headers, length, chunked, keep_alive, expects, len(raw)
    )


def read_response(raw: bytes, limits: HeadLimits) -> ResponseHead:
    """The response head `raw`, from its first byte to the blank line's last."""
    check_line_ends(raw, 0, len(raw))
    line, *fields = raw[:-4].split(b"\r\n")
    match = STATUS_LINE.fullmatch(line)
    if match is None or len(line) > limits.line:
        raise BadMessage(400, "invalid status-line")
    version, digits, reason = match.groups()
    headers = read_fields(fields, limits, SINGLE_IN_RESPONSE)
    length, chunked = read_framing(dict(headers), version)
    from ._http1_opinion import agree_on_response

    agree_on_response(raw, int(digits), headers)
    return ResponseHead(
        int(digits), reason or b"", version, headers, length, chunked, persists(headers, version), len(raw)
    )


def read_request_line(line: bytes) -> tuple[bytes, bytes, bytes]:
    """(method, request-target, version) of a request-line."""
    match = REQUEST_LINE.fullmatch(line)
    if match is None:
        raise BadMessage(400, "invalid request-line")
    method, target, version = match.groups()
    if version not in (b"1.1", b"1.0"):
        raise BadMessage(505, "only HTTP/1.0 and HTTP/1.1 are spoken here")
    return method, target, version


def read_fields(lines: list[bytes], limits: HeadLimits, single: frozenset[bytes]) -> list[Header]:
    """The fields of a head or of trailers, names in lower case; `single` names may not come twice."""
    if len(lines) > limits.fields:
        raise BadMessage(431, "too many fields", "fields")
    headers = []
    seen = set()
    for line in lines:
        if len(line) > limits.field:
            raise BadMessage(431, "field too large", "field")
        name, colon, value = line.partition(b":")
        if not colon or TOKEN.fullmatch(name) is None:
            raise BadMessage(400, "invalid field name")
        if VALUE.fullmatch(value) is None:
            raise BadMessage(400, "invalid byte in a field value")
        name = name.lower()
        if name == b"transfer-encoding" and b"\t" in value:  # some peers do not know `chunked` beside a tab
            raise BadMessage(400, FRAMING_ERROR)
        if name in single:
            if name in seen:
                raise BadMessage(400, f"field given twice: {name.decode('ascii')}")
            seen.add(name)
        headers.append((name, value.strip(b" \t")))
    return headers


def check_host(host: bytes | None, version: bytes) -> None:
    """Exactly one valid Host in HTTP/1.1 (its doubling is refused with the fields); in 1.0 it may be absent."""
    if host is not None:
        check_authority(host)
    elif version == b"1.1":
        raise BadMessage(400, "missing Host")


def read_framing(fields: dict[bytes, bytes], version: bytes) -> tuple[int | None, bool]:
    """(Content-Length or None, whether the body is chunked), RFC 9112 §6.3 at its strictest."""
    coding = fields.get(b"transfer-encoding")
    digits = fields.get(b"content-length")
    if coding is not None:
        if digits is not None or version == b"1.0":
            raise BadMessage(400, FRAMING_ERROR)
        check_coding(coding.lower())
        return None, True
    if digits is None:
        return None, False
    if not digits or digits.strip(b"0123456789") or len(digits) > MAX_LENGTH_DIGITS:
        raise BadMessage(400, "invalid Content-Length")
    return int(digits), False


def check_coding(coding: bytes) -> None:
    """`chunked` alone is spoken here: 501 for another coding under it, 400 for anything that is not clean framing."""
    if coding == b"chunked":
        return
    names = [name.strip(b" \t") for name in coding.split(b",")]
    well_formed = all(TOKEN.fullmatch(name) for name in names)
    if well_formed and names.count(b"chunked") == 1 and names[-1] == b"chunked":
        raise BadMessage(501, "unsupported transfer coding")
    raise BadMessage(400, FRAMING_ERROR)


def read_expect(expect: bytes | None, version: bytes) -> bool:
    """Whether the client waits for 100 (Continue); any other expectation is 417, and 1.0 has none."""
    if expect is None or version == b"1.0":
        return False
    if expect.lower() != b"100-continue":
        raise BadMessage(417, "unknown expectation")
    return True


def persists(headers: list[Header], version: bytes) -> bool:
    """Whether the connection outlives this message (RFC 9112 §9.3)."""
    options = {
        option.strip(b" \t").lower()
        for name, value in headers
        if name == b"connection"
        for option in value.split(b",")
    }
    return b"close" not in options and (version == b"1.1" or b"keep-alive" in options)
