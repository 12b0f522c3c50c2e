"""The admission ticket over every limit at once: settled or released exactly once, in every ending."""

from __future__ import annotations

from typing import Protocol

from fastanchor.core.usage import Usage


class Lease(Protocol):
    """What admission reserved for one request (see `store.limiter.Ticket`)."""

    def settle(self, usage: Usage, cost: int) -> None:
        """Replace the reservation by what was really used. `cost` in micro-dollars. Later calls do nothing."""

    def release(self) -> None:
        """Give everything back (nothing was used). After a settlement this does nothing."""
