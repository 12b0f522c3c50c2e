"""A worker's side of the books, put together: shared limits, its journal, and the task that syncs it.

A journal that cannot be written makes the worker unready and says why; it recovers by itself.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import trio

from fastanchor.runtime.phase import Phase
from fastanchor.settings.compile import Settings
from fastanchor.store import shm
from fastanchor.store.admission import Admission
from fastanchor.store.bookkeeper import JOURNAL
from fastanchor.store.journal import Journal, new_epoch
from fastanchor.store.journal_sync import JournalSync
from fastanchor.store.keyring import Keyring
from fastanchor.store.keys import DATABASE
from fastanchor.store.sqlite import StoreError

log = logging.getLogger("fastanchor")

CHECK_SECONDS = 0.25
PROBLEM = "journal"


class Books:
    """What one worker needs to admit and account."""

    def __init__(self, state_dir: Path, slot: int, settings: Settings) -> None:
        ledger = settings.server.ledger
        self.limits, self.addresses = shm.open_tables(state_dir, slot)
        self.journal = Journal(state_dir / JOURNAL, new_epoch(slot), keep_unsynced=ledger.fsync != "none")
        self.sync = JournalSync(self.journal, ledger.fsync, ledger.group_seconds)
        self.admission = Admission(shm.Limiter(self.limits), self.journal)
        self.strangers = shm.Strangers(self.addresses)
        self.ring = Keyring(state_dir / DATABASE, settings.snapshot.plans)
        self._refresh()

    async def run(self, phase: Phase) -> None:
        """Sync the journal, and tell of its troubles, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sync.run)
            nursery.start_soon(self.ring.follow, self.limits)
            nursery.start_soon(self._watch, phase)

    def replan(self, settings: Settings) -> None:
        """Take over the plans of a new configuration."""
        self.ring.replan(settings.snapshot.plans)
        self._refresh()

    def _refresh(self) -> None:
        try:
            self.ring.refresh()
        except StoreError as error:
            log.error("keys of the store are not known yet: %s", error)

    async def _watch(self, phase: Phase) -> None:
        while True:
            if self.journal.failed:
                phase.problems[PROBLEM] = f"the journal cannot be written: {self.journal.failure}"
                self.journal.probe(time.time())
            else:
                phase.problems.pop(PROBLEM, None)
            await trio.sleep(CHECK_SECONDS)

    def close(self) -> None:
        """Close the journal and the tables; what the worker holds has been settled before."""
        self.journal.close()
        self.limits.close()
        self.addresses.close()
