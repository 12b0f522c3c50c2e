"""A worker's side of the books, put together: shared limits, its journal, the keys, and the tasks that keep them.

A journal that cannot be written makes the worker unready and says why; it recovers by itself. A ledger that cannot be
used is told, and nothing else: the control process says so, and if nothing is heard of it that is told, too.
"""

from __future__ import annotations

import logging
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
from fastanchor.store.limiter import Limiter, Strangers
from fastanchor.store.sqlite import StoreError

log = logging.getLogger("fastanchor")

CHECK_SECONDS = 0.25
SILENCE_SECONDS = 15.0
"""Without a word from the control process for so long, its absence is told."""


class Books:
    """What one worker needs to admit and account.

    Args:
        seat: the column of the shared tables that is this process's.
        ring: the keys as they were known when the process began.
    """

    def __init__(self, state_dir: Path, seat: int, settings: Settings, ring: Keyring) -> None:
        ledger = settings.server.ledger
        self.limits, self.addresses = shm.open_tables(state_dir, seat)
        self.journal = Journal(state_dir / JOURNAL, new_epoch(seat), keep_unsynced=ledger.fsync != "none")
        self.sync = JournalSync(self.journal, ledger.fsync, ledger.group_seconds)
        durable = self.sync.durable if ledger.fsync == "every" else None
        self.admission = Admission(Limiter(self.limits), self.journal, durable=durable)
        self.strangers = Strangers(self.addresses)
        self.ring = ring
        self._heard = trio.current_time()
        self._ledger_trouble = ""

    async def run(self, phase: Phase) -> None:
        """Sync the journal, follow the keys, and tell of troubles, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.sync.run)
            nursery.start_soon(self.ring.follow, self.limits)
            nursery.start_soon(self._watch, phase)

    async def replan(self, settings: Settings) -> None:
        """Take over the plans of a new configuration. Many keys take a while: in a thread."""
        self.ring.replan(settings.snapshot.plans, settings.snapshot.organizations)
        try:
            await trio.to_thread.run_sync(self.ring.refresh)
        except StoreError as error:
            log.error("the keys of the store keep their plans for now: %s", error)

    def heard(self, ledger_trouble: str) -> None:
        """The control process has spoken: what is wrong with the ledger, or nothing."""
        self._heard = trio.current_time()
        self._ledger_trouble = ledger_trouble

    def state(self) -> dict[str, int]:
        """Journal and keys in numbers, for metrics."""
        journal = self.journal
        return {
            "failed": journal.failed, "failures": journal.failures, "kept": journal.kept, "dropped": journal.dropped,
            "keys_stale": bool(self.ring.trouble),
        }

    async def _watch(self, phase: Phase) -> None:
        while True:
            silent = trio.current_time() - self._heard > SILENCE_SECONDS
            _tell(phase.problems, "journal", self.journal.failure)
            _tell(phase.warnings, "ledger", self._ledger_trouble)
            _tell(phase.warnings, "keys", self.ring.trouble)
            _tell(phase.warnings, "control", "the control process does not answer" if silent else "")
            await trio.sleep(CHECK_SECONDS)

    def close(self) -> None:
        """Close the journal and the tables; what the worker holds has been settled before."""
        self.journal.close()
        self.limits.close()
        self.addresses.close()


def _tell(sentences: dict[str, str], name: str, sentence: str) -> None:
    if sentence:
        sentences[name] = sentence
    else:
        sentences.pop(name, None)
