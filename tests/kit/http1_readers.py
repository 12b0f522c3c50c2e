"""HTTP/1.1 requests read from one run of bytes: by a half of `http1`, by h11, and by llhttp.

All three say which requests they would dispatch (method, target, body) and whether they then refused the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import ModuleType

import h11
import httptools

from fastanchor._speedups.http1 import BadMessage

Dispatched = tuple[bytes, bytes, bytes]


@dataclass
class Reading:
    requests: list[Dispatched] = field(default_factory=list)
    status: int | None = None
    """What the refusal was; None when everything was taken or more is needed."""


def read_by(half: ModuleType, data: bytes, max_body: int = 1 << 20) -> Reading:
    """The requests that a server on `half` dispatches."""
    reading = Reading()
    try:
        while data and (head := half.parse_request(data)) is not None:
            data = data[head.size :]
            if head.chunked:
                decoder = half.ChunkDecoder(max_body)
                body = decoder.feed(data)
                if not decoder.done:
                    break
                data = decoder.rest
            else:
                length = head.content_length or 0
                if length > len(data):
                    break
                body, data = data[:length], data[length:]
            reading.requests.append((head.method, head.target, body))
            if not head.keep_alive:
                break
    except BadMessage as error:
        reading.status = error.status
    return reading


def read_by_h11(data: bytes) -> Reading:
    """The requests that bare h11 sees: blank lines before one (RFC 9112 §2.2) are taken off first, and it goes on
    behind a request that ends the connection."""
    reading = Reading()
    try:
        while data := data.removeprefix(b"\r\n").removeprefix(b"\r\n"):
            connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
            connection.receive_data(data)
            request = connection.next_event()
            if not isinstance(request, h11.Request):
                break
            body = b""
            while isinstance(part := connection.next_event(), h11.Data):
                body += part.data
            if not isinstance(part, h11.EndOfMessage):
                break
            reading.requests.append((request.method, request.target, body))
            data = connection.trailing_data[0]
    except h11.RemoteProtocolError as error:
        reading.status = error.error_status_hint
    return reading


class _Calls:
    """Callbacks of one llhttp parser."""

    def __init__(self) -> None:
        self.requests: list[Dispatched] = []
        self.parser: httptools.HttpRequestParser | None = None
        self.on_message_begin()

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        assert self.parser is not None
        self.requests.append((self.parser.get_method(), self.url, self.body))


def read_by_llhttp(data: bytes) -> Reading:
    """The requests that a server on llhttp (strict) dispatches."""
    calls = _Calls()
    calls.parser = httptools.HttpRequestParser(calls)
    try:
        calls.parser.feed_data(data)
    except httptools.HttpParserUpgrade:  # CONNECT, too
        return Reading(calls.requests)
    except httptools.HttpParserError:
        return Reading(calls.requests, 400)
    return Reading(calls.requests)
