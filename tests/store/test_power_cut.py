"""A power cut takes what was not forced to the disk: what the books then say, and what they cannot have lost.

The disk of these tests keeps of every journal what an fsync has covered, and of the rest whatever chance leaves: less
of it, zeros or rubbish in its place, or no file at all where its folder was not synced.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from fastanchor.store.audit import verify
from fastanchor.store.entries import BY_RULE, SETTLED
from fastanchor.store.journal import Journal, segments
from fastanchor.store.ledger import Ledger
from fastanchor.store.records import settle_line
from tests.kit.receipts import STARTED, frame, opened, receipt

NOW = STARTED + 5
RESERVED, COST = 9_000, 500
CREDITS = 10_000_000


class Disk:
    """Knows how much of each file an fsync has covered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.covered: dict[int, int] = {}  # inode → bytes
        self.listed: set[str] = set()  # names that a synced folder holds
        self._sync = os.fsync
        monkeypatch.setattr(os, "fsync", self.fsync)

    def fsync(self, file: int) -> None:
        self._sync(file)
        path = Path(os.readlink(f"/proc/self/fd/{file}"))
        if path.is_dir():
            self.listed |= {entry.name for entry in path.iterdir()}
        else:
            self.covered[os.fstat(file).st_ino] = os.fstat(file).st_size

    def cut(self, folder: Path, random: Random) -> None:
        """The power goes: of what was not synced, chance keeps a part."""
        for path in segments(folder):
            size = path.stat().st_size
            covered = self.covered.get(path.stat().st_ino, 0)
            if path.name not in self.listed and not covered and random.random() < 0.5:
                path.unlink()
                continue
            kept = random.randint(covered, size)
            lost = random.randint(0, size - kept)
            with open(path, "r+b") as file:
                file.truncate(kept)
                file.seek(kept)
                file.write(random.choice([b"", bytes(lost), random.randbytes(lost)]))


class Worker:
    """Writes requests of its own names, and knows what was on the disk when."""

    def __init__(self, folder: Path, number: int) -> None:
        self.journal = Journal(folder, f"{number:04d}-{number}-1", segment_bytes=3_000)
        self.number = number
        self.open: list[str] = []
        self.opened: set[str] = set()
        self.settled: set[str] = set()
        self.safely_opened: set[str] = set()
        self.safely_settled: set[str] = set()

    def begin(self) -> None:
        name = f"req_{self.number}_{len(self.opened)}"
        self.journal.require(frame(opened(name, cost=RESERVED)))
        self.open.append(name)
        self.opened.add(name)

    def end(self, random: Random) -> None:
        if self.open:
            name = self.open.pop(random.randrange(len(self.open)))
            self.journal.note(settle_line(receipt(name, cost=COST), metered=True, at=NOW))
            self.settled.add(name)

    def sync(self) -> None:
        mark = self.journal.mark()
        assert self.journal.sync() is None
        self.journal.synced(mark)
        self.safely_opened |= self.opened
        self.safely_settled |= self.settled


SEEDS = [*range(12), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(12, 500))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_takes_nothing_that_was_synced_and_the_books_verify(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    random, disk, folder = Random(seed), Disk(monkeypatch), tmp_path / "journal"
    workers = [Worker(folder, n) for n in range(2)]
    ledger = Ledger(tmp_path / "ledger.db", folder)
    ledger.grant("start", "acme", CREDITS, "start", NOW)
    for _ in range(60):
        worker = random.choice(workers)
        work = random.choices(["begin", "end", "sync", "fold"], [5, 4, 1, 0.5])[0]
        if work == "begin":
            worker.begin()
        elif work == "end":
            worker.end(random)
        elif work == "sync":
            worker.sync()
        else:
            ledger.fold(NOW)
    ledger.close()
    for worker in workers:
        worker.journal.close()
    disk.cut(folder, random)

    ledger = Ledger(tmp_path / "ledger.db", folder)
    ledger.fold(NOW)
    audit = verify(ledger)
    assert (audit.problems, audit.open) == ((), 0)
    with ledger.database.reading() as db:
        rows = {id: (state, cost) for id, state, cost in db.execute("SELECT id, state, cost FROM request")}
    account = ledger.account("acme")
    ledger.close()
    for worker in workers:
        assert worker.safely_opened <= rows.keys()
        assert all(rows[name] == (SETTLED, COST) for name in worker.safely_settled)
    assert all(row in ((SETTLED, COST), (BY_RULE, RESERVED)) for row in rows.values())
    assert account is not None
    assert account.available == CREDITS - sum(cost for _, cost in rows.values())
