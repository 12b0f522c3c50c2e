"""Responses that clients may come back to by id: a local SQLite database with retention and a bound on its size.

Storing is the default of the Responses API (`store` true unless the client says false), and the gateway honours it.
Of an answer that it translated it keeps the conversation's items and the response object; of one that a native channel
gave, only the channel's name, because the state lives there and later calls of the chain must go there.

Rules:
- A response belongs to its owner (a key or an organisation, the caller's choice); to anyone else it does not exist.
- What is older than `retention` seconds does not exist either, deleted yet or not.
- The stored bytes never exceed `max_bytes` (counted before SQLite's own overhead): the oldest responses go first.
- Everything is synchronous and takes the time as an argument; async callers use a thread. Several processes may share
  the file (WAL). Database errors become Fault(SERVICE_UNAVAILABLE).
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import apsw

from fastanchor.core.faults import Fault, Kind

RETENTION = 30 * 86_400.0
"""Seconds; what OpenAI documents for its own store."""

MAX_BYTES = 1 << 30
UNAVAILABLE = "Stored responses are not available at the moment."
BUSY = 5_000
"""Milliseconds to wait for another process that writes."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS response (
    owner TEXT NOT NULL,
    id TEXT NOT NULL,
    model TEXT NOT NULL,
    channel TEXT NOT NULL,
    items BLOB NOT NULL,     -- zlib, JSON array of items; empty: the channel has them
    answer BLOB NOT NULL,    -- zlib, JSON response object; likewise
    created REAL NOT NULL,   -- unix seconds
    size INTEGER NOT NULL,   -- bytes of both blobs and of the names
    PRIMARY KEY (owner, id)
);
CREATE INDEX IF NOT EXISTS response_by_age ON response (created);
CREATE TABLE IF NOT EXISTS total (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL);
INSERT OR IGNORE INTO total VALUES (1, 0);
CREATE TRIGGER IF NOT EXISTS response_added AFTER INSERT ON response
    BEGIN UPDATE total SET size = size + new.size; END;
CREATE TRIGGER IF NOT EXISTS response_removed AFTER DELETE ON response
    BEGIN UPDATE total SET size = size - old.size; END;
"""

_OLDEST = """
DELETE FROM response WHERE rowid IN (SELECT rowid FROM response ORDER BY created, rowid LIMIT 1)
RETURNING 1
"""


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """One response. `items` and `response` are JSON, both empty when `channel` holds the state itself."""

    id: str
    model: str
    channel: str
    items: bytes
    response: bytes
    created: float  # unix seconds


class ResponseStore:
    """The database at `path`, which is created when it is not there.

    Args:
        retention: seconds that a response can be found.
        max_bytes: bound on what is stored, all owners together.
    """

    def __init__(self, path: Path | str, *, retention: float = RETENTION, max_bytes: int = MAX_BYTES) -> None:
        self.retention = retention
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # one connection serves the threads of this process in turn
        Path(path).touch(mode=0o600)  # conversations are nobody else's to read
        with _told():
            self._database = apsw.Connection(str(path))
            self._database.set_busy_timeout(BUSY)
            self._database.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;")
            with self._database:
                self._database.execute(SCHEMA)

    @classmethod
    def at(cls, path: Path, *, retention: float) -> ResponseStore:
        """The store at a path, whose directory is made when it is not there. Raises Fault(SERVICE_UNAVAILABLE)."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return cls(path, retention=retention)
        except OSError as error:
            raise Fault(Kind.SERVICE_UNAVAILABLE, UNAVAILABLE) from error

    def save(
        self,
        response_id: str,
        owner: str,
        *,
        model: str,
        channel: str,
        items: bytes = b"",
        response: bytes = b"",
        created: float,
    ) -> bool:
        """Keep a response, in place of an earlier one with the same id and owner.

        Returns False when it alone is larger than the store may be, and is not kept.
        """
        packed, answer = _pack(items), _pack(response)
        size = len(packed) + len(answer) + sum(len(name.encode()) for name in (response_id, owner, model, channel))
        if size > self._max_bytes:
            return False
        with self._transaction() as database:
            database.execute("DELETE FROM response WHERE owner = ? AND id = ?", (owner, response_id))
            while self._size() + size > self._max_bytes and database.execute(_OLDEST).fetchone():
                pass
            database.execute(
                "INSERT INTO response VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (owner, response_id, model, channel, packed, answer, created, size),
            )
        return True

    def load(self, response_id: str, owner: str, now: float) -> StoredResponse | None:
        """The owner's response, or None."""
        with self._lock, _told():
            row = self._database.execute(
                "SELECT model, channel, items, answer, created FROM response"
                " WHERE owner = ? AND id = ? AND created > ?",
                (owner, response_id, now - self.retention),
            ).fetchone()
        if row is None:
            return None
        model, channel, items, answer, created = row
        with _told():
            return StoredResponse(response_id, model, channel, _unpack(items), _unpack(answer), created)

    def delete(self, response_id: str, owner: str, now: float) -> bool:
        """Forget a response. Returns whether there was one."""
        with self._transaction() as database:
            row = database.execute(
                "DELETE FROM response WHERE owner = ? AND id = ? RETURNING created", (owner, response_id)
            ).fetchone()
        return row is not None and row[0] > now - self.retention

    def expire(self, now: float) -> int:
        """Forget what is older than the retention. Returns how many responses that were."""
        with self._transaction() as database:
            database.execute("DELETE FROM response WHERE created <= ?", (now - self.retention,))
            return database.changes()

    @property
    def size(self) -> int:
        """Bytes stored."""
        with self._lock, _told():
            return self._size()

    def close(self) -> None:
        with self._lock, _told():
            self._database.close()

    def _size(self) -> int:
        size: int = self._database.execute("SELECT size FROM total").get
        return size

    @contextmanager
    def _transaction(self) -> Iterator[apsw.Connection]:
        with self._lock, _told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
            except BaseException:
                if self._database.in_transaction:  # a full disk has rolled back already
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")


def _pack(data: bytes) -> bytes:
    return zlib.compress(data, 1) if data else b""


def _unpack(data: bytes) -> bytes:
    return zlib.decompress(data) if data else b""


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (apsw.Error, zlib.error) as error:
        raise Fault(Kind.SERVICE_UNAVAILABLE, UNAVAILABLE) from error
