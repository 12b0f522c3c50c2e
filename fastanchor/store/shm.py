"""Limits and balances in memory that all workers of a machine share: their files, what a dead worker held, accounts.

    state_dir/limits.table      one slot per key, one per organisation that has limits or pays with credits
    state_dir/addresses.table   one slot per address that has tried an unknown key

Rules:
- `prepare` runs once, in the process that starts the instance, before any other opens a table; a process opens its own
  after it was forked.
- What a killed worker held is given back by `release_worker` where it is a place (concurrency); what it had taken from
  rates, windows and credits stays taken, as the ledger charges its open requests by their estimates.
- A balance here is what admission may spend. The ledger's is the truth: it opens accounts (`open_account`) and sets
  them right while nothing of the organisation is open (`reconcile`). Credits without an open account admit nobody.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastanchor._speedups import bucket
from fastanchor._speedups.bucket import Table
from fastanchor.policy.limits import SECOND
from fastanchor.store.limiter import organization_owner

LIMITS: Final = "limits.table"
ADDRESSES: Final = "addresses.table"
KEYS_CHANGED: Final = 0
"""The counter of the limits table that moves when keys change."""
NOTED: Final = {"restart": 1, "reload": 2, "refusal": 3}
"""Counters of what has happened to the instance, for metrics."""

LEAST_OWNERS: Final = 16_384
ADDRESS_SLOTS: Final = 16_384


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
        if sum(map(table.release_worker, range(table.workers))):  # changes that were under way have now been ended
            for worker in range(table.workers):
                table.release_worker(worker)
        table.close()


def note(state_dir: Path, what: str) -> None:
    """Count something that has happened to the instance (see `NOTED`)."""
    table = Table(state_dir / LIMITS, -1)
    table.bump(NOTED[what])
    table.close()


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
