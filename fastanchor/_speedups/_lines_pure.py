"""The pure twin of `lines`: it takes nothing apart.

It also holds what both halves share: the types.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, TypeAlias
from zlib import crc32

Shape: TypeAlias = tuple[bytes, str]

_HEAD: Final = re.compile(rb"([0-9a-f]{8}) ([0-9a-f]{8}) ")
_SIZE: Final = 18


class Found(NamedTuple):
    """`apart`: for each shape the lines that have it, as tuples. `rest`: the JSON of other lines. `size`: offset behind
    the last whole line. `damaged`: lines that do not verify."""

    apart: tuple[list[tuple[Any, ...]], ...]
    rest: list[bytes]
    size: int
    damaged: int


def lines(data: bytes, *shapes: Shape) -> Found:
    """What all whole lines of `data` hold, which starts at the start of a line."""
    rest: list[bytes] = []
    start = damaged = 0
    while (end := data.find(b"\n", start)) >= 0:
        payload = verified(data[start:end])
        start = end + 1
        if payload is None:
            damaged += 1
        else:
            rest.append(payload)
    return Found(tuple([] for _ in shapes), rest, start, damaged)


def verified(text: bytes) -> bytes | None:
    """The JSON of a line (without its end), or None when it is damaged."""
    head = _HEAD.match(text)
    if head is None:
        return None
    payload = text[_SIZE:]
    return payload if len(payload) == int(head[1], 16) and crc32(payload) == int(head[2], 16) else None
