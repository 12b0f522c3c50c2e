"""The pure twin of `peek`: one recursive descent over the grammar of RFC 8259, with a regular expression per token.

It also holds what both halves share: `Peek`, the answer, and `splice`. The compiled half replaces the two passes over
the body, `peek` and `count_text`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import orjson

Data: TypeAlias = bytes | bytearray | memoryview

MAX_DEPTH = 256  # what the `depth` argument may ask for; the descent is recursive
MAX_NUMBER = 1024  # bytes
MAX_INTEGER = 18  # digits; fits 64 bits
BLOB = 1024  # bytes of nothing but the base64 alphabets that make a string data, not text

_SPACE = re.compile(rb"[ \t\n\r]*+")
_COMMA = re.compile(rb"[ \t\n\r]*+,[ \t\n\r]*+")
_STRING = re.compile(
    rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]'
    rb"|\\u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}"
    rb'|[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}))*+"'
)
_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_LITERAL = re.compile(rb"true|false|null")
_INTEGER = re.compile(rb"-?[0-9]{1,%d}" % MAX_INTEGER)
_TEXT = re.compile(rb'"((?:[^"\\]++|\\.)*+)(?:"[ \t\n\r]*+(:?)|\\?\Z)', re.DOTALL)
_BLOB = re.compile(rb"data:|[A-Za-z0-9+/=_-]{%d}" % BLOB)


class Field(NamedTuple):
    """The span of a member's value in the body."""

    start: int
    end: int


class Peek:
    """The wanted members of one JSON object. All offsets are into `body`."""

    __slots__ = ("body", "empty", "found", "object_end")

    def __init__(
        self, body: bytes, found: dict[bytes, tuple[int, int, int]], object_end: int, empty: bool
    ) -> None:
        self.body = body
        self.found = found  # by name: where key, value and what follows the value start
        self.object_end = object_end  # offset of the closing brace, where a member can be inserted
        self.empty = empty  # the object has no members: one that is inserted needs no comma before it

    def span(self, name: bytes) -> Field | None:
        """Where the value is, or None when there is no such member."""
        found = self.found.get(name)
        return None if found is None else Field(found[1], found[2])

    def member(self, name: bytes) -> Field | None:
        """What to cut to remove the member: from its key to behind its value, and one comma beside it.

        The spans of two adjacent members share their comma: remove them one after the other, not in one `splice`.
        """
        found = self.found.get(name)
        if found is None:
            return None
        key, _, end = found
        before = key - 1
        while self.body[before] in b" \t\n\r":
            before -= 1
        if self.body[before] == 0x2C:
            return Field(before, end)
        comma = _COMMA.match(self.body, end)
        return Field(key, comma.end() if comma else end)

    def raw(self, name: bytes) -> bytes | None:
        """The value as it stands, `b"null"` included, or None when there is no such member."""
        found = self.found.get(name)
        return None if found is None else self.body[found[1] : found[2]]

    def string(self, name: bytes) -> str | None:
        """The value when it is a string, its escapes decoded."""
        raw = self.raw(name)
        if raw is None or not raw.startswith(b'"'):
            return None
        text: str = orjson.loads(raw) if b"\\" in raw else raw[1:-1].decode()
        return text

    def integer(self, name: bytes) -> int | None:
        """The value when it is a number of at most 18 digits, without fraction or exponent."""
        raw = self.raw(name)
        return int(raw) if raw is not None and _INTEGER.fullmatch(raw) else None

    def boolean(self, name: bytes) -> bool | None:
        """The value when it is `true` or `false`."""
        raw = self.raw(name)
        return raw == b"true" if raw in (b"true", b"false") else None


class _Odd(Exception):
    """No error: the caller parses the body another way."""


def peek(
    body: Data, wanted: tuple[bytes, ...], start: int = 0, end: int | None = None, *, depth: int = 128
) -> Peek | None:
    """Find the members named in `wanted` of the JSON object that is body[start:end], or None when it is odd.

    Odd is: anything but one valid JSON object in UTF-8 with white space around it; a wanted member that is there twice;
    a top-level key with an escape in it; nesting deeper than `depth`, the object itself being 1; a lone surrogate in
    an escape; a number that a double cannot hold, or of more than 1,024 bytes.

    Raises ValueError when `depth` is not in 1..256 or start and end are not in order within the body.
    """
    body = body if type(body) is bytes else memoryview(body).tobytes()
    end = len(body) if end is None else end
    if not 1 <= depth <= MAX_DEPTH:
        raise ValueError(f"depth must be in 1..{MAX_DEPTH}")
    if not 0 <= start <= end <= len(body):
        raise ValueError("start and end must be in order within the body")
    walk = _Walk(body, end, wanted)
    try:
        body[start:end].decode()
        closed = walk.top(start, depth)
    except (_Odd, UnicodeDecodeError):
        return None
    return Peek(body, walk.found, closed - 1, walk.empty)


class _Walk:
    """One descent. Each step takes the offset where its part starts and gives the one behind it."""

    def __init__(self, body: bytes, end: int, wanted: tuple[bytes, ...]) -> None:
        self.body = body
        self.end = end
        self.wanted = wanted
        self.found: dict[bytes, tuple[int, int, int]] = {}
        self.empty = True

    def top(self, at: int, depth: int) -> int:
        at = self.space(at)
        if self.byte(at) != b"{":
            raise _Odd
        closed = self.members(at, depth, top=True)
        if self.space(closed) != self.end:
            raise _Odd
        return closed

    def byte(self, at: int) -> bytes:
        return self.body[at : min(at + 1, self.end)]

    def token(self, grammar: re.Pattern[bytes], at: int) -> int:
        found = grammar.match(self.body, at, self.end)
        if not found:
            raise _Odd
        return found.end()

    def space(self, at: int) -> int:
        return self.token(_SPACE, at)

    def value(self, at: int, depth: int) -> int:
        """`depth` is how many more containers may open."""
        first = self.byte(at)
        if first == b'"':
            return self.token(_STRING, at)
        if first == b"{" and depth:
            return self.members(at, depth)
        if first == b"[" and depth:
            return self.elements(at, depth)
        if first.isalpha():
            return self.token(_LITERAL, at)
        behind = self.token(_NUMBER, at)
        if behind - at > MAX_NUMBER or math.isinf(float(self.body[at:behind])):
            raise _Odd
        return behind

    def members(self, at: int, depth: int, top: bool = False) -> int:
        at = self.space(at + 1)
        if self.byte(at) == b"}":
            return at + 1
        self.empty = False
        while True:
            key, at = at, self.token(_STRING, at)
            name = self.body[key + 1 : at - 1]
            at = self.space(at)
            if self.byte(at) != b":":
                raise _Odd
            start = self.space(at + 1)
            at = self.value(start, depth - 1)
            if top:
                self.note(name, (key, start, at))
            at = self.space(at)
            if self.byte(at) == b"}":
                return at + 1
            at = self.comma(at)

    def elements(self, at: int, depth: int) -> int:
        at = self.space(at + 1)
        if self.byte(at) == b"]":
            return at + 1
        while True:
            at = self.space(self.value(at, depth - 1))
            if self.byte(at) == b"]":
                return at + 1
            at = self.comma(at)

    def comma(self, at: int) -> int:
        if self.byte(at) != b",":
            raise _Odd
        return self.space(at + 1)

    def note(self, name: bytes, where: tuple[int, int, int]) -> None:
        if b"\\" in name or name in self.found:
            raise _Odd
        if name in self.wanted:
            self.found[name] = where


def splice(body: Data, edits: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Replace the spans `(start, end, with)` of the body, in one copy. Edits come in any order.

    Raises ValueError when two spans overlap or one is not within the body. Inserts at the same offset keep their order.
    """
    view = memoryview(body)
    parts: list[bytes | memoryview] = []
    at = 0
    for start, end, text in sorted(edits, key=lambda edit: edit[:2]):
        if not at <= start <= end <= len(view):
            raise ValueError("edits overlap or leave the body")
        parts += (view[at:start], text)
        at = end
    parts.append(view[at:])
    return b"".join(parts)


def count_text(body: Data, start: int = 0, end: int | None = None) -> int:
    """How many bytes of text the JSON in body[start:end] holds: its string values, escapes as they stand.

    Keys do not count, nor does data in base64: strings that start with `data:`, and strings whose first 1,024 bytes
    are all of the base64 alphabets. Divided by four it is a usual estimate of prompt tokens. The JSON should be valid;
    what is not gives some number. Raises ValueError when start and end are not in order within the body.
    """
    end = len(body) if end is None else end
    if not 0 <= start <= end <= len(body):
        raise ValueError("start and end must be in order within the body")
    texts = (found for found in _TEXT.finditer(body, start, end) if not found[2])
    return sum(text.end(1) - text.start(1) for text in texts if not _BLOB.match(body, text.start(1), text.end(1)))
