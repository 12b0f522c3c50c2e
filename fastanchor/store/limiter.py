"""A worker's admission: every limit of a request reserved in one step, as a ticket that is settled once.

Rules:
- Everything that `admit` takes is settled or released once, in every ending.
- What does not change from request to request is made once per key (`Holder`) and hour (`policy.limits.Frame`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Final

from fastanchor._speedups.allowance import Fields
from fastanchor._speedups.bucket import MOST, Refused, Table, TableFull
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Principal
from fastanchor.core.usage import Usage
from fastanchor.policy.limit_headers import LimitHeaders
from fastanchor.policy.limits import (
    COST_MOST,
    RATE_KEEP,
    SECOND,
    Demand,
    Frame,
    Terms,
    out_of_credits,
    rate_limited,
    terms,
)
from fastanchor.policy.strangers import FAILURES_PER_MINUTE, address_owner, failure_limits, too_many_failures
from fastanchor.policy.windows import windows

MAX_CACHED: Final = 1 << 17


def key_owner(key_id: str) -> bytes:
    """The slot of a key."""
    return blake2b(b"key\0" + key_id.encode(), digest_size=16).digest()


def organization_owner(organization: str) -> bytes:
    """The slot of an organisation: its limits over all its keys, and its balance."""
    return blake2b(b"organization\0" + organization.encode(), digest_size=16).digest()


class Holder:
    """A principal with its terms compiled and its slots named."""

    __slots__ = ("_headers", "frame", "metered", "principal", "terms")

    def __init__(self, principal: Principal, unix: float) -> None:
        self.principal = principal
        self.terms = terms(principal)
        self.metered = self.terms.metered
        self.frame = self._framed(unix)
        self._headers: list[LimitHeaders | None] = [None, None]

    def frame_at(self, unix: float) -> Frame:
        """The frame of the hour, made anew when the hour has changed."""
        frame = self.frame
        if frame.since <= unix < frame.until:
            return frame
        self.frame = self._framed(unix)
        return self.frame

    def _framed(self, unix: float) -> Frame:
        principal = self.principal
        owners = key_owner(principal.key_id), organization_owner(principal.organization)
        return Frame(self.terms, *owners, windows(unix))

    def headers(self, left: list[int], balance: int | None, unix: float, *, anthropic: bool) -> Fields:
        """Header fields from what is left under each limit, and of the credits if they pay."""
        return self.form(anthropic).fields(left, balance, self.frame_at(unix).windows, unix)

    def form(self, anthropic: bool) -> LimitHeaders:
        """How its limits are told."""
        form = self._headers[anthropic]
        if form is None:
            form = self._headers[anthropic] = LimitHeaders(self.terms, anthropic=anthropic)
        return form

    def refusal(self, refused: Refused, unix: float) -> Fault:
        """What a refusal is told as."""
        if refused.place == len(self.terms.bounds):
            return out_of_credits(refused.wait)
        return rate_limited(self.terms, refused.place, refused.wait, self.frame_at(unix).windows, unix)


class Ticket:
    """What one request was admitted with (`core.lease.Lease`). Not safe for threads.

    `unix` is when. `left` is what was left under each limit, and last of the credits (micro-dollars) if they pay:
    `metered`. Whoever writes journals notes what the request is, and whether it is in one (`opened`).
    """

    __slots__ = (
        "_clock", "_open", "_since", "_table", "demand", "frame", "holder", "left", "metered", "model", "opened",
        "request_id", "unix",
    )

    def __init__(
        self, table: Table, clock: Callable[[], int], holder: Holder, frame: Frame, demand: Demand, left: list[int],
        since: int, unix: float,
    ) -> None:
        self._table = table
        self._clock = clock
        self._since = since
        self.frame = frame
        self.unix = unix
        self._open = True
        self.holder = holder
        self.metered = holder.metered
        self.demand = demand
        self.left = left
        self.opened = False
        self.request_id = self.model = ""

    @property
    def balance(self) -> int | None:
        """What is left of the credits, in micro-dollars; None where they do not pay."""
        return self.left[-1] if self.metered else None

    def settle(self, usage: Usage, cost: int) -> None:
        """Replace the reservation by what was used; `cost` in micro-dollars. Later calls do nothing."""
        self._end(1, usage.total, cost)

    def release(self) -> None:
        """Give everything back, the request itself too. After a settlement this does nothing."""
        self._end(0, 0, 0)

    def _end(self, requests: int, tokens: int, cost: int) -> None:
        if not self._open:
            return
        self._open = False
        tokens = tokens if 0 <= tokens <= MOST else 0 if tokens < 0 else MOST
        cost = cost if 0 <= cost <= COST_MOST else _bounded(cost)
        reserved = self.demand
        self._table.finish(
            self.frame.claims, reserved.tokens, reserved.cost, requests, tokens, cost, self._since, self._clock()
        )
        if self.metered:
            self.left[-1] += reserved.cost - cost


def _bounded(cost: int) -> int:
    return 0 if cost < 0 else min(cost, COST_MOST)


class Limiter:
    """One worker's admission.

    Args:
        table: the table of limits, opened with the worker's number.
        clock: nanoseconds since boot.
        wall: unix seconds.
    """

    def __init__(
        self, table: Table, *, clock: Callable[[], int] = time.monotonic_ns, wall: Callable[[], float] = time.time
    ) -> None:
        self._table = table
        self._clock = clock
        self._wall = wall
        self._holders: dict[int, Holder] = {}

    def terms(self, principal: Principal) -> Terms:
        """The limits of a key, compiled."""
        return (self._holders.get(id(principal)) or self._enter(principal)).terms

    def admit(self, principal: Principal, demand: Demand) -> Ticket:
        """Reserve every limit of a request at once.

        Raises:
            Fault: RATE_LIMIT, INSUFFICIENT_QUOTA, LEDGER_UNAVAILABLE (the account is not open yet) or
                SERVICE_UNAVAILABLE (more keys in use than the table has room for).
        """
        holder = self._holders.get(id(principal)) or self._enter(principal)
        unix, now = self._wall(), self._clock()
        frame = holder.frame_at(unix)
        if not 0 <= demand.cost <= COST_MOST:
            demand = demand._replace(cost=_bounded(demand.cost))
        try:
            left = self._table.admit(frame.claims, demand.tokens, demand.cost, now, int(unix * SECOND))
        except TableFull as error:
            raise Fault(Kind.SERVICE_UNAVAILABLE, "There is no room to count this key.", retry_after=1.0) from error
        if isinstance(left, Refused):
            raise holder.refusal(left, unix)
        return Ticket(self._table, self._clock, holder, frame, demand, left, now, unix)

    def headers(self, ticket: Ticket, *, anthropic: bool) -> Fields:
        """The limit headers of an answer that this ticket admitted."""
        balance = ticket.left[-1] if ticket.metered else None
        return ticket.holder.form(anthropic).fields(ticket.left, balance, ticket.frame.windows, ticket.unix)

    def headers_of(self, principal: Principal, *, anthropic: bool) -> Fields:
        """The limit headers of an answer to a key that nothing was reserved for, such as a refusal."""
        holder = self._holders.get(id(principal)) or self._enter(principal)
        unix = self._wall()
        claims = holder.frame_at(unix).claims
        balance = self._table.balance(claims[-1].owner) if holder.metered else None
        return holder.headers(self._table.left(claims, self._clock()), balance, unix, anthropic=anthropic)

    def _enter(self, principal: Principal) -> Holder:
        """Remember a principal by its identity; the holder keeps it alive, so the identity stays its own."""
        if len(self._holders) >= MAX_CACHED:
            self._holders.clear()
        holder = self._holders[id(principal)] = Holder(principal, self._wall())
        return holder


class Strangers:
    """Counts unknown keys by address.

    Args:
        table: the table of addresses, opened with the worker's number.
    """

    def __init__(
        self, table: Table, per_minute: int = FAILURES_PER_MINUTE, *,
        clock: Callable[[], int] = time.monotonic_ns, wall: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._limits = failure_limits(per_minute)
        self._clock = clock
        self._wall = wall

    def failed(self, peer: str) -> Fault | None:
        """Note an unknown key from a peer. Returns the fault to tell it when there were too many, else None."""
        owner, now, wall = address_owner(peer), self._clock(), int(self._wall() * SECOND)
        try:
            left = self._table.reserve(owner, self._limits, now, wall, wall + RATE_KEEP * SECOND)
        except TableFull:  # a flood from everywhere: only those who have no key are affected
            return too_many_failures(SECOND)
        if isinstance(left, Refused):
            return too_many_failures(left.wait)
        self._table.settle(owner, self._limits, (1,), now, now)
        return None
