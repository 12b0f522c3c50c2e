"""How many connections one address may hold, and how many it may open in one second.

Sans-io: time is an argument. An IPv4 address counts for itself and an IPv6 address for its /64, which is what one
subscriber has. Loopback and unix peers are the operator's own proxies and tools, and are let in uncounted.
"""

from __future__ import annotations

import socket
from collections import Counter

TRACKED = 16_384
"""Addresses whose newcomers are counted in one second; more of them in that second are let in."""

SUBSCRIBER = 8
"""Bytes of an IPv6 address that name the subscriber."""


def origin(family: int, host: str, *, loopback_exempt: bool = True) -> bytes:
    """Whom a connection from `host` counts for; b"" for a peer that is not counted. Raises OSError for no address."""
    if family == socket.AF_INET:
        packed = socket.inet_pton(family, host)
        return b"" if loopback_exempt and packed[0] == 127 else packed
    if family == socket.AF_INET6:
        packed = socket.inet_pton(family, host.partition("%")[0])
        return b"" if loopback_exempt and host == "::1" else packed[:SUBSCRIBER]
    return b""


class Crowd:
    """The origins that are connected. 0 stands for no bound."""

    def __init__(self, at_once: int, per_second: int) -> None:
        self._at_once = at_once
        self._per_second = per_second
        self._here: Counter[bytes] = Counter()
        self._new: Counter[bytes] = Counter()
        self._second = -1

    def __len__(self) -> int:
        """Origins that hold a connection."""
        return len(self._here)

    def enter(self, who: bytes, now: float) -> bool:
        """Whether `who` may come in at `now` (seconds); a yes has to be followed by `leave`."""
        if not who:
            return True
        if self._per_second and not self._in_time(who, int(now)):
            return False
        if self._at_once and self._here[who] >= self._at_once:
            return False
        self._here[who] += 1
        return True

    def leave(self, who: bytes) -> None:
        """A connection of `who` is over."""
        if who:
            self._here[who] -= 1
            if not self._here[who]:
                del self._here[who]

    def _in_time(self, who: bytes, second: int) -> bool:
        """Those who were refused count too: knocking faster does not open."""
        if second != self._second:
            self._second = second
            self._new = Counter()
        if who not in self._new and len(self._new) >= TRACKED:
            return True
        self._new[who] += 1
        return self._new[who] <= self._per_second
