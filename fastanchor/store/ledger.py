"""The ledger: what the journals say, folded into one database, once.

Every micro-dollar of an organisation is in one of three places, and only moves between them:

    granted = available + held + spent

An `open` record moves its reservation from available to held. A `settle` record moves it back, and the cost from
available to spent. A request whose worker died is settled by rule. Requests of plans without credits are recorded with
their cost and move nothing.

Rules:
- How far a journal was read is committed together with what it said: no record is lost or taken twice. What was read
  is forced to the disk before: a power cut never leaves the ledger ahead of the journals.
- A record that stands in the journals twice (it was written again after a failed sync) is taken once, by its request's
  id.
- Whether a worker is dead is asked before its journal is read to the end: what is still open then stays open for ever.
- All amounts are integers, micro-dollars; counts larger than the database holds are cut.
- How records become rows and movements of credits is in `entries`.
- Nothing here is needed to serve a request: while the database is locked, full or damaged, journals grow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from fastanchor.store.entries import Rule, give, lose, rows, take
from fastanchor.store.journal import CREDITS, alive, epoch_of, segments
from fastanchor.store.migrations import ledger as schema
from fastanchor.store.records import Credit, scan
from fastanchor.store.sqlite import Database, Unwritable

BATCH_BYTES: Final = 4 * 1024 * 1024
_MOST: Final = (1 << 62) - 1


class Folded(NamedTuple):
    """What one `fold` did. `organizations`: whose accounts have changed."""

    records: int
    damaged: int
    lost: int  # requests settled by rule
    deaths: int  # workers found dead
    organizations: frozenset[str]


class Grant(NamedTuple):
    """Credits to be given: micro-dollars, to an organisation, once per id."""

    id: str
    organization: str
    amount: int
    reason: str


@dataclass(frozen=True, slots=True)
class Account:
    """An organisation's credits, in micro-dollars."""

    granted: int
    available: int
    held: int
    spent: int


class Ledger:
    """The database at `path`, fed from the journals in `folder`.

    Raises:
        StoreError: the database cannot be used (see `sqlite`).
    """

    def __init__(self, path: Path, folder: Path, *, rule: Rule = "estimate", busy: int = 5_000) -> None:
        self.folder = folder
        self.database = Database(path, schema.APPLICATION, schema.STEPS, busy=busy)
        self._rule: Rule = rule
        self.sizes: dict[str, int] = {}  # how far each segment was folded, as far as is known here
        self._done: set[str] = set()  # segments that have nothing more to say
        self._closed: set[str] = set()  # epochs whose workers are dead and that leave nothing open
        self._silent: set[str] = set()  # epochs without a segment
        with self.database.reading() as db:
            for name, size, done in rows(db, "SELECT name, size, done FROM segment"):
                self.sizes[name] = size
                self._finish(name, bool(done))

    def fold(self, now: float) -> Folded:
        """Take in what the journals have gained; settle what dead workers left open. Raises StoreError."""
        epochs = {epoch_of(path) for path in segments(self.folder)} - self._closed
        living = {epoch: alive(self.folder, epoch) for epoch in epochs}
        found = [path for path in segments(self.folder) if epoch_of(path) in living]  # all that the dead have left
        records = damaged = lost = 0
        touched: set[str] = set()
        for path in found:
            more = path.name not in self._done
            while more:
                step = self._fold_part(path, not living[epoch_of(path)], touched)
                records, damaged, more = records + step.records, damaged + step.damaged, step.more
        dead = sorted(epoch for epoch, lives in living.items() if not lives)
        for epoch in dead:
            lost += self._settle_lost(epoch, now, touched)
            self._closed.add(epoch)
        return Folded(records, damaged, lost, len(dead) + self._unheard(epochs), frozenset(touched))

    def _unheard(self, heard: set[str]) -> int:
        """How many workers have died without a word in a journal, as far as nobody was told of them before."""
        gone = {
            epoch
            for epoch in {lock.name.removesuffix(".lock") for lock in self.folder.glob("*.lock")}
            - heard - self._closed - self._silent
            if not alive(self.folder, epoch)
        }  # fmt: skip
        self._silent |= gone
        return len(gone)

    def _fold_part(self, path: Path, dead: bool, touched: set[str]) -> _Part:
        """Take in up to BATCH_BYTES of one segment, in one transaction."""
        offset = self.sizes.get(path.name, 0)
        data = _read(path, offset)
        found = scan(data)
        if not found.size and len(data) == BATCH_BYTES:  # no end of line in so much: pass over it as damage
            found = found._replace(size=len(data), damaged=1)
        last = len(data) < BATCH_BYTES
        done = dead and last
        if not found.size and not done:
            return _Part(0, 0, False)
        with self.database.transaction() as db:
            row: Any = db.execute("SELECT size, done FROM segment WHERE name = ?", (path.name,)).fetchone()
            known, finished = row or (0, 0)
            if known != offset or finished:  # learned before this process began, or by another
                self.sizes[path.name] = known
                return _Part(0, 0, not self._finish(path.name, bool(finished)))
            take(db, found.records, epoch_of(path), touched)
            torn = len(data) - found.size if done else 0
            size = offset + found.size
            db.execute(_SEGMENT, (path.name, epoch_of(path), size, len(found.records), found.damaged, torn, done))
        self.sizes[path.name] = size
        self._finish(path.name, done)
        return _Part(len(found.records), found.damaged, not last)

    def _finish(self, name: str, done: bool) -> bool:
        if done:
            self._done.add(name)
        return done

    def _settle_lost(self, epoch: str, now: float, touched: set[str]) -> int:
        """Settle what a dead worker left open. Returns how many requests that were."""
        query = "SELECT id FROM request WHERE epoch = ? AND state = 0"
        with self.database.reading() as db:
            if db.execute(query, (epoch,)).fetchone() is None:
                return 0
        with self.database.transaction() as db:
            ids: list[str] = [id for (id,) in rows(db, query, (epoch,))]
            for id in ids:
                lose(db, id, now, self._rule, touched)
        return len(ids)

    def grant(self, id: str, organization: str, amount: int, reason: str, now: float) -> bool:
        """Give credits (or take them, when negative), once per `id`. Returns whether this was the first time."""
        return bool(self.grant_all([Grant(id, organization, amount, reason)], now))

    def grant_all(self, grants: Iterable[Grant], now: float) -> set[str]:
        """Give many credits at once, each once per `id`. Returns the ids that were new."""
        new: set[str] = set()
        with self.database.transaction() as db:
            for id, organization, amount, reason in grants:
                if abs(amount) > _MOST:
                    raise ValueError("an amount of credits is out of range")
                if give(db, Credit(id, now, organization, amount, reason), set()):
                    new.add(id)
        return new

    def account(self, organization: str) -> Account | None:
        """An organisation's credits, or None when it never had any."""
        with self.database.reading() as db:
            row: Any = db.execute(
                "SELECT granted, available, held, spent FROM account WHERE organization = ?", (organization,)
            ).fetchone()
        return Account(*row) if row else None

    def accounts(self) -> dict[str, Account]:
        """All of them by organisation."""
        with self.database.reading() as db:
            found = rows(db, "SELECT organization, granted, available, held, spent FROM account")
        return {organization: Account(*amounts) for organization, *amounts in found}

    def expire(self, before: float) -> int:
        """Forget requests that started before a time (unix seconds), and journals last written before it.

        What they cost stays in the accounts and in the usage by day. Returns how many requests that were.
        """
        with self.database.transaction() as db:
            spent = rows(
                db,
                "SELECT organization, sum(cost) FROM request WHERE opened < ? AND state > 0 AND metered GROUP BY 1",
                (before,),
            )
            for organization, cost in spent:
                db.execute("UPDATE account SET archived = archived + ? WHERE organization = ?", (cost, organization))
            db.execute("DELETE FROM request WHERE opened < ? AND state > 0", (before,))
            count = db.changes()
            db.execute("UPDATE fact SET value = max(value, ?) WHERE name = 'expired_before'", (before,))
            done: list[str] = [name for (name,) in rows(db, "SELECT name FROM segment WHERE done")]
        self._remove(done, before)
        return count

    def _remove(self, names: list[str], before: float) -> None:
        """Delete journals that were folded and are old, and the lock files of epochs that have none left. Those of
        credits stay."""
        for name in names:
            path = self.folder / name
            if CREDITS not in name and path.exists() and path.stat().st_mtime < before:
                path.unlink()
        left = {epoch_of(path) for path in segments(self.folder)}
        for lock in self.folder.glob("*.lock"):
            epoch = lock.name.removesuffix(".lock")
            if epoch not in left and lock.stat().st_mtime < before and not alive(self.folder, epoch):
                lock.unlink()

    def close(self) -> None:
        self.database.close()


_SEGMENT: Final = """
INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (name) DO UPDATE SET
    size = excluded.size, records = records + excluded.records, damaged = damaged + excluded.damaged,
    torn = excluded.torn, done = excluded.done
"""


class _Part(NamedTuple):
    records: int
    damaged: int
    more: bool


def _read(path: Path, offset: int) -> bytes:
    """A piece of a journal, which is on the disk then; one that was deleted says nothing. Raises Unwritable when the
    disk fails."""
    try:
        if path.stat().st_size == offset:
            return b""
        with open(path, "rb") as file:
            data = os.pread(file.fileno(), BATCH_BYTES, offset)
            os.fsync(file.fileno())
            return data
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Unwritable(f"{path} cannot be read: {error.strerror}") from error
