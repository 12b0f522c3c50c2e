"""What keys, limits, journal and ledger cost: `python -m bench.books`.

Two requests are taken through the worker's side of the books, one of an open instance (nobody is asked for a key,
nothing is limited) and one of a key with a rate, two token windows, concurrency and credits; then the control process's
side, and keys in great number. Best of several rounds, in microseconds of one core.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import apsw

from fastanchor.core.principal import ANYONE, Plan, Principal
from fastanchor.core.receipt import AttemptRecord, Receipt
from fastanchor.core.snapshot import Snapshot
from fastanchor.core.usage import Usage
from fastanchor.engine.identify import identify
from fastanchor.policy.grants import Grant
from fastanchor.policy.limits import Demand
from fastanchor.settings.secrets import key_digest
from fastanchor.store import shm
from fastanchor.store.admission import Admission
from fastanchor.store.journal import Journal, new_epoch
from fastanchor.store.keyring import Keyring
from fastanchor.store.keys import DATABASE, KeyStore
from fastanchor.store.ledger import Ledger
from fastanchor.store.limiter import Limiter

COUNT = 1_000
ROUNDS = 60
KEYS = 100_000
KEY = "fa-abcdefghijkl-" + "x" * 43
PEPPER = b"pepper"
PAID = Principal(
    "k1", "k1", "acme",
    plan=Plan("paid", requests_per_minute=10**7, tokens_per_minute=10**9, tokens_per_day=10**11,
              concurrent_requests=1_000, credits=10**12),
)  # fmt: skip
DEMAND = Demand(1_000, 500)
USAGE = Usage(900, 50)
RECEIPT = Receipt(
    "", time.time(), "openai_chat", "chat.completions", "127.0.0.1:50000", "k1", "acme", "gpt-4o", "gpt-4o-2024-08-06",
    "main", "openai", True, 200, "done", 1.2345678, 0.3456789, 0.0001234, USAGE, 350, 1_000, 20_000,
    (AttemptRecord("main", "gpt-4o-2024-08-06", 0, "first", "won", 200, 0.0001, 1.2, 0.3, USAGE, 350),),
)  # fmt: skip


class Asked:
    """As much of a request as `identify` looks at."""

    peer = "127.0.0.1:50000"
    query = b""

    def get(self, name: bytes) -> bytes | None:
        return f"Bearer {KEY}".encode() if name == b"authorization" else None


def best(work: Callable[[int], object], between: Callable[[], object] = lambda: None) -> float:
    """Microseconds of one call, in the best round."""
    found = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for n in range(COUNT):
            work(n)
        found.append((time.perf_counter() - began) / COUNT * 1e6)
        between()
    return min(found)


def worker_side(folder: Path) -> tuple[float, float]:
    """One request through the books: of a limited key, and of an open instance."""
    shm.prepare(folder, owners=10, workers=1)
    table, _ = shm.open_tables(folder, 0)
    shm.open_account(table, "acme", 10**15, time.time())
    journal = Journal(folder / "journal", new_epoch(0))
    books = Admission(Limiter(table), journal)
    ids = [f"req_{n:022x}" for n in range(COUNT)]

    def through(world: Snapshot) -> Callable[[int], None]:
        def request(n: int) -> None:
            who = identify(Asked(), world, PEPPER, {})  # type: ignore[arg-type]
            ticket = books.admit(who, DEMAND, ids[n], "gpt-4o")
            books.limiter.headers(ticket, anthropic=False)
            books.attempt(ticket, "main", "gpt-4o-2024-08-06")
            books.close(ticket, RECEIPT)

        return request

    def forget() -> None:
        journal.synced(journal.mark())

    limited = Snapshot(channels=(), auth=True, keys={key_digest(KEY, PEPPER): PAID})
    costs = best(through(limited), forget), best(through(Snapshot(channels=(), auth=False)), forget)
    journal.close()
    return costs


def control_side(folder: Path) -> float:
    """One request folded into the ledger, in batches of a thousand, with their commits."""
    journal = Journal(folder / "journal", new_epoch(0))
    shm.prepare(folder, owners=10, workers=1)
    table, _ = shm.open_tables(folder, 0)
    books = Admission(Limiter(table), journal)
    ledger = Ledger(folder / "ledger.db", folder / "journal")
    found = []
    for batch in range(20):
        for n in range(1_000):
            id = f"req_{batch * 1_000 + n:022x}"
            ticket = books.admit(ANYONE, DEMAND, id, "gpt-4o")
            books.attempt(ticket, "main", "gpt-4o-2024-08-06")
            books.close(ticket, replace(RECEIPT, request_id=id, started=time.time()))
        began = time.process_time()
        ledger.fold(time.time())
        found.append((time.process_time() - began) / 1_000 * 1e6)
    ledger.close()
    journal.close()
    return sorted(found)[len(found) // 2]


def many_keys(folder: Path) -> tuple[float, float, float]:
    """Seconds to load all keys, bytes of memory for each, and microseconds of a look-up with its digest."""
    store = KeyStore(folder / DATABASE, PEPPER)
    store.create(Grant("one"), grantor=None, now=time.time())
    store.close()
    with apsw.Connection(str(folder / DATABASE)) as db:  # copies of the one; the store itself makes one at a time
        names = [column for _, column, *_ in db.execute("PRAGMA table_info(key)")]
        columns = ", ".join({"id": "value", "version": "value + 10"}.get(name, name) for name in names)
        numbers = f"WITH RECURSIVE n(value) AS (VALUES (1) UNION ALL SELECT value + 1 FROM n WHERE value < {KEYS - 1})"
        db.execute(f"{numbers} INSERT INTO key SELECT {columns} FROM key, n")
        db.executemany("INSERT INTO secret VALUES (?, ?, 0, NULL)", ((os.urandom(16), n) for n in range(1, KEYS)))
    before = _resident()
    ring = Keyring(folder / DATABASE, {})
    began = time.perf_counter()
    ring.refresh()
    loaded = time.perf_counter() - began
    size = (_resident() - before) / len(ring.keys)
    world = Snapshot(channels=(), auth=True, keys={key_digest(KEY, PEPPER): PAID} | ring.keys)
    return loaded, size, best(lambda n: identify(Asked(), world, PEPPER, {}))  # type: ignore[arg-type]


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, part) for part in ("worker", "control", "keys")]
        for folder in folders:
            folder.mkdir()
        limited, free = worker_side(folders[0])
        print(f"worker, key with five limits and credits   {limited:6.1f} us per request")
        print(f"worker, open instance                      {free:6.1f} us per request")
        print(f"worker, difference                         {limited - free:6.1f} us per request")
        print(f"control, folding                           {control_side(folders[1]):6.1f} us per request")
        loaded, size, found = many_keys(folders[2])
        print(f"{KEYS} keys: loaded in {loaded:.2f} s, {size:.0f} bytes each, found in {found:.2f} us")


if __name__ == "__main__":
    main()
