"""Unknown keys are limited by where they come from: so many failures per minute and address, then 429 instead of 401.

An IPv6 customer has a whole /64 to come from, so that is what counts as one address.
"""

from __future__ import annotations

from hashlib import blake2b
from ipaddress import IPv6Address, ip_address
from typing import Final

from fastanchor._speedups.bucket import RATE, Limit
from fastanchor.core.faults import Fault, Kind

FAILURES_PER_MINUTE: Final = 60


def address_owner(peer: str) -> bytes:
    """The 16 bytes by which a peer ("host:port", "[host]:port" or a unix socket's) is counted."""
    host = peer.rpartition(":")[0].strip("[]").partition("%")[0]
    try:
        address = ip_address(host)
    except ValueError:  # all peers of a unix socket are one
        return blake2b(b"unix", digest_size=16).digest()
    if isinstance(address, IPv6Address):
        packed = address.ipv4_mapped.packed if address.ipv4_mapped else address.packed[:8]
    else:
        packed = address.packed
    return blake2b(packed, digest_size=16).digest()


def failure_limits(per_minute: int = FAILURES_PER_MINUTE) -> list[Limit]:
    return [(RATE, per_minute, 1, 0)]


def too_many_failures(wait: int) -> Fault:
    """The fault of an address that has tried too many unknown keys; `wait` in nanoseconds."""
    seconds = max(1.0, wait / 1_000_000_000)
    return Fault(Kind.RATE_LIMIT, "Too many requests with an invalid API key from this address.", retry_after=seconds)
