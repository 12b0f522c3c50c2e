"""The ledger: what the journals say, folded into one database, once.

Every micro-dollar of an organisation is in one of three places, and only moves between them:

    granted = available + held + spent

An `open` record moves its reservation from available to held. A `settle` record moves it back, and the cost from
available to spent. A request whose worker died is settled by rule. Requests of plans without credits are recorded with
their cost and move nothing.

Rules:
- How far a journal was read is committed together with what it said: no record is lost or taken twice. A record that
  stands in the journals twice (it was written again after a failed sync) is taken once, by its request's id.
- Whether a worker is dead is asked before its journal is read to the end: what is still open then stays open for ever.
- All amounts are integers, micro-dollars; counts larger than the database holds are cut.
- Nothing here is needed to serve a request: while the database is locked, full or damaged, journals grow.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import apsw
import msgspec

from fastanchor.store.journal import alive, epoch_of, segments
from fastanchor.store.migrations import ledger as schema
from fastanchor.store.records import Open, Record, Settle, Try, scan
from fastanchor.store.sqlite import Database, Unwritable

Rule = Literal["estimate", "tried"]
"""What a request costs whose worker died: its reservation's estimate, or that only if an attempt had been started."""

BATCH_BYTES: Final = 4 * 1024 * 1024
OPEN, SETTLED, BY_RULE = 0, 1, 2
LOST: Final = "worker_lost"
DAY: Final = 86_400
_MOST: Final = (1 << 62) - 1


class Folded(NamedTuple):
    """What one `fold` did. `organizations`: whose accounts have changed."""

    records: int
    damaged: int
    lost: int  # requests settled by rule
    organizations: frozenset[str]


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
        with self.database.reading() as db:
            for name, size, done in _rows(db, "SELECT name, size, done FROM segment"):
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
        for epoch in sorted(epoch for epoch, lives in living.items() if not lives):
            lost += self._settle_lost(epoch, now, touched)
            self._closed.add(epoch)
        return Folded(records, damaged, lost, frozenset(touched))

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
            for record in found.records:
                _take(db, record, epoch_of(path), touched)
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
            ids: list[str] = [id for (id,) in _rows(db, query, (epoch,))]
            for id in ids:
                _lose(db, id, now, self._rule, touched)
        return len(ids)

    def grant(self, id: str, organization: str, amount: int, reason: str, now: float) -> bool:
        """Give credits (or take them, when negative), once per `id`. Returns whether this was the first time."""
        if abs(amount) > _MOST:
            raise ValueError("an amount of credits is out of range")
        with self.database.transaction() as db:
            db.execute(
                "INSERT OR IGNORE INTO credit VALUES (?, ?, ?, ?, ?)", (id, organization, amount, reason, now)
            )
            if not db.changes():
                return False
            _move(db, organization, granted=amount, available=amount)
        return True

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
            rows = _rows(db, "SELECT organization, granted, available, held, spent FROM account")
        return {organization: Account(*amounts) for organization, *amounts in rows}

    def expire(self, before: float) -> int:
        """Forget requests that started before a time (unix seconds), and journals last written before it.

        What they cost stays in the accounts and in the usage by day. Returns how many requests that were.
        """
        with self.database.transaction() as db:
            spent = _rows(
                db,
                "SELECT organization, sum(cost) FROM request WHERE opened < ? AND state > 0 AND metered GROUP BY 1",
                (before,),
            )
            for organization, cost in spent:
                db.execute("UPDATE account SET archived = archived + ? WHERE organization = ?", (cost, organization))
            db.execute("DELETE FROM request WHERE opened < ? AND state > 0", (before,))
            count = db.changes()
            db.execute("UPDATE fact SET value = max(value, ?) WHERE name = 'expired_before'", (before,))
            done: list[str] = [name for (name,) in _rows(db, "SELECT name FROM segment WHERE done")]
        self._remove(done, before)
        return count

    def _remove(self, names: list[str], before: float) -> None:
        """Delete journals that were folded and are old, and the lock files of epochs that have none left."""
        for name in names:
            path = self.folder / name
            if path.exists() and path.stat().st_mtime < before:
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
    """A piece of a journal; one that was deleted says nothing. Raises Unwritable when the disk fails."""
    try:
        if path.stat().st_size == offset:
            return b""
        with open(path, "rb") as file:
            return os.pread(file.fileno(), BATCH_BYTES, offset)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Unwritable(f"{path} cannot be read: {error.strerror}") from error


def _rows(db: apsw.Connection, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
    return db.execute(query, values).fetchall()


def _take(db: apsw.Connection, record: Record, epoch: str, touched: set[str]) -> None:
    """Fold one record."""
    if isinstance(record, Open):
        _open(db, record, epoch, touched)
    elif isinstance(record, Try):
        _try(db, record)
    elif isinstance(record, Settle):
        _settle(db, record, epoch, touched)


def _open(db: apsw.Connection, record: Open, epoch: str, touched: set[str]) -> None:
    cost = bounded(record.cost)
    db.execute(
        "INSERT OR IGNORE INTO request (id, epoch, state, metered, organization, key, model, opened, reserved_tokens,"
        " reserved_cost) VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?, ?)",
        (record.id, epoch, record.metered, record.organization, record.key, record.model, record.at,
         bounded(record.tokens), cost),
    )
    if db.changes() and record.metered:
        _move(db, record.organization, available=-cost, held=cost)
        touched.add(record.organization)


def _try(db: apsw.Connection, record: Try) -> None:
    row: Any = db.execute("SELECT tries FROM request WHERE id = ?", (record.id,)).fetchone()
    if row is None:
        return
    tries: list[Any] = msgspec.json.decode(row[0])
    if (entry := [record.at, record.channel, record.model]) not in tries:
        told = msgspec.json.encode([*tries, entry]).decode()
        db.execute("UPDATE request SET tries = ? WHERE id = ?", (told, record.id))


def _settle(db: apsw.Connection, record: Settle, epoch: str, touched: set[str]) -> None:
    row: Any = db.execute("SELECT state, reserved_cost, cost FROM request WHERE id = ?", (record.id,)).fetchone()
    if row is None:  # its `open` was lost with a torn journal: what it cost is known all the same
        _open(db, Open(record.id, record.started, record.key, record.organization, record.model, record.metered, 0, 0),
              epoch, touched)
        row = (OPEN, 0, 0)
    state, reserved, charged = row
    if state == SETTLED:
        return
    cost = bounded(record.cost)
    if record.metered:
        held = reserved if state == OPEN else 0
        _move(db, record.organization, held=-held, available=held + charged - cost, spent=cost - charged)
        touched.add(record.organization)
    if state == BY_RULE:
        _count(db, record.id, -1)
    _write_settled(db, record, cost)
    _count(db, record.id, 1)


def _write_settled(db: apsw.Connection, record: Settle, cost: int) -> None:
    receipt = record.receipt()
    usage, attempts = receipt.usage, msgspec.json.encode(receipt.attempts).decode()
    db.execute(
        "UPDATE request SET state = 1, ended = ?, cost = ?, provider_cost = ?, input = ?, output = ?, cache_read = ?,"
        " cache_write = ?, reasoning = ?, estimated = ?, status = ?, ending = ?, dialect = ?, endpoint = ?, client = ?,"
        " served_model = ?, channel = ?, provider = ?, stream = ?, seconds = ?, first_token = ?, overhead = ?,"
        " bytes_in = ?, bytes_out = ?, attempts = ? WHERE id = ?",
        (record.at, cost, _count_of(usage.cost), _count_of(usage.input), _count_of(usage.output),
         bounded(usage.cache_read), bounded(usage.cache_write), bounded(usage.reasoning), usage.estimated,
         record.status, record.ending, record.dialect, record.endpoint, record.client, record.served_model,
         record.channel, record.provider, record.stream, record.seconds, record.first_token, record.overhead,
         record.bytes_in, record.bytes_out, attempts, record.id),
    )


def _lose(db: apsw.Connection, id: str, now: float, rule: Rule, touched: set[str]) -> None:
    """Settle an open request by rule."""
    query = "SELECT organization, metered, reserved_cost, tries FROM request WHERE id = ?"
    ((organization, metered, reserved, tries),) = _rows(db, query, (id,))
    cost = reserved if rule == "estimate" or tries != "[]" else 0
    if metered:
        _move(db, organization, held=-reserved, available=reserved - cost, spent=cost)
        touched.add(organization)
    db.execute(
        "UPDATE request SET state = 2, ended = ?, cost = ?, ending = ?, estimated = 1 WHERE id = ?",
        (now, cost, LOST, id),
    )
    _count(db, id, 1)


def _move(
    db: apsw.Connection, organization: str, *, granted: int = 0, available: int = 0, held: int = 0, spent: int = 0
) -> None:
    """Move credits of an organisation; the table refuses a movement that does not add up."""
    db.execute("INSERT INTO account (organization) VALUES (?) ON CONFLICT DO NOTHING", (organization,))
    db.execute(
        "UPDATE account SET granted = granted + ?, available = available + ?, held = held + ?, spent = spent + ?"
        " WHERE organization = ?",
        (granted, available, held, spent, organization),
    )


_COUNT = f"""
INSERT INTO usage
SELECT CAST(opened AS INTEGER) / {DAY}, organization, key, model, :n, :n * (ending <> 'done'), :n * ifnull(input, 0),
       :n * ifnull(output, 0), :n * cache_read, :n * cache_write, :n * reasoning, :n * cost, :n * cost * metered
FROM request WHERE id = :id
ON CONFLICT (day, organization, key, model) DO UPDATE SET
    requests = requests + excluded.requests, failed = failed + excluded.failed, input = input + excluded.input,
    output = output + excluded.output, cache_read = cache_read + excluded.cache_read,
    cache_write = cache_write + excluded.cache_write, reasoning = reasoning + excluded.reasoning,
    cost = cost + excluded.cost, metered_cost = metered_cost + excluded.metered_cost
"""  # noqa: S608 - the only thing put in is a number of ours


def _count(db: apsw.Connection, id: str, times: int) -> None:
    """Add a settled request to (or take it out of) the usage of its day."""
    db.execute(_COUNT, {"n": times, "id": id})


def bounded(count: int) -> int:
    """What the database can hold and add up: a provider may say anything."""
    return max(0, min(count, 1 << 50))


def _count_of(count: int | None) -> int | None:
    return None if count is None else bounded(count)

