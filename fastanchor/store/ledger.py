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
- How records are brought together is in `batch`, how they become rows and movements of credits in `entries`.
- Nothing here is needed to serve a request: while the database is locked, full or damaged, journals grow.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import apsw

from fastanchor.store.batch import Batch, Piece
from fastanchor.store.entries import Rule, give, lose, rows, take
from fastanchor.store.journal import CREDITS, alive, epoch_of, segments
from fastanchor.store.migrations import ledger as schema
from fastanchor.store.records import Credit
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
        waiting = [path for path in found if path.name not in self._done]
        while waiting:
            step = self._fold_some(waiting, living)
            records, damaged, waiting = records + step.records, damaged + step.damaged, step.waiting
            touched |= step.organizations
        dead = sorted(epoch for epoch, lives in living.items() if not lives)
        for epoch in dead:
            count, organizations = self._settle_lost(epoch, now)
            lost, touched = lost + count, touched | organizations
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

    def _fold_some(self, paths: list[Path], living: dict[str, bool]) -> _Step:
        """Take in about BATCH_BYTES of these segments, in one transaction."""
        left = iter(paths)
        parts: list[_Part] = []
        read = 0
        for path in left:
            part = self._read(path, dead=not living[epoch_of(path)])
            if part.size or part.done:
                parts.append(part)
            read += len(part.data)
            if read >= BATCH_BYTES:
                break
        step = self._take(parts) if parts else _Step(0, 0, set(), [])
        return step._replace(waiting=[*step.waiting, *left])

    def _read(self, path: Path, *, dead: bool) -> _Part:
        offset = self.sizes.get(path.name, 0)
        data = _read(path, offset)
        size = data.rfind(b"\n") + 1
        last = len(data) < BATCH_BYTES
        return _Part(path, offset, data, size if size or last else len(data), last, dead and last)

    def _take(self, parts: list[_Part]) -> _Step:
        """Take in parts of segments, in one transaction."""
        batch = Batch()
        with self.database.transaction() as db:
            current = [part for part in parts if self._current(db, part)]
            pieces = [_take_in(db, part, batch) for part in current]
            organizations = take(db, batch)
        for part in current:
            self.sizes[part.path.name] = part.offset + part.size
            self._finish(part.path.name, part.done)
        waiting = [part.path for part in parts if part.path.name not in self._done]
        waiting = [path for path in waiting if not any(part.path == path and part.last for part in current)]
        return _Step(
            sum(piece.records for piece in pieces), sum(piece.damaged for piece in pieces), organizations, waiting
        )

    def _current(self, db: apsw.Connection, part: _Part) -> bool:
        """Whether nobody has taken it in: another may have, or an earlier process."""
        row: Any = db.execute("SELECT size, done FROM segment WHERE name = ?", (part.path.name,)).fetchone()
        known, finished = row or (0, 0)
        if known == part.offset and not finished:
            return True
        self.sizes[part.path.name] = known
        self._finish(part.path.name, bool(finished))
        return False

    def _finish(self, name: str, done: bool) -> bool:
        if done:
            self._done.add(name)
        return done

    def _settle_lost(self, epoch: str, now: float) -> tuple[int, set[str]]:
        """Settle what a dead worker left open. Returns how many requests that were, and whose accounts have changed."""
        query = "SELECT id FROM request WHERE epoch = ? AND state = 0 LIMIT 1"
        with self.database.reading() as db:
            if not rows(db, query, (epoch,)):
                return 0, set()
        with self.database.transaction() as db:
            return lose(db, epoch, now, self._rule)

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
                if give(db, Credit(id, now, organization, amount, reason)):
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
    """A piece of a segment, of which `size` bytes are to be taken in. `done`: its writer will say no more."""

    path: Path
    offset: int
    data: bytes
    size: int
    last: bool  # for now
    done: bool


class _Step(NamedTuple):
    records: int
    damaged: int
    organizations: set[str]
    waiting: list[Path]  # segments that have more to say


def _take_in(db: apsw.Connection, part: _Part, batch: Batch) -> Piece:
    """Add a part to a batch, and note how far the segment was read."""
    epoch = epoch_of(part.path)
    piece = batch.add(part.data, epoch)
    if piece.size != part.size:  # no end of line in so much: pass over it as damage
        piece = piece._replace(damaged=1)
    torn = len(part.data) - part.size if part.done else 0
    values = part.path.name, epoch, part.offset + part.size, piece.records, piece.damaged, torn, part.done
    db.execute(_SEGMENT, values)
    return piece


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
