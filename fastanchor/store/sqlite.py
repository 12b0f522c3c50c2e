"""A SQLite database of ours: opened with care, migrated step by step, its errors in words that help.

Rules:
- WAL, `synchronous = FULL`: a commit survives a power cut. The log is kept small by checkpoints and a size limit.
- A file that is damaged, is not ours or is newer than the program is refused with a sentence that says what to do. It
  is never replaced by an empty one.
- One connection serves the threads of its process in turn.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

BUSY_MILLISECONDS: Final = 5_000
LOG_BYTES: Final = 64 * 1024 * 1024


class StoreError(Exception):
    """The database cannot be used at the moment or at all; the text says why."""


class Busy(StoreError):
    """Another process holds the lock for too long. Trying again later may help."""


class Unwritable(StoreError):
    """The disk is full, read-only or failing. Trying again later may help."""


class Unusable(StoreError):
    """Damaged, foreign, or newer than this program. Nothing but an operator helps."""


class Database:
    """One connection.

    Args:
        path: created when it is not there.
        application: SQLite's application id, by which a file is known as one of this kind.
        steps: the schema, step by step.

    Raises:
        Busy, Unwritable, Unusable
    """

    def __init__(
        self, path: Path, application: int, steps: Sequence[str], *, busy: int = BUSY_MILLISECONDS
    ) -> None:
        self.path = path
        self._lock = threading.RLock()
        if not path.exists() and Path(f"{path}-wal").exists():
            raise Unusable(f"{path} is gone, but its log {path.name}-wal is there: restore the file, or move both away")
        with self._told():
            if not path.exists():
                path.touch(mode=0o600)
            self.connection = apsw.Connection(str(path))
            try:
                self.connection.set_busy_timeout(busy)
                self._migrate(application, steps)
                self.connection.execute(
                    f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = {LOG_BYTES}"
                )
            except BaseException:
                self.connection.close()
                raise

    def _migrate(self, application: int, steps: Sequence[str]) -> None:
        """Bring the schema up to date."""
        with self.transaction() as db:
            found = int(db.execute("PRAGMA application_id").get)
            version = int(db.execute("PRAGMA user_version").get)
            empty = db.execute("SELECT count(*) FROM sqlite_schema").get == 0
            if found != application and not (found == 0 and empty):
                raise Unusable(f"{self.path} is another program's database")
            if version > len(steps):
                raise Unusable(
                    f"{self.path} has schema {version}, this program knows {len(steps)}: start the newer version"
                )
            for step in steps[version:]:
                db.execute(step)
            if version < len(steps) or found != application:
                db.execute(f"PRAGMA application_id = {application}; PRAGMA user_version = {len(steps)}")

    @contextmanager
    def transaction(self) -> Iterator[apsw.Connection]:
        """Write, all or nothing."""
        with self._lock, self._told():
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                if self.connection.in_transaction:  # a full disk has rolled back already
                    self.connection.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[apsw.Connection]:
        """Read from one state of the database."""
        with self._lock, self._told():
            self.connection.execute("BEGIN")
            try:
                yield self.connection
            finally:
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")

    def check(self) -> list[str]:
        """What SQLite's own integrity check has to say; nothing when all is well."""
        with self._lock, self._told():
            return [line for (line,) in self.connection.execute("PRAGMA integrity_check(20)") if line != "ok"]

    def close(self) -> None:
        with self._lock, self._told():
            self.connection.close()

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (apsw.BusyError, apsw.LockedError) as error:
            raise Busy(f"{self.path} is locked by another process") from error
        except (apsw.CorruptError, apsw.NotADBError) as error:
            raise Unusable(f"{self.path} is damaged ({error}); restore it, or move it away with its -wal") from error
        except (apsw.FullError, apsw.IOError, apsw.ReadOnlyError, apsw.CantOpenError, OSError) as error:
            raise Unwritable(f"{self.path} cannot be written: {error}") from error
        except apsw.Error as error:
            raise StoreError(f"{self.path}: {error}") from error
