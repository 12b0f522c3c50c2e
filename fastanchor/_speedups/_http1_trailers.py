"""What is rare in the chunked coding, for both halves: chunk extensions and trailers (RFC 9112 §7.1.1, §7.1.2).

Both are held to their grammar, and then dropped: no trailer field ever reaches a handler, so none can overrule what
the head said. One that would frame or route a message is refused all the same: a peer might have listened to it.
"""

from __future__ import annotations

import re

from ._http1_gate import check_line_ends, read_fields
from ._http1_types import BadMessage, HeadLimits

MAX_SIZE_LINE = 256
"""Bytes of one chunk-size line, extensions and CRLF included."""
MAX_EXTENSIONS = 16 * 1024
"""Bytes of all extensions of one message."""

NEVER_TRAILERS = frozenset((b"connection", b"content-length", b"host", b"transfer-encoding"))

EXTENSION = re.compile(
    rb"(?:;[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb"(?:=(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
    rb'|"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"))?)*'
)


def check_extension(extension: bytes) -> None:
    """The extensions of one chunk, the first `;` included; the grammar's bad white space is refused."""
    if EXTENSION.fullmatch(extension) is None:
        raise BadMessage(400, "invalid chunk extension")


class Trailers:
    """The fields behind the last chunk, and the blank line that ends them; bounded like a head."""

    __slots__ = ("_fields", "_limits", "_partial", "_size")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._partial = b""
        self._fields = 0
        self._size = 0

    def feed(self, data: bytes) -> bytes | None:
        """What follows the trailers; None while they have not ended. Raises BadMessage."""
        text = self._partial + data
        start = 0
        while start < len(text):
            end = text.find(b"\n", start) + 1
            line = text[start : end or len(text)]
            check_line_ends(line, 0, len(line))
            if self._fields > self._limits.fields or self._size + len(line) > self._limits.head:
                raise BadMessage(431, "trailers too large", "trailers")
            if not end:
                break
            start = end
            if line == b"\r\n":
                return text[start:]
            [(name, _)] = read_fields([line[:-2]], self._limits, frozenset())
            if name in NEVER_TRAILERS:
                raise BadMessage(400, "framing or routing field in the trailers")
            self._fields += 1
            self._size += len(line)
        self._partial = text[start:]
        return None
