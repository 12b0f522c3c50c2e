"""The pure twin of `allowance`."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Final, TypeAlias

Field: TypeAlias = tuple[bytes, bytes]
Fields: TypeAlias = list[Field]

LAST: Final = 253_402_300_799
"""The last second of the year 9999: what lies behind it is told as this."""
LONGEST: Final = 1e15


class Allowance:
    """How one allowance is told.

    Args:
        limit: the whole field of its size.
        remaining, reset: names of the other two fields.
        cap: its size.
        unit: seconds in which one comes back, 0 where they come back all at once.
        plain: the name of three more fields, `-limit`, `-remaining` and `-reset`.
    """

    __slots__ = ("_cap", "_instant", "_limit", "_plain", "_remaining", "_reset", "_unit")

    def __init__(
        self, limit: Field, remaining: bytes, reset: bytes, cap: int, unit: float, *, instant: bool, plain: bytes = b""
    ) -> None:
        self._limit, self._remaining, self._reset = limit, remaining, reset
        self._cap, self._unit, self._instant = cap, unit, instant
        self._plain = plain

    def add(self, fields: Fields, left: int, wait: float, unix: float) -> None:
        """Add the fields; `wait` counts where nothing comes back by itself, `unix` is now."""
        if self._unit > 0:
            wait = (self._cap - left) * self._unit
        shown, whole = b"%d" % left, ceil(min(unix + wait, LONGEST))
        reset = instant(whole) if self._instant else duration(wait)
        fields += (self._limit, (self._remaining, shown), (self._reset, reset))
        if self._plain:
            name = self._plain
            fields += (
                (name + b"-limit", self._limit[1]), (name + b"-remaining", shown), (name + b"-reset", b"%d" % whole)
            )  # fmt: skip


def duration(seconds: float) -> bytes:
    """Go's form, as OpenAI sends it."""
    if seconds < 1:
        milliseconds = ceil(seconds * 1000)
        return b"%dms" % milliseconds if milliseconds > 0 else b"0s"
    minutes, rest = divmod(ceil(min(seconds, LONGEST)), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest


@lru_cache(maxsize=256)
def instant(unix: int) -> bytes:
    """RFC 3339."""
    moment = datetime.fromtimestamp(max(0, min(unix, LAST)), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ").encode("ascii")
