"""The pure twin of `line`."""

from __future__ import annotations

from math import isfinite
from typing import Final
from zlib import crc32

import msgspec

DEEPEST: Final = 8
MICRO: Final = 1e6
_EXACT: Final = 2.0**53
_ENCODER: Final = msgspec.json.Encoder()


def line(values: tuple[object, ...]) -> bytes:
    """The values as a line. Raises TypeError for one that has no place in it, ValueError for arrays too deep."""
    if not isinstance(values, tuple):
        raise TypeError("a line is made of a tuple")
    payload = _ENCODER.encode(_plain(values, 0))
    return b"%08x %08x %b\n" % (len(payload), crc32(payload), payload)


def _plain(value: object, depth: int) -> object:
    kind = type(value)
    if kind is str:
        return value.encode("utf-8", "replace").decode()  # type: ignore[attr-defined]
    if value is None or kind is bool or kind is int:
        return value
    if kind is float:
        return rounded(value)  # type: ignore[arg-type]
    if kind is not tuple and kind is not list:
        raise TypeError(f"a line has no place for {kind.__name__}")
    if depth == DEEPEST:
        raise ValueError("arrays are too deep")
    return [_plain(item, depth + 1) for item in value]  # type: ignore[attr-defined]


def rounded(value: float) -> float | None:
    """To six decimals, as far as a float has them."""
    if not isfinite(value):
        return None
    scaled = value * MICRO
    return round(scaled) / MICRO if abs(scaled) < _EXACT else value
