"""A worker's side of the books: every request that is admitted is in the journal before it goes anywhere.

    admit   take the limits  →  write `open`      (refused when either fails, and then nothing is taken)
    close   write `settle`   →  settle the limits

In this order the ledger never says less than admission has promised, and admission never promises what the ledger does
not know to be free. Both are synchronous: nothing of the worker runs between their halves.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Principal
from fastanchor.core.receipt import Receipt
from fastanchor.policy.limits import Demand
from fastanchor.store.journal import Journal, JournalFailed
from fastanchor.store.records import Open, Try
from fastanchor.store.shm import Limiter, Ticket

RETRY_AFTER = 1.0
"""Seconds after which a client may find the journal writable again."""


class Admission:
    """Admits requests and closes their accounts.

    Args:
        wall: unix seconds.
    """

    def __init__(self, limiter: Limiter, journal: Journal, *, wall: Callable[[], float] = time.time) -> None:
        self.limiter = limiter
        self.journal = journal
        self._wall = wall

    def admit(self, principal: Principal, demand: Demand, request_id: str, model: str) -> Ticket:
        """Reserve what a request may take, and write that down. The ticket must be closed, or released.

        Raises:
            Fault: as `Limiter.admit`, and LEDGER_UNAVAILABLE when credits would pay and the journal cannot be written.
                Without credits the request goes on: its record is kept in memory, as far as there is room.
        """
        ticket = self.limiter.admit(principal, demand)
        record = Open(
            request_id, self._wall(), principal.key_id, principal.organization, model, ticket.metered, demand.tokens,
            demand.cost,
        )
        try:
            self.journal.open(record)
        except JournalFailed as error:
            if ticket.metered:
                ticket.release()
                raise Fault(Kind.LEDGER_UNAVAILABLE, retry_after=RETRY_AFTER) from error
        return ticket

    def attempt(self, request_id: str, channel: str, model: str) -> None:
        """Note that a provider may see the request from now on."""
        self.journal.attempt(Try(request_id, self._wall(), channel, model))

    def close(self, ticket: Ticket, receipt: Receipt) -> None:
        """Account for a request that has ended, however it ended. Never raises for a journal that cannot be written."""
        self.journal.settle(receipt, metered=ticket.metered, at=self._wall())
        ticket.settle(receipt.usage, receipt.cost)
