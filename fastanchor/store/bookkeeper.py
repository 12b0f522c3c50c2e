"""The one who writes the ledger: folds journals, opens accounts, and keeps admission's balances true to the books.

Rules:
- Whatever is wrong with the database is told (`trouble`, the log) and tried again. Requests go on meanwhile: their
  journals grow, and balances are what admission last knew.
- Accounts are opened before a key is used: until then its requests are answered with 503.
- Credits are journalled too, once they are in the ledger: one that was destroyed is made again from the journals, and
  takes the credits that these name before it grants any anew.
- It may be called from any thread; one at a time does something.
- The starting credits of a plan are granted to an organisation once, however many of its keys have the plan; those of
  the organisation itself once, beside them.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import trio

from fastanchor._speedups.bucket import Table
from fastanchor.core.principal import Principal
from fastanchor.store import shm
from fastanchor.store.entries import Rule
from fastanchor.store.journal import CREDITS, Journal, new_epoch, segments
from fastanchor.store.ledger import Grant, Ledger
from fastanchor.store.records import credit_line
from fastanchor.store.sqlite import Busy, StoreError

log = logging.getLogger("fastanchor")

DATABASE: Final = "ledger.db"
JOURNAL: Final = "journal"
INTERVAL: Final = 0.2
BUSY_INTERVAL: Final = 1.0
BUSY: Final = 1_000  # records at once
LONGEST_PAUSE: Final = 5.0
RETENTION: Final = 90 * 86_400.0
EXPIRE_EVERY: Final = 3_600.0


class Bookkeeper:
    """Runs in the control process.

    Args:
        table: the table of limits, opened without a worker.
        rule: what a request costs whose worker died.
        retention: seconds for which requests and their journals are kept.
        expired: told before which time (unix seconds) nothing is kept any more.
    """

    def __init__(
        self, state_dir: Path, table: Table, *, rule: Rule = "estimate", retention: float = RETENTION,
        expired: Callable[[float], None] = lambda before: None, wall: Callable[[], float] = time.time,
        busy: int = 5_000,
    ) -> None:
        self._state_dir = state_dir
        self._table = table
        self._rule: Rule = rule
        self._retention = retention
        self._forget = expired
        self._wall = wall
        self._busy = busy
        self._lock = threading.RLock()
        self._ledger: Ledger | None = None
        self._journal: Journal | None = None  # of credits, made with the first
        self._unsure: set[str] = set()
        self._wanted: dict[str, Grant] = {}  # starting credits by their id
        self._opened: set[Grant] = set()
        self._expired = 0.0
        self.trouble = ""
        self.records = 0
        self.damaged = 0
        self.lost = 0

    @property
    def ledger(self) -> Ledger:
        """The ledger, opened when it is first needed. Raises StoreError."""
        with self._lock:
            if self._ledger is None:
                path, folder = self._state_dir / DATABASE, self._state_dir / JOURNAL
                self._ledger = Ledger(path, folder, rule=self._rule, busy=self._busy)
                self._unsure |= self._ledger.accounts().keys()
            return self._ledger

    @property
    def behind(self) -> int:
        """Bytes of journals that wait to be folded, as far as is known: without a ledger all of them."""
        ledger = self._ledger
        folder = self._state_dir / JOURNAL
        return unfolded(folder, {} if ledger is None else ledger.sizes)

    def standing(self) -> dict[str, int]:
        """How the books are, in numbers."""
        return {
            "trouble": bool(self.trouble), "behind": self.behind, "records": self.records, "damaged": self.damaged,
            "lost": self.lost,
        }

    def expect(self, principals: Iterable[Principal]) -> None:
        """Open the accounts of these keys' organisations, now or as soon as the ledger can be used."""
        with self._lock:
            for principal in principals:
                self._wanted |= {grant.id: grant for grant in starting_credits(principal) if grant not in self._opened}
            if not self._wanted:  # and so the ledger is not asked, and nothing is known of it
                return
        self._try(self._open_accounts)

    def step(self) -> bool:
        """Do what there is to do. Returns whether the ledger could be used."""
        return self._try(self._work)

    async def run(self, interval: float = INTERVAL) -> None:
        """Do it again and again, in a thread, until cancelled."""
        pause = interval
        while True:
            before = self.records
            done = await trio.to_thread.run_sync(self.step)
            pause = rest(self.records - before, interval) if done else min(LONGEST_PAUSE, pause * 2)
            await trio.sleep(pause)

    def close(self) -> None:
        """Let go of the database and of the journal. They are opened anew when they are needed again."""
        with self._lock:
            self._let_go()
            journal, self._journal = self._journal, None
            if journal is not None:
                journal.close()

    def _let_go(self) -> None:
        ledger, self._ledger = self._ledger, None
        if ledger is not None:
            ledger.close()

    def _try(self, work: Callable[[], None]) -> bool:
        try:
            with self._lock:
                work()
        except StoreError as error:
            self._failed(error)
            return False
        if self.trouble:
            log.warning("the ledger can be used again")
        self.trouble = ""
        return True

    def _failed(self, error: StoreError) -> None:
        """Tell of it, once. The file may be replaced before it is tried again: what is open is let go of."""
        if str(error) != self.trouble:
            log.error("the ledger cannot be used, journals keep everything until it can: %s", error)
        self.trouble = str(error)
        if not isinstance(error, Busy):
            with contextlib.suppress(StoreError):
                self._let_go()

    def _work(self) -> None:
        self._open_accounts()
        self._fold()
        self._reconcile()
        if self._journal is not None:
            self._journal.probe(self._wall())
        if self._wall() - self._expired > EXPIRE_EVERY:
            before = self._wall() - self._retention
            self.ledger.expire(before)
            self._forget(before)
            self._expired = self._wall()

    def _reconcile(self) -> None:
        """Make admission's balances true, where they may not be."""
        accounts = self.ledger.accounts() if self._unsure else {}
        for organization in sorted(self._unsure):
            account = accounts.get(organization)
            told = None if account is None or account.held else account.available
            agrees = told is not None and shm.agrees(self._table, organization, told)
            available = partial(self._available, organization)
            if agrees or shm.reconcile(self._table, organization, available, self._wall()):
                self._unsure.discard(organization)

    def _fold(self) -> None:
        done = self.ledger.fold(self._wall())
        self.records += done.records
        self.damaged += done.damaged
        self.lost += done.lost
        self._unsure |= done.organizations
        if done.deaths:  # what they had taken from balances and not written down yet is nobody's
            self._unsure |= self.ledger.accounts().keys()
        if done.damaged:
            log.error("%d damaged records in the journals were passed over", done.damaged)
        if done.lost:
            log.warning("%d requests of dead workers were settled by rule", done.lost)

    def _available(self, organization: str) -> int | None:
        """What the books say, with everything folded; None while the organisation has open requests."""
        self._fold()
        account = self.ledger.account(organization)
        if account is None:
            return 0
        return None if account.held else account.available

    def _open_accounts(self) -> None:
        if not self._wanted:
            return
        ledger, wall, grants = self.ledger, self._wall(), list(self._wanted.values())
        if not ledger.sizes:  # a new one, or made again
            self._fold()
        new = ledger.grant_all(grants, wall)
        self._journalled([grant for grant in grants if grant.id in new], wall)
        accounts = ledger.accounts()
        for grant in grants:
            if grant.id in new:
                shm.add_credits(self._table, grant.organization, grant.amount, wall)
            account = accounts.get(grant.organization)
            shm.open_account(self._table, grant.organization, account.available if account else 0, wall)
            self._unsure.add(grant.organization)
        self._opened.update(grants)
        self._wanted.clear()

    def top_up(self, id: str, organization: str, micro: int, reason: str) -> bool:
        """Give credits, once per `id`. Returns whether this was the first time. Raises StoreError."""
        with self._lock:
            wall = self._wall()
            first = self.ledger.grant(id, organization, micro, reason, wall)
            if first:
                self._journalled([Grant(id, organization, micro, reason)], wall)
                shm.add_credits(self._table, organization, micro, wall)
                self._unsure.add(organization)
            return first


    def _journalled(self, grants: list[Grant], wall: float) -> None:
        """Note what was given at a time; a journal that cannot be written takes it later."""
        if not grants:
            return
        try:
            journal = self._journal or Journal(self._state_dir / JOURNAL, new_epoch(CREDITS), keep_unsynced=False)
        except OSError as error:
            log.error("credits are in the ledger, but in no journal: %s", error)
            return
        self._journal = journal
        for grant in grants:
            journal.note(credit_line(grant.id, wall, grant.organization, grant.amount, grant.reason))
        failure = journal.sync()
        if journal.failed or failure is not None:
            log.error("credits are in the ledger, but not in a journal yet: %s", journal.failure or failure)


def rest(records: int, interval: float) -> float:
    """Seconds until the next fold, after one that has found so many records. The more there were, the more may come
    together: what a fold costs by itself is shared by them."""
    return max(interval, BUSY_INTERVAL * min(1.0, records / BUSY))


def starting_credits(principal: Principal) -> list[Grant]:
    """What a key's plan and its organisation bring when they are first heard of."""
    organization, plan, shared = principal.organization, principal.plan, principal.shared
    grants = []
    if plan.credits is not None:
        grants.append(Grant(f"plan:{plan.name}:{organization}", organization, plan.credits, f"plan {plan.name}"))
    if shared is not None and shared.credits is not None:
        grants.append(Grant(f"organization:{organization}", organization, shared.credits, "organization"))
    return grants


def unfolded(folder: Path, sizes: Mapping[str, int]) -> int:
    """Bytes of journals beyond what is known to be folded of each segment."""
    total = 0
    for path in segments(folder):
        with contextlib.suppress(FileNotFoundError):  # retention has just removed it
            total += path.stat().st_size - sizes.get(path.name, 0)
    return total
