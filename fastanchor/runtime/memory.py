"""What a worker's memory is made to do: live long where it is long-lived, and go back to the system where it is not.

What `free` gets back it keeps for the next one: a worker that has once held half a gibibyte of requests would look as
if it still did. glibc gives whole free pages back when it is asked to (malloc_trim(3)); that costs a millisecond or two
where there is little, and some 50 µs for each MiB that goes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import trio

LOOK_EVERY = 5.0
"""Seconds."""
KEPT = 8 * 1024 * 1024
"""Bytes, beside a tenth, above what a worker had at rest, for which nothing is done."""

PAGE = 4096
STATM = Path("/proc/self/statm")


def settle_memory() -> None:
    """What is alive now lives for good: take it out of the collector's way, and collect young objects less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def give_memory_back() -> None:
    """Until cancelled: give back what is free whenever the process holds clearly more than it does now, at rest.

    Returns at once where the C library cannot do it.
    """
    trim = trimmer()
    if trim is None:
        return
    at_rest = resident()
    while True:
        await trio.sleep(LOOK_EVERY)
        if resident() > at_rest * 1.1 + KEPT:
            trim(0)


def trimmer() -> Callable[[int], int] | None:
    """glibc's malloc_trim; None with another C library."""
    import ctypes  # not loaded where it is of no use

    trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim if STATM.exists() else None


def resident() -> int:
    """Bytes of this process in memory."""
    return int(STATM.read_text().split()[1]) * PAGE
