"""How often each bound of the wire was hit in this process: for metrics, and for whoever wonders why a client was cut.

Names are those of the limits, as in `head`, `body_rate` or `connections_per_address`; what only one protocol has starts
with its name, as in `h2_ping` or `tls_handshake_timeout`. A name appears with its first hit.
"""

from __future__ import annotations

from collections import Counter

import trio

_hits: trio.lowlevel.RunVar[Counter[str]] = trio.lowlevel.RunVar("fastanchor.wire.hits")


def limit_hits() -> Counter[str]:
    """The counters of this trio run."""
    try:
        return _hits.get()
    except LookupError:
        counters: Counter[str] = Counter()
        _hits.set(counters)
        return counters


def hit(name: str) -> None:
    """Somebody ran into the bound `name`."""
    limit_hits()[name] += 1
