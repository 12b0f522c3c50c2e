"""Limits in memory that many processes share: a table in one mapped file, exact under contention, without a broker.

Each owner (a 16-byte digest) has a slot with

    GAUGE            how many reservations are open, counted per worker
    RATE + 0, 1      rates per minute (GCRA): a cap is a burst and, spread over the minute, the refill
    WINDOW + 0 … 3   counters of calendar windows: the number of the window stands beside the count
    BALANCE          an amount that may be spent down to zero

`Table.reserve(owner, limits, now, wall, keep)` takes all amounts in the order of the list, or none: a refusal gives
back what was taken before it. No limit ever admits more than its cap, whatever the interleaving; a refusal that is
being undone may cost another request of the same owner its turn, so put what is shared last. It returns what is left
under each limit, or `Refused`. Each success holds one unit of the gauge (its cap counts only if it is in the list,
where it comes first) until `settle(owner, limits, used, since, now)`, which puts the used amounts in the place of those
reserved at `since`. The caller settles once.

A request that several owners answer for (the maker of it, and a group that he belongs to) is admitted by all of them or
by none: `Table.admit(claims, tokens, money, now, wall)` takes of each `Claim` in turn what one request of so many
tokens and so much money takes of its limits, gives everything back when one refuses, and returns what is left under
all limits in order. `Table.finish` settles the same claims. A claim is made once and used for many requests.

Rules:
- Clocks are arguments: `now` in nanoseconds since boot (rates), `wall` in unix nanoseconds (idle slots).
- `keep` is the unix time until which the owner's slot means something; later it may be taken for another owner. A slot
  with an open reservation or an open balance is never taken.
- A window begins anew only with a higher number: a clock that goes back and forth credits nothing twice.
- Of what a rate reserved and did not use, the time that has passed is not given back: the clock may have given it
  back already, and twice would be more than the cap.
- An amount that is settled after its window has ended changes nothing.
- What a process held when it was killed is given back by `release_worker`, which must come before another process
  uses the same column. It returns the number of slots that another worker is just changing and that are not right
  yet: call it again. What the dead worker had taken from rates, windows and balances stays taken.
- The compiled half needs no lock but for new owners; the pure half locks the file. A table is used by one half at a
  time. A process opens its own `Table` after it was forked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled
from fastanchor._speedups._bucket_file import TableError, prepare
from fastanchor._speedups._bucket_pure import (
    BALANCE,
    GAUGE,
    MINUTE,
    MONEY,
    MOST,
    NEVER,
    NOT_OPEN,
    RATE,
    REQUESTS,
    TOKENS,
    WINDOW,
    Limit,
    Refused,
    TableFull,
)

if TYPE_CHECKING or not compiled("bucket", "Claim"):
    from fastanchor._speedups._bucket_pure import Claim, Table
else:
    from fastanchor._speedups._bucket import Claim, Table

__all__ = ["BALANCE", "GAUGE", "MINUTE", "MONEY", "MOST", "NEVER", "NOT_OPEN", "RATE", "REQUESTS", "TOKENS", "WINDOW",
           "Claim", "Limit", "Refused", "Table", "TableError", "TableFull", "prepare"]
