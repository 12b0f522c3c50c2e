"""Messages, byte for byte, and what must become of them: the table that the server and the parsers are held to.

A vector names one rule of RFC 9110 or 9112, or one trap that other servers have fallen into. Its outcome is what a
client and the application can see: the requests that were dispatched (method, target, body), the final statuses in
order, and whether the connection stays open.
"""

from __future__ import annotations

from dataclasses import dataclass

Dispatched = tuple[bytes, bytes, bytes]
"""(method, request-target, body)"""


@dataclass(frozen=True)
class Vector:
    name: str
    data: bytes
    requests: tuple[Dispatched, ...]
    statuses: tuple[int, ...]
    open: bool

    def __str__(self) -> str:
        return self.name


def taken(name: str, data: bytes, *requests: Dispatched, open: bool = True) -> Vector:
    """Every request in `data` is dispatched and answered with 200."""
    return Vector(name, data, requests, (200,) * len(requests), open)


def refused(name: str, data: bytes, status: int = 400, *before: Dispatched) -> Vector:
    """`status` and a closed connection, `before` having been served."""
    return Vector(name, data, before, (200,) * len(before) + (status,), False)


def unfinished(name: str, data: bytes) -> Vector:
    """Nothing yet: more must come."""
    return Vector(name, data, (), (), True)


def got(target: bytes = b"/", body: bytes = b"", method: bytes = b"GET") -> Dispatched:
    return (method, target, body)


def get(*fields: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes | None = b"h") -> bytes:
    """A head: the line, Host unless it is None, and the fields."""
    lines = [line, *([b"Host: " + host] if host is not None else []), *fields, b"", b""]
    return b"\r\n".join(lines)


def post(*fields: bytes, body: bytes = b"", line: bytes = b"POST / HTTP/1.1") -> bytes:
    return get(*fields, line=line) + body


def chunked(body: bytes) -> bytes:
    """A POST with the chunked coding; `body` is the coded body."""
    return post(b"Transfer-Encoding: chunked", body=body)
