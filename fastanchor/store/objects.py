"""Who made which file, job or model, and the channel where it is.

Rules:
- An object belongs to the organisation that made it; to anyone else it does not exist.
- Nothing of the object itself is kept: its channel is asked for it. `account` tells which of the channel's keys made
  it, by a digest, because keys are moved about in a configuration and an object stays with its account.
- Everything is synchronous and takes the time as an argument; async callers use a thread. Several processes may share
  the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fastanchor.store.sqlite import Database

APPLICATION: Final = 0x46414F42  # "FAOB"

STEPS: Final = (
    """
    CREATE TABLE object (
        organization TEXT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        channel TEXT NOT NULL,
        account TEXT NOT NULL,
        created REAL NOT NULL,   -- unix seconds
        PRIMARY KEY (organization, kind, id)
    ) STRICT;
    CREATE INDEX object_by_age ON object (organization, kind, created);
    """,
)


@dataclass(frozen=True, slots=True)
class Made:
    """One object."""

    id: str
    channel: str
    account: str
    created: float  # unix seconds


class ObjectStore:
    """The database at `path`, which is created when it is not there. All methods raise StoreError."""

    def __init__(self, path: Path) -> None:
        self._database = Database(path, APPLICATION, STEPS)

    def save(self, organization: str, kind: str, made: Made) -> None:
        """An object was made, in place of one with the same id."""
        with self._database.transaction() as db:
            db.execute(
                "INSERT OR REPLACE INTO object VALUES (?, ?, ?, ?, ?, ?)",
                (organization, kind, made.id, made.channel, made.account, made.created),
            )

    def find(self, organization: str, kind: str, object_id: str) -> Made | None:
        """The organisation's object, or None."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT id, channel, account, created FROM object WHERE organization = ? AND kind = ? AND id = ?",
                (organization, kind, object_id),
            ).fetchone()
        return None if row is None else _made(row)

    def page(self, organization: str, kind: str, after: str, limit: int) -> list[Made]:
        """The organisation's objects, the newest first, from behind the one named `after` on."""
        with self._database.reading() as db:
            rows = db.execute(
                "SELECT id, channel, account, created FROM object WHERE organization = :o AND kind = :k"
                " AND (:a = '' OR (created, rowid) < (SELECT created, rowid FROM object"
                " WHERE organization = :o AND kind = :k AND id = :a))"
                " ORDER BY created DESC, rowid DESC LIMIT :l",
                {"o": organization, "k": kind, "a": after, "l": limit},
            ).fetchall()
        return [_made(row) for row in rows]

    def forget(self, organization: str, kind: str, object_id: str) -> None:
        """The object is gone."""
        with self._database.transaction() as db:
            db.execute(
                "DELETE FROM object WHERE organization = ? AND kind = ? AND id = ?", (organization, kind, object_id)
            )

    def close(self) -> None:
        self._database.close()


def _made(row: tuple[Any, ...]) -> Made:
    return Made(*row)
