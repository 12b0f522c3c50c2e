"""What the command line does with an instance's books: keys, credits, usage, and the proof that the books add up.

It opens the databases themselves, so that it works whether the instance runs or not; a running one learns of changed
keys through the shared table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastanchor._speedups.bucket import Table
from fastanchor.store import shm
from fastanchor.store.bookkeeper import DATABASE as LEDGER
from fastanchor.store.bookkeeper import JOURNAL, Bookkeeper
from fastanchor.store.keys import DATABASE as KEYS
from fastanchor.store.keys import PREFIX, KeyStore
from fastanchor.store.ledger import Ledger
from fastanchor.store.pepper import load_pepper


@contextmanager
def keys(state_dir: Path, prefix: str = PREFIX) -> Iterator[KeyStore]:
    """The key store of an instance; new keys start with `prefix`. Raises StoreError, PepperError, OSError."""
    with _table(state_dir) as table:
        pepper = load_pepper(state_dir / "pepper")
        store = KeyStore(state_dir / KEYS, pepper, prefix=prefix, changed=lambda: table.bump(shm.KEYS_CHANGED))
        try:
            yield store
        finally:
            store.close()


@contextmanager
def bookkeeper(state_dir: Path) -> Iterator[Bookkeeper]:
    """One who gives credits, in the ledger and to admission. Its methods raise StoreError."""
    with _table(state_dir) as table:
        keeper = Bookkeeper(state_dir, table)
        try:
            yield keeper
        finally:
            keeper.close()


@contextmanager
def _table(state_dir: Path) -> Iterator[Table]:
    """The limits of an instance, made when there are none yet."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (state_dir / shm.LIMITS).exists():
        shm.prepare(state_dir, owners=0, workers=1)
    table, addresses = shm.open_tables(state_dir)
    addresses.close()
    try:
        yield table
    finally:
        table.close()


@contextmanager
def ledger(state_dir: Path) -> Iterator[Ledger]:
    """The ledger of an instance. Raises StoreError."""
    found = Ledger(state_dir / LEDGER, state_dir / JOURNAL)
    try:
        yield found
    finally:
        found.close()
