"""Forces a journal to the disk in groups, and lets a request wait until its record is there.

The only threads are the ones in which `fsync` runs, one at a time.
"""

from __future__ import annotations

import logging
import time
from typing import Final, Literal

import trio

from fastanchor.store.journal import PROBE_SECONDS, Journal, JournalFailed

log = logging.getLogger("fastanchor")

Policy = Literal["none", "group", "every"]
GROUP_SECONDS: Final = 0.05


class JournalSync:
    """Runs beside the requests of one worker.

    Args:
        policy: "none": never; "group": every `group` seconds; "every": as soon as someone waits in `durable`.

    Raises:
        ValueError: the journal was made without `keep_unsynced`, which only "none" can do without.
    """

    def __init__(self, journal: Journal, policy: Policy = "group", group: float = GROUP_SECONDS) -> None:
        if policy != "none" and not journal.remembers:
            raise ValueError("a journal that is synced must remember what was not synced yet")
        self.journal = journal
        self.policy: Policy = policy
        self._group = group
        self._wanted = trio.Event()
        self._done = trio.Event()

    async def durable(self) -> None:
        """Wait until everything appended so far is on the disk ("every"); else return at once.

        Raises:
            JournalFailed: it did not get there.
        """
        if self.policy != "every":
            return
        done = self._done
        self._wanted.set()
        await done.wait()
        if self.journal.failed:
            raise JournalFailed(self.journal.failure)

    async def run(self) -> None:
        """Sync, and probe a failed journal, until cancelled; then sync once more."""
        try:
            while True:
                await self._pause()
                self._recover()
                await self._sync()
        finally:
            with trio.CancelScope(shield=True):
                await self._sync()

    async def _pause(self) -> None:
        seconds = PROBE_SECONDS if self.policy == "none" or self.journal.failed else self._group
        if self.policy != "every":
            await trio.sleep(seconds)
            return
        with trio.move_on_after(PROBE_SECONDS):
            await self._wanted.wait()

    def _recover(self) -> None:
        if self.journal.failed and self.journal.probe(time.time()):
            log.warning("the journal can be written again")

    async def _sync(self) -> None:
        self._wanted, done, self._done = trio.Event(), self._done, trio.Event()
        mark = self.journal.mark()
        if self.policy != "none" and mark and not self.journal.failed:
            error = await trio.to_thread.run_sync(self.journal.sync)
            if error is None:
                self.journal.synced(mark)
            else:
                self.journal.sync_failed(error)
                log.error("%s", self.journal.failure)
        done.set()
