"""What the command line does with an instance's books: keys, usage, and the proof that the books add up.

It opens the databases themselves, so that it works whether the instance runs or not; a running one learns of changed
keys through the shared table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastanchor.store import shm
from fastanchor.store.bookkeeper import DATABASE as LEDGER
from fastanchor.store.bookkeeper import JOURNAL
from fastanchor.store.keys import DATABASE as KEYS
from fastanchor.store.keys import KeyStore
from fastanchor.store.ledger import Ledger
from fastanchor.store.pepper import load_pepper


@contextmanager
def keys(state_dir: Path) -> Iterator[KeyStore]:
    """The key store of an instance. Raises StoreError, PepperError, OSError."""
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (state_dir / shm.LIMITS).exists():
        shm.prepare(state_dir, owners=0, workers=1)
    table, _ = shm.open_tables(state_dir)
    store = KeyStore(
        state_dir / KEYS, load_pepper(state_dir / "pepper"), changed=lambda: table.bump(shm.KEYS_CHANGED)
    )
    try:
        yield store
    finally:
        store.close()
        table.close()


@contextmanager
def ledger(state_dir: Path) -> Iterator[Ledger]:
    """The ledger of an instance. Raises StoreError."""
    found = Ledger(state_dir / LEDGER, state_dir / JOURNAL)
    try:
        yield found
    finally:
        found.close()
