"""HTTP/1.1 messages as bytes: strict heads, chunk framing and the one writer of heads (RFC 9112).

Sans-io. The compiled half accepts a strict subset of the grammar and hands everything else to the gate, so that the two
halves always give the same answer; the pure half is the gate alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import compiled
from ._http1_types import (
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

if not TYPE_CHECKING and compiled("http1"):
    from ._http1 import ChunkDecoder, chunk, parse_request, parse_response, request_head, response_head
else:
    from ._http1_pure import ChunkDecoder, chunk, parse_request, parse_response, request_head, response_head

LAST_CHUNK = b"0\r\n\r\n"

__all__ = [
    "LAST_CHUNK",
    "REQUEST_LIMITS",
    "RESPONSE_LIMITS",
    "BadMessage",
    "ChunkDecoder",
    "HeadLimits",
    "Header",
    "Headers",
    "RequestHead",
    "ResponseHead",
    "UnsafeHeader",
    "chunk",
    "parse_request",
    "parse_response",
    "request_head",
    "response_head",
]
