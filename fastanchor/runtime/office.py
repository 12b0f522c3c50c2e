"""The databases of the control process: the one writer of the ledger, and the keys.

All of it is synchronous and runs in threads; a database that cannot be used costs its own pages a 503.
"""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import trio

from fastanchor.control.accounts import Accounts
from fastanchor.control.credits import Credits
from fastanchor.control.keys import Keys
from fastanchor.core.principal import Principal
from fastanchor.settings.compile import Settings
from fastanchor.store import shm
from fastanchor.store.bodies import FOLDER, Bodies
from fastanchor.store.bookkeeper import JOURNAL, Bookkeeper
from fastanchor.store.journal import alive
from fastanchor.store.keyring import INTERVAL, Keyring
from fastanchor.store.keys import DATABASE, KeyStore
from fastanchor.store.sqlite import StoreError

log = logging.getLogger("fastanchor")


class Office:
    """Made in the control process, after it was forked.

    Args:
        ring: the keys as they were known then.
    """

    def __init__(self, state_dir: Path, settings: Settings, pepper: bytes, ring: Keyring) -> None:
        self.state_dir = state_dir
        self.settings = settings
        self.pepper = pepper
        self.ring = ring
        self.table, _ = shm.open_tables(state_dir)
        ledger = settings.server.ledger
        self.bodies = Bodies(state_dir / FOLDER)
        self.keeper = Bookkeeper(
            state_dir, self.table, rule=ledger.lost_requests, retention=ledger.retention_days * 86_400,
            expired=self.bodies.expire,
        )
        self._store: KeyStore | None = None
        self._making = threading.Lock()

    def take(self, settings: Settings) -> None:
        """Take over a new configuration."""
        self.settings = settings
        self.ring.replan(settings.snapshot.plans, settings.snapshot.organizations)
        self.refresh()
        self.keeper.expect([*settings.snapshot.keys.values(), *self.ring.keys.values()])

    def refresh(self) -> None:
        """Learn of changed keys, and see to it that their accounts are open."""
        try:
            self.keeper.expect(self.ring.refresh())
        except StoreError as error:
            log.error("keys cannot be read: %s", error)

    async def follow(self) -> None:
        """Learn of keys that another process has changed, until cancelled."""
        await trio.to_thread.run_sync(self.take, self.settings)
        seen = -1
        while True:
            now = self.table.counter(shm.KEYS_CHANGED)
            if now != seen:
                seen = now
                await trio.to_thread.run_sync(self.refresh)
            await trio.sleep(INTERVAL)

    def keys(self) -> Keys:
        """Raises StoreError."""
        with self._making:
            if self._store is None:
                self._store = KeyStore(self.state_dir / DATABASE, self.pepper, changed=self._changed)
            self._store.prefix = self.settings.server.key_prefix
        return Keys(self._store, self._holder, self.settings.snapshot.plans)

    def accounts(self) -> Accounts:
        """Raises StoreError."""
        return Accounts(self.keeper.ledger, self.bodies)

    def credits(self) -> Credits:
        """Raises StoreError."""
        return Credits(self.keeper)

    def standing(self) -> dict[str, int]:
        """The books in numbers, for metrics."""
        noted = {name: self.table.counter(index) for name, index in shm.NOTED.items()}
        return {**self.keeper.standing(), **noted}

    def lives(self, epoch: str) -> bool:
        """Whether the worker that writes this epoch's journal is still there."""
        return alive(self.state_dir / JOURNAL, epoch)

    def close(self) -> None:
        """Fold what the workers have left, and let go of everything."""
        self.keeper.step()
        self.keeper.close()
        if self._store is not None:
            self._store.close()
        self.table.close()

    def _changed(self) -> None:
        self.refresh()
        self.table.bump(shm.KEYS_CHANGED)

    def _holder(self, key_id: str) -> Principal | None:
        holders = (*self.ring.keys.values(), *self.settings.snapshot.keys.values())
        return next((principal for principal in holders if principal.key_id == key_id), None)
