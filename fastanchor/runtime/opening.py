"""What an instance does before anybody may ask: keys are read, limits and accounts are open, code is loaded.

Only the supervisor does this, before it forks: no worker of this state directory lives.
"""

from __future__ import annotations

import logging
from pathlib import Path

from fastanchor.dialects.registry import DIALECTS, dialect
from fastanchor.providers import catalogue
from fastanchor.providers.registry import provider
from fastanchor.settings.compile import Settings
from fastanchor.store import shm
from fastanchor.store.bookkeeper import Bookkeeper
from fastanchor.store.keyring import Keyring
from fastanchor.store.keys import DATABASE
from fastanchor.store.sqlite import StoreError

log = logging.getLogger("fastanchor")

BUSY_MILLISECONDS = 500
"""For so long a locked ledger may hold up the start."""


def words(settings: Settings) -> None:
    """Load what the first requests will speak, once and for all processes: providers, dialects, the known models."""
    dialect("openai_chat")
    for name in {channel.provider for channel in settings.snapshot.channels}:
        provider(name)
        if name in DIALECTS:
            dialect(name)
    catalogue.models()


def keys(state_dir: Path, settings: Settings) -> Keyring:
    """The keys of the store."""
    ring = Keyring(state_dir / DATABASE, settings.snapshot.plans, settings.snapshot.organizations)
    refresh(ring)
    return ring


def refresh(ring: Keyring) -> None:
    """Take over what has changed; a store that cannot be read is told, and asked again later."""
    try:
        ring.refresh()
    except StoreError as error:
        log.error("the keys of the store are not known yet: %s", error)


def books(state_dir: Path, settings: Settings, ring: Keyring, *, seats: int) -> None:
    """Make the tables ready, take from them what dead workers held, fold what these left, and open all accounts.

    A ledger that cannot be used stops nothing: limits and balances are then what they were.

    Raises:
        TableError, OSError: the tables cannot be made.
    """
    holders = [*settings.snapshot.keys.values(), *ring.keys.values()]
    shm.prepare(state_dir, owners=2 * len(holders), workers=seats)
    shm.release_everyone(state_dir)
    table, addresses = shm.open_tables(state_dir)
    keeper = Bookkeeper(state_dir, table, rule=settings.server.ledger.lost_requests, busy=BUSY_MILLISECONDS)
    keeper.expect(holders)
    keeper.step()
    keeper.close()
    addresses.close()
    table.close()
