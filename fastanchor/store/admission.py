"""A worker's side of the books: every request is in the journal before it goes anywhere.

    admit     take the limits                    (refused when the journal is known to fail)
    attempt   write `open` before the first one  (refused when that fails), `try` before each further one
    close     write `settle`   →  settle the limits

In this order the ledger never says less than admission has promised, and admission never promises what the ledger does
not know to be free. A request is settled when its answer has ended. A worker that dies with an answer's last byte on
the way leaves it open, and it is settled by rule: charged once all the same, by its estimate.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Principal
from fastanchor.core.receipt import Receipt
from fastanchor.policy.limits import Demand
from fastanchor.store.journal import Journal, JournalFailed
from fastanchor.store.limiter import Limiter, Ticket
from fastanchor.store.records import open_line, settle_line, try_line

RETRY_AFTER = 1.0
"""Seconds after which a client may find the journal writable again."""


class Admission:
    """Admits requests and closes their accounts.

    Args:
        wall: unix seconds.
        durable: waits until what was written is on the disk, where that is wanted. Raises JournalFailed.
    """

    def __init__(
        self, limiter: Limiter, journal: Journal, *, wall: Callable[[], float] = time.time,
        durable: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.limiter = limiter
        self.journal = journal
        self.durable = durable
        self._wall = wall

    def admit(self, principal: Principal, demand: Demand, request_id: str, model: str) -> Ticket:
        """Reserve what a request may take. The ticket must be closed, or released.

        Raises:
            Fault: as `Limiter.admit`, and LEDGER_UNAVAILABLE when credits would pay and the journal cannot be written.
                Without credits the request goes on: its end is kept in memory, as far as there is room.
        """
        ticket = self.limiter.admit(principal, demand)
        if ticket.metered and self.journal.blocked:
            ticket.release()
            raise Fault(Kind.LEDGER_UNAVAILABLE, retry_after=RETRY_AFTER)
        ticket.request_id, ticket.model = request_id, model
        return ticket

    def attempt(self, ticket: Ticket, channel: str, model: str) -> None:
        """Note that a provider may see the request from now on.

        Raises:
            Fault: LEDGER_UNAVAILABLE when it is the first attempt, credits would pay, and it cannot be written.
        """
        if ticket.opened:
            self.journal.note(try_line(ticket.request_id, self._wall(), channel, model))
            return
        principal, demand = ticket.holder.principal, ticket.demand
        line = open_line(
            ticket.request_id, self._wall(), principal.key_id, principal.organization, ticket.model, ticket.metered,
            demand.tokens, demand.cost, channel, model,
        )
        try:
            self.journal.require(line)
        except JournalFailed as error:
            if ticket.metered:
                raise Fault(Kind.LEDGER_UNAVAILABLE, retry_after=RETRY_AFTER) from error
        ticket.opened = True

    async def written(self, ticket: Ticket) -> None:
        """Wait until the attempt is on the disk. Raises Fault(LEDGER_UNAVAILABLE) where that matters and fails."""
        if self.durable is None:
            return
        try:
            await self.durable()
        except JournalFailed as error:
            if ticket.metered:
                raise Fault(Kind.LEDGER_UNAVAILABLE, retry_after=RETRY_AFTER) from error

    def close(self, ticket: Ticket, receipt: Receipt) -> None:
        """Account for a request that has ended, however it ended. Never raises for a journal that cannot be written."""
        self.journal.note(settle_line(receipt, metered=ticket.metered, at=self._wall()))
        ticket.settle(receipt.usage, receipt.cost)
