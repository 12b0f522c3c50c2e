"""Limits and balances in memory that all workers of a machine share: what admission asks, and what it hands out.

    state_dir/limits.table      one slot per key, one per organisation that pays with credits
    state_dir/addresses.table   one slot per address that has tried an unknown key

Rules:
- `prepare` runs once, in the process that starts the instance, before any other opens a table; a process opens its own
  after it was forked.
- Everything that `admit` takes is settled or released once, in every ending. What a killed worker held is given back by
  `release_worker` where it is a place (concurrency); what it had taken from rates, windows and credits stays taken, as
  the ledger charges its open requests by their estimates.
- A balance here is what admission may spend. The ledger's is the truth: it opens accounts (`open_account`) and sets
  them right while nothing of the organisation is open (`reconcile`). Credits without an open account admit nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Final

from fastanchor._speedups import bucket
from fastanchor._speedups.bucket import BALANCE, Limit, Refused, Table, TableFull
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Principal
from fastanchor.core.usage import Usage
from fastanchor.policy.limit_headers import Fields, LimitHeaders
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

LIMITS: Final = "limits.table"
ADDRESSES: Final = "addresses.table"
KEYS_CHANGED: Final = 0
"""The counter of the limits table that moves when keys change."""
NOTED: Final = {"restart": 1, "reload": 2, "refusal": 3}
"""Counters of what has happened to the instance, for metrics."""

NOTHING: Final = Demand(0, 0)

LEAST_OWNERS: Final = 16_384
ADDRESS_SLOTS: Final = 16_384
MAX_CACHED: Final = 1 << 17


def prepare(state_dir: Path, *, owners: int, workers: int) -> None:
    """Make both tables, or make them fit for so many keys and organisations, and workers.

    Raises:
        TableError: a file there is no table. OSError: no space.
    """
    boot = _boot_mark()
    slots = 2 * max(LEAST_OWNERS, owners)  # half empty, so that an owner is found near its home
    bucket.prepare(state_dir / LIMITS, slots=slots, workers=workers, boot=boot)
    bucket.prepare(state_dir / ADDRESSES, slots=ADDRESS_SLOTS, workers=workers, boot=boot)


def open_tables(state_dir: Path, worker: int = -1) -> tuple[Table, Table]:
    """The tables of limits and of addresses, for a worker or (-1) for one who looks, repairs and opens accounts."""
    return Table(state_dir / LIMITS, worker), Table(state_dir / ADDRESSES, worker)


def release_worker(state_dir: Path, worker: int) -> bool:
    """Give back what a dead worker held. False: another worker is in the middle of a change; call again."""
    wrong = 0
    for table in open_tables(state_dir):
        wrong += table.release_worker(worker)
        table.close()
    return wrong == 0


def release_everyone(state_dir: Path) -> None:
    """Give back what the workers of a killed instance held. Only while no worker lives."""
    for table in open_tables(state_dir):
        for worker in 2 * tuple(range(table.workers)):  # twice: the first pass ends changes that were under way
            table.release_worker(worker)
        table.close()


def note(state_dir: Path, what: str) -> None:
    """Count something that has happened to the instance (see `NOTED`)."""
    table = Table(state_dir / LIMITS, -1)
    table.bump(NOTED[what])
    table.close()


def key_owner(key_id: str) -> bytes:
    return blake2b(b"key\0" + key_id.encode(), digest_size=16).digest()


def organization_owner(organization: str) -> bytes:
    return blake2b(b"organization\0" + organization.encode(), digest_size=16).digest()


class Holder:
    """A principal with its terms compiled and its slots named."""

    __slots__ = ("_headers", "credits_owner", "frame", "key", "metered", "principal", "terms")

    def __init__(self, principal: Principal, unix: float) -> None:
        self.principal = principal
        self.terms = terms(principal)
        self.metered = self.terms.metered
        self.key = key_owner(principal.key_id)
        self.credits_owner = organization_owner(principal.organization)
        self.frame = Frame(self.terms, windows(unix))
        self._headers = {form: LimitHeaders(self.terms, anthropic=form) for form in (False, True)}

    def frame_at(self, unix: float) -> Frame:
        """The frame of the hour, made anew when the hour has changed."""
        if not self.frame.since <= unix < self.frame.until:
            self.frame = Frame(self.terms, windows(unix))
        return self.frame

    def headers(self, left: list[int], balance: int | None, unix: float, *, anthropic: bool) -> Fields:
        """Header fields from what is left under each limit."""
        return self._headers[anthropic].fields(left, balance, self.frame_at(unix).windows, unix)


class Ticket:
    """What one request was admitted with (`core.lease.Lease`). Not safe for threads.

    `remaining` is what was left under each limit, `balance` what is left of the credits (micro-dollars; None: they do
    not pay for this request). Whoever writes journals notes what the request is, and whether it is in one (`opened`).
    """

    __slots__ = (
        "_clock", "_credits", "_frame", "_limits", "_open", "_since", "_table", "balance", "demand", "holder", "model",
        "opened", "remaining", "request_id",
    )

    def __init__(
        self, table: Table, clock: Callable[[], int], holder: Holder, frame: Frame, limits: list[Limit],
        remaining: list[int], since: int,
    ) -> None:
        self._table = table
        self._clock = clock
        self._frame = frame
        self._limits = limits
        self._since = since
        self._credits = 0
        self._open = True
        self.holder = holder
        self.remaining = remaining
        self.balance: int | None = None
        self.opened = False
        self.request_id = self.model = ""
        self.demand = NOTHING

    @property
    def metered(self) -> bool:
        """Whether credits pay for the request."""
        return self.balance is not None

    def pay(self, micro: int, wall: int) -> None:
        """Reserve credits too. Raises Fault(INSUFFICIENT_QUOTA) or TableFull after giving the rest back."""
        if not 0 <= micro <= COST_MOST:
            micro = 0 if micro < 0 else COST_MOST
        try:
            left = self._table.reserve(self.holder.credits_owner, ((BALANCE, 0, micro, 0),), self._since, wall, 0)
        except TableFull:
            self.release()
            raise
        if isinstance(left, Refused):
            self.release()
            raise out_of_credits(left.wait)
        self._credits = micro
        self.balance = left[0]

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
        holder, since, now = self.holder, self._since, self._clock()
        self._table.settle(holder.key, self._limits, self._frame.used(requests, tokens), since, now)
        if self.balance is not None:
            reserved, spent = self._credits, 0 if cost < 0 else cost if cost < COST_MOST else COST_MOST
            self._table.settle(holder.credits_owner, ((BALANCE, 0, reserved, 0),), (spent,), since, now)
            self.balance += reserved - spent


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
        wall, frame = int(unix * SECOND), holder.frame_at(unix)
        wanted = frame.limits(demand.tokens)
        try:
            left = self._table.reserve(holder.key, wanted, now, wall, frame.keep)
            if isinstance(left, Refused):
                raise rate_limited(holder.terms, left.place, left.wait, frame.windows, unix)
            ticket = Ticket(self._table, self._clock, holder, frame, wanted, left, now)
            if holder.metered:
                ticket.pay(demand.cost, wall)
        except TableFull as error:
            raise Fault(Kind.SERVICE_UNAVAILABLE, "There is no room to count this key.", retry_after=1.0) from error
        return ticket

    def headers(self, ticket: Ticket, *, anthropic: bool) -> Fields:
        """The limit headers of an answer that this ticket admitted."""
        return ticket.holder.headers(ticket.remaining, ticket.balance, self._wall(), anthropic=anthropic)

    def headers_of(self, principal: Principal, *, anthropic: bool) -> Fields:
        """The limit headers of an answer to a key that nothing was reserved for, such as a refusal."""
        holder = self._holders.get(id(principal)) or self._enter(principal)
        unix = self._wall()
        left = self._table.remaining(holder.key, holder.frame_at(unix).limits(0), self._clock())
        balance = self._table.balance(holder.credits_owner) if holder.metered else None
        return holder.headers(left, balance, unix, anthropic=anthropic)

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


def open_account(table: Table, organization: str, micro: int, wall: float) -> None:
    """Give an organisation that has no balance yet the one that the ledger knows. Never changes one that is there."""
    table.set_balance(organization_owner(organization), None, micro, int(wall * SECOND))


def add_credits(table: Table, organization: str, micro: int, wall: float) -> None:
    """Add what was granted to an open balance. The grant must be in the ledger before."""
    owner = organization_owner(organization)
    while True:
        balance = table.balance(owner)
        if balance is None or table.set_balance(owner, balance, balance + micro, int(wall * SECOND)):
            return


def reconcile(table: Table, organization: str, available: Callable[[], int | None], wall: float) -> bool:
    """Set an open balance to the ledger's while none of the organisation's requests is open.

    `available` folds what the journals hold and reads the ledger: None while that still has open requests. Exact,
    because a request changes the balance before its `open` record is written and after its `settle` record: whatever
    happens meanwhile changes the balance, and then nothing is set. Returns whether the two agree now.
    """
    owner = organization_owner(organization)
    before = table.balance(owner)
    if before is None or table.held(owner):
        return False
    truth = available()
    if truth is None or truth == before:
        return truth is not None
    return table.set_balance(owner, before, truth, int(wall * SECOND))


def agrees(table: Table, organization: str, available: int) -> bool:
    """Whether an open balance is the ledger's, with nothing of the organisation open."""
    owner = organization_owner(organization)
    return table.balance(owner) == available and not table.held(owner)


def _boot_mark() -> bytes:
    """Changes when the machine boots. Where the system does not say, it never changes."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().replace("-", ""))[:16]
    except (OSError, ValueError):
        return b""
