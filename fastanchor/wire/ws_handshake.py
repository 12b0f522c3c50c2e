"""The opening handshake of a WebSocket, on the server's side (RFC 6455 §4.2). No I/O."""

from __future__ import annotations

import binascii
from hashlib import sha1

from .message import Header, Request

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
VERSION = (b"sec-websocket-version", b"13")


class BadHandshake(Exception):
    """The request is no handshake that can be accepted. `status` and `headers` are the answer."""

    def __init__(self, status: int, reason: str, headers: tuple[Header, ...] = ()) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


def wants_websocket(request: Request) -> bool:
    """Whether the client asks for this upgrade, rightly or not. HTTP/1.0 and HTTP/2 know no upgrade (RFC 9110 §7.8)."""
    return request.version == b"1.1" and b"websocket" in _tokens(request, b"upgrade")


def accept(request: Request) -> list[Header]:
    """The fields of the answer, but for Connection and Upgrade. Raises BadHandshake."""
    if request.method != b"GET" or not wants_websocket(request) or b"upgrade" not in _tokens(request, b"connection"):
        raise BadHandshake(426, "this path takes WebSocket connections", (VERSION,))
    if request.get(b"transfer-encoding") is not None or request.get(b"content-length") not in (None, b"0"):
        raise BadHandshake(400, "a WebSocket handshake has no body")
    if _only(request, b"sec-websocket-version") != b"13":
        raise BadHandshake(426, "only version 13 of the WebSocket protocol is spoken here", (VERSION,))
    key = _only(request, b"sec-websocket-key")
    if not _is_key(key):
        raise BadHandshake(400, "Sec-WebSocket-Key must be 16 bytes in base64")
    proof = binascii.b2a_base64(sha1(key + GUID, usedforsecurity=False).digest(), newline=False)
    return [(b"sec-websocket-accept", proof)]


def _is_key(key: bytes) -> bool:
    try:
        return len(binascii.a2b_base64(key, strict_mode=True)) == 16
    except binascii.Error:
        return False


def _only(request: Request, name: bytes) -> bytes:
    """The value of a field that stands once, else b""."""
    values = [value for field, value in request.headers if field == name]
    return values[0] if len(values) == 1 else b""


def _tokens(request: Request, name: bytes) -> set[bytes]:
    """The elements of a list field, in lower case."""
    lines = (value for field, value in request.headers if field == name)
    return {token.strip().lower() for line in lines for token in line.split(b",")}
