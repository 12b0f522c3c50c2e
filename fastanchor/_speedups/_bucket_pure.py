"""The pure twin of `bucket`: the same words in the same file, changed under a file lock instead of by compare-and-swap.

It also holds what both halves share: the kinds of limits, the refusal and the errors.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from fastanchor._speedups._bucket_file import (
    BALANCE_WORD,
    CLOSING,
    COLUMNS,
    COUNTER_COUNT,
    COUNTERS,
    EMPTY,
    GAUGE_WORD,
    KEEP,
    LIVE,
    OWNER,
    PROBE,
    RATE_WORD,
    STATE,
    UNOPENED,
    WINDOW_WORD,
    WORDS,
    TableError,
    home,
    locked,
    map_file,
    open_lock,
)

Limit: TypeAlias = tuple[int, int, int, int]
"""(kind, cap, amount, window): `amount` is what a request takes, `window` the calendar window's number, else 0."""

GAUGE: Final = 0
RATE: Final = 1
RATES: Final = 2
WINDOW: Final = 3
WINDOWS: Final = 4
BALANCE: Final = 7

REQUESTS: Final = 0
TOKENS: Final = 1
MONEY: Final = 2
"""What a limit of a claim counts."""

LIMITS: Final = 16
MINUTE: Final = 60_000_000_000
MOST: Final = (1 << 40) - 1
"""The largest cap or amount (a window's counter has 40 bits); a balance has 63."""

NEVER: Final = -1
NOT_OPEN: Final = -2
_BALANCE_MOST = (1 << 62) - 1
_FAR = 1 << 62
_WINDOW_MOST = (1 << 23) - 1


class TableFull(Exception):
    """There is no slot for a new owner, and none that can be taken from an idle one."""


class Refused(NamedTuple):
    """The limit that refused, by its place in the list, and the nanoseconds until it would admit.

    `wait` is NEVER where time alone does not help or its length is the caller's to know (gauge, window, balance, an
    amount above the cap), and NOT_OPEN for a balance that nobody has opened.
    """

    place: int
    wait: int


def check(limits: Sequence[Limit]) -> None:
    """Raises ValueError for a limit that is out of range."""
    if len(limits) > LIMITS:
        raise ValueError(f"a reservation has at most {LIMITS} limits")
    for i, (kind, cap, amount, window) in enumerate(limits):
        most = _BALANCE_MOST if kind == BALANCE else MOST
        if not 0 <= kind <= BALANCE:
            raise ValueError("a limit has an unknown kind")
        if i > 0 and kind == GAUGE:
            raise ValueError("the gauge comes first")
        if not 0 <= cap <= most or not 0 <= amount <= most:
            raise ValueError("a limit's cap or amount is out of range")
        if not 0 <= window <= _WINDOW_MOST:
            raise ValueError("a limit's window is out of range")


def check_claim(owner: bytes, limits: Sequence[Limit]) -> None:
    """Raises ValueError for a claim that no request could make."""
    if len(owner) != OWNER:
        raise ValueError(f"an owner is {OWNER} bytes")
    check(limits)
    if any(counts not in (REQUESTS, TOKENS, MONEY) for _, _, counts, _ in limits):
        raise ValueError("a claim counts requests, tokens or money")


class Claim:
    """What the requests of one owner take.

    Args:
        limits: (kind, cap, counts, window): as for `reserve`, with what is counted in the place of the amount.
        keep: as for `reserve`.
    """

    __slots__ = ("_limits", "keep", "owner")

    def __init__(self, owner: bytes, limits: Sequence[Limit], keep: int) -> None:
        check_claim(owner, limits)
        self.owner = owner
        self.keep = keep
        self._limits = tuple(limits)

    def filled(self, amounts: tuple[int, int, int]) -> list[Limit]:
        """The limits with these amounts of requests, tokens and money."""
        return [(kind, cap, amounts[counts], window) for kind, cap, counts, window in self._limits]

    def counted(self, amounts: tuple[int, int, int]) -> list[int]:
        """What each limit counts of these amounts."""
        return [amounts[counts] for _, _, counts, _ in self._limits]


def in_range(amounts: tuple[int, int, int]) -> tuple[int, int, int]:
    """The amounts. Raises ValueError for one that no limit can count."""
    requests, tokens, money = amounts
    if not 0 <= requests <= MOST or not 0 <= tokens <= MOST or not 0 <= money <= _BALANCE_MOST:
        raise ValueError("a limit's cap or amount is out of range")
    return amounts


class Table:
    """One process's view of the shared table.

    Args:
        path: a file that `prepare` has made.
        worker: this process's column, or -1 for one that only looks and repairs.

    Raises:
        TableError: the file is not a table of this format.
        ValueError: the worker has no column.
    """

    def __init__(self, path: Path | str, worker: int = -1) -> None:
        self._map, self._geometry = map_file(path)
        if not -1 <= worker < self._geometry.workers:
            raise ValueError(f"the table has columns for {self._geometry.workers} workers")
        self._bytes = memoryview(self._map)
        self._words = self._bytes.cast("q")
        self._columns = self._bytes.cast("i")
        self._path = Path(path)
        self._lock = open_lock(self._path)
        self._pid = os.getpid()
        self._thread = threading.Lock()
        self.worker = worker

    @property
    def slots(self) -> int:
        return self._geometry.slots

    @property
    def workers(self) -> int:
        return self._geometry.workers

    def close(self) -> None:
        """Let go of the file. The table cannot be used any more."""
        self._words.release()
        self._columns.release()
        self._bytes.release()
        self._map.close()
        os.close(self._lock)

    def reserve(self, owner: bytes, limits: Sequence[Limit], now: int, wall: int, keep: int) -> list[int] | Refused:
        """Take every amount, or none. See `bucket`."""
        check(limits)
        if self.worker < 0:
            raise ValueError("a table opened without a worker cannot reserve")
        with self._exclusive():
            at = self._slot(owner, wall)
            if limits and limits[0][0] == GAUGE and self._gauge(at) >= limits[0][1]:
                return Refused(0, NEVER)
            self._words[at + KEEP] = max(self._words[at + KEEP], keep)
            self._hold(at, 1)
            for i, limit in enumerate(limits):
                wait = self._take(at, limit, now)
                if wait:
                    for taken in limits[:i]:
                        self._adjust(at, taken, 0, 0, 0)
                    self._hold(at, -1)
                    return Refused(i, wait)
            return [self._left(at, limit, now) for limit in limits]

    def settle(self, owner: bytes, limits: Sequence[Limit], used: Sequence[int], since: int, now: int) -> None:
        """Put what was used in the place of what was reserved, and give the gauge back. See `bucket`."""
        check(limits)
        check([(limit[0], 0, amount, 0) for limit, amount in zip(limits, used, strict=True)])
        with self._exclusive():
            at = self._find(owner)
            if at < 0 or self.worker < 0 or self._column(at, self.worker) <= 0:
                return
            for limit, amount in zip(limits, used, strict=True):
                self._adjust(at, limit, amount, since, now)
            self._hold(at, -1)

    def admit(self, claims: tuple[Claim, ...], tokens: int, money: int, now: int, wall: int) -> list[int] | Refused:
        """Take what one request of so many tokens takes of every claim, or nothing. See `bucket`."""
        amounts = in_range((1, tokens, money))
        left: list[int] = []
        for i, claim in enumerate(claims):
            found: list[int] | Refused | None = None
            try:
                found = self.reserve(claim.owner, claim.filled(amounts), now, wall, claim.keep)
            finally:
                if not isinstance(found, list):
                    self._finish(claims[:i], amounts, (0, 0, 0), 0, 0)
            if isinstance(found, Refused):
                return Refused(len(left) + found.place, found.wait)
            left += found
        return left

    def finish(
        self, claims: tuple[Claim, ...], tokens: int, money: int, requests: int, used_tokens: int, used_money: int,
        since: int, now: int,
    ) -> None:
        """Put what the request used in the place of what it was admitted with. See `bucket`."""
        amounts, used = in_range((1, tokens, money)), in_range((requests, used_tokens, used_money))
        self._finish(claims, amounts, used, since, now)

    def _finish(
        self, claims: tuple[Claim, ...], amounts: tuple[int, int, int], used: tuple[int, int, int], since: int, now: int
    ) -> None:
        for claim in claims:
            self.settle(claim.owner, claim.filled(amounts), claim.counted(used), since, now)

    def left(self, claims: tuple[Claim, ...], now: int) -> list[int]:
        """What is left under every limit of the claims, in order."""
        rest: list[int] = []
        for claim in claims:
            rest += self.remaining(claim.owner, claim.filled((0, 0, 0)), now)
        return rest

    def remaining(self, owner: bytes, limits: Sequence[Limit], now: int) -> list[int]:
        """What is left under each limit, 0 at least (a balance as it is)."""
        check(limits)
        with self._exclusive():
            at = self._find(owner)
            return [self._left(at, limit, now) if at >= 0 else _untouched(limit) for limit in limits]

    def balance(self, owner: bytes) -> int | None:
        """The owner's balance, or None when no account was opened."""
        with self._exclusive():
            at = self._find(owner)
            value = self._words[at + BALANCE_WORD] if at >= 0 else UNOPENED
            return None if value == UNOPENED else value

    def set_balance(self, owner: bytes, expected: int | None, value: int, wall: int) -> bool:
        """Change the balance if it is `expected` (None: not open). Returns whether it was."""
        if abs(value) > _BALANCE_MOST:
            raise ValueError("a balance is out of range")
        with self._exclusive():
            at = self._slot(owner, wall)
            if self._words[at + BALANCE_WORD] != (UNOPENED if expected is None else expected):
                return False
            self._words[at + BALANCE_WORD] = value
            return True

    def held(self, owner: bytes) -> int:
        """How many reservations of the owner are open in all workers."""
        with self._exclusive():
            at = self._find(owner)
            return self._gauge(at) if at >= 0 else 0

    def release_worker(self, worker: int) -> int:
        """Give back what a dead worker held. Returns how many slots could not be set right yet. See `bucket`."""
        if not 0 <= worker < self._geometry.workers:
            raise ValueError(f"the table has columns for {self._geometry.workers} workers")
        with self._exclusive():
            for at in range(self._geometry.start // 8, self._geometry.size // 8, self._geometry.slot // 8):
                if self._words[at + STATE] == EMPTY:
                    continue
                column = at * 2 + COLUMNS // 4
                self._columns[column + worker] = 0
                self._set_gauge(at, sum(self._columns[column : column + self._geometry.workers]))
        return 0

    def counter(self, index: int) -> int:
        """One of the file's counters."""
        return self._words[_counter(index)]

    def bump(self, index: int) -> int:
        """Add one to a counter. Returns the new value."""
        with self._exclusive():
            self._words[_counter(index)] += 1
            return self._words[_counter(index)]

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        if os.getpid() != self._pid:  # a fork shares its parent's lock, which would exclude nobody
            self._lock, self._pid, self._thread = open_lock(self._path), os.getpid(), threading.Lock()
        with self._thread, locked(self._lock):
            yield

    def _find(self, owner: bytes) -> int:
        """The index of the first word of the owner's slot, or -1."""
        for at in self._places(owner):
            if self._words[at + STATE] == LIVE and self._bytes[at * 8 : at * 8 + OWNER] == owner:
                return at
        return -1

    def _places(self, owner: bytes) -> Iterator[int]:
        if len(owner) != OWNER:
            raise ValueError(f"an owner is {OWNER} bytes")
        first, mask = home(owner, self._geometry.slots), self._geometry.slots - 1
        for step in range(PROBE):
            yield (self._geometry.start + ((first + step) & mask) * self._geometry.slot) // 8

    def _slot(self, owner: bytes, wall: int) -> int:
        """The owner's slot, made when there is none. Raises TableFull."""
        at = self._find(owner)
        if at >= 0:
            return at
        for at in self._places(owner):
            if self._words[at + STATE] != LIVE or self._idle(at, wall):
                self._words[at + STATE] = CLOSING
                self._bytes[at * 8 : at * 8 + OWNER] = owner
                for word in (KEEP, *range(RATE_WORD, BALANCE_WORD)):
                    self._words[at + word] = 0
                self._words[at + BALANCE_WORD] = UNOPENED
                self._words[at + STATE] = LIVE
                return at
        raise TableFull(f"all {PROBE} slots for an owner are in use")

    def _idle(self, at: int, wall: int) -> bool:
        column = at * 2 + COLUMNS // 4
        return (
            self._words[at + KEEP] < wall
            and self._words[at + BALANCE_WORD] == UNOPENED
            and self._gauge(at) == 0
            and not any(self._columns[column : column + self._geometry.workers])
        )

    def _column(self, at: int, worker: int) -> int:
        return self._columns[at * 2 + COLUMNS // 4 + worker]

    def _hold(self, at: int, change: int) -> None:
        self._columns[at * 2 + COLUMNS // 4 + self.worker] += change
        self._set_gauge(at, self._gauge(at) + change)

    def _set_gauge(self, at: int, count: int) -> None:
        tag = (self._words[at + GAUGE_WORD] >> 32) + 1
        self._words[at + GAUGE_WORD] = ((tag & 0x7FFFFFFF) << 32) | max(0, count)

    def _gauge(self, at: int) -> int:
        return self._words[at + GAUGE_WORD] & 0xFFFFFFFF

    def _take(self, at: int, limit: Limit, now: int) -> int:
        """Take one amount. Returns 0, or why not (a wait, NEVER, NOT_OPEN)."""
        kind, cap, amount, window = limit
        if kind == GAUGE:
            return 0  # taken already
        if kind < WINDOW:
            word = at + RATE_WORD + kind - RATE
            if amount > cap:
                return NEVER
            new = max(self._words[word], now) + cost(amount, cap)
            if new > now + span(cap):
                return new - now - span(cap)
            self._words[word] = new
        elif kind < BALANCE:
            word = at + WINDOW_WORD + kind - WINDOW
            number, count = _window(self._words[word], window)
            if count + amount > cap:
                return NEVER
            self._words[word] = number << 40 | (count + amount)
        else:
            value = self._words[at + BALANCE_WORD]
            if value == UNOPENED:
                return NOT_OPEN
            if value < amount:
                return NEVER
            self._words[at + BALANCE_WORD] = value - amount
        return 0

    def _adjust(self, at: int, limit: Limit, used: int, since: int, now: int) -> None:
        kind, cap, amount, window = limit
        if kind == GAUGE or used == amount:
            return
        if kind < WINDOW:
            word = at + RATE_WORD + kind - RATE
            if used < amount:
                self._words[word] -= max(0, cost(amount, cap) - cost(used, cap) - max(0, now - since))
            else:
                self._words[word] = min(_FAR, max(self._words[word], now) + cost(used, cap) - cost(amount, cap))
        elif kind < BALANCE:
            word = at + WINDOW_WORD + kind - WINDOW
            number, count = self._words[word] >> 40, self._words[word] & MOST
            if number == window:
                self._words[word] = number << 40 | min(MOST, max(0, count + used - amount))
        elif self._words[at + BALANCE_WORD] != UNOPENED:
            value = self._words[at + BALANCE_WORD] + amount - used
            self._words[at + BALANCE_WORD] = max(-_FAR, min(_FAR, value))

    def _left(self, at: int, limit: Limit, now: int) -> int:
        kind, cap, _, window = limit
        if kind == GAUGE:
            return max(0, cap - self._gauge(at))
        if kind < WINDOW:
            free = now + span(cap) - max(self._words[at + RATE_WORD + kind - RATE], now)
            return max(0, free) * cap // MINUTE
        if kind < BALANCE:
            return max(0, cap - _window(self._words[at + WINDOW_WORD + kind - WINDOW], window)[1])
        value = self._words[at + BALANCE_WORD]
        return 0 if value == UNOPENED else value


def cost(amount: int, cap: int) -> int:
    """Nanoseconds of a rate of `cap` per minute that an amount takes, rounded up."""
    return min(_FAR, -(-amount * MINUTE // cap)) if cap else 0


def span(cap: int) -> int:
    """How far a rate may run ahead of the clock: a minute, and less than one unit more.

    The excess takes up what rounding each amount has cost, so that a whole cap is admitted and never one more.
    """
    return MINUTE + max(0, min(cap, MINUTE // cap - 1)) if cap else 0


def _window(word: int, number: int) -> tuple[int, int]:
    """The window that counts and its count. A clock that went back stays in the window it came from."""
    return (word >> 40, word & MOST) if word >> 40 >= number else (number, 0)


def _untouched(limit: Limit) -> int:
    return 0 if limit[0] == BALANCE else limit[1]


def _counter(index: int) -> int:
    if not 0 <= index < COUNTER_COUNT:
        raise ValueError(f"a table has {COUNTER_COUNT} counters")
    return COUNTERS // 8 + index


__all__ = ["BALANCE", "GAUGE", "MINUTE", "MONEY", "MOST", "NEVER", "NOT_OPEN", "RATE", "RATES", "REQUESTS", "TOKENS",
           "WINDOW", "WINDOWS", "WORDS", "Claim", "Limit", "Refused", "Table", "TableError", "TableFull", "check",
           "check_claim", "cost", "span"]
