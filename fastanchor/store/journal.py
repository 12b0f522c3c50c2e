"""A worker's journal: what it admitted and what it settled, appended to its own files before anyone relies on it.

    state_dir/journal/<epoch>.lock           locked for as long as the worker lives
    state_dir/journal/<epoch>.<n>.journal    segments, each up to `segment_bytes`

Rules:
- One record is one `write`. A record that could not be written whole is taken back; a segment in which that fails, too,
  is not written to any more.
- What was written survives the death of the process. What a power cut may take depends on `fsync`: "every" (nothing
  that `durable` has waited for), "group" (the last milliseconds before the next group), "none" (the system's choice).
- A journal that cannot be written refuses at once what is `require`d, and keeps in memory what is `note`d, as many
  records as requests were open. It tries again with the next record, at most every PROBE seconds, or when `probe` is
  called.
- An fsync that fails says that pages may be lost: the records since the last good one are written again to a new
  segment. Whoever reads a journal must take the same record twice without harm.
- Not safe for threads, but for `sync`, which may run in one other thread.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fastanchor.store.records import probe_line

SEGMENT_BYTES: Final = 64 * 1024 * 1024
PROBE_SECONDS: Final = 0.25
CREDITS: Final = "credits"
"""The writer of credits, in the names of its epochs."""
MAX_KEPT: Final = 100_000
"""Records kept in memory while the journal cannot be written. Beyond that they are dropped, and counted."""


class JournalFailed(Exception):
    """The journal cannot be written; the text says why."""


def new_epoch(worker: int | str) -> str:
    """A name for one life of a worker (or of another writer); later lives have larger names."""
    return f"{time.time_ns():016x}-{worker}-{os.getpid()}"


class Journal:
    """The files of one life of one worker.

    Args:
        folder: created when it is not there.
        epoch: from `new_epoch`; used by no other journal.
        keep_unsynced: remember what has not been synced, to write it again when a sync fails.

    Raises:
        OSError: the folder or the lock file cannot be made. A segment that cannot be made fails the journal instead.
    """

    def __init__(
        self, folder: Path, epoch: str, *, segment_bytes: int = SEGMENT_BYTES, keep_unsynced: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._keep_unsynced = keep_unsynced
        self._clock = clock
        self._lock = os.open(folder / f"{epoch}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._file = -1
        self._size = 0
        self._segment = 0
        self._retired: list[int] = []  # full segments that have not been synced
        self._renewed = False  # a segment was made since the last sync
        self._unsynced: list[bytes] = []
        self._kept: deque[bytes] = deque()
        self._next_probe = 0.0
        self.epoch = epoch
        self.failure = ""
        self.dropped = 0
        self.failures = 0

    @property
    def remembers(self) -> bool:
        """Whether it could write again what a failed sync has lost."""
        return self._keep_unsynced

    @property
    def failed(self) -> bool:
        """Whether requests that must be accounted for are refused at the moment."""
        return bool(self.failure)

    @property
    def blocked(self) -> bool:
        """Whether it has failed, and is not due to be tried again."""
        return bool(self.failure) and not self._due()

    @property
    def kept(self) -> int:
        """Records that wait in memory for the journal to be writable again."""
        return len(self._kept)

    def require(self, line: bytes) -> None:
        """Append a record, now or never. Raises JournalFailed; then nothing was written."""
        if self.failure and self.blocked:
            raise JournalFailed(self.failure)
        try:
            if self._kept:
                self._flush()
            self._append(line)
        except OSError as error:
            raise JournalFailed(self._fail(error)) from error
        self.failure = ""

    def note(self, line: bytes) -> None:
        """Append a record, or keep it until that can be done."""
        if not self.failure or self._due():
            try:
                if self._kept:
                    self._flush()
                self._append(line)
            except OSError as error:
                self._fail(error)
            else:
                self.failure = ""
                return
        if len(self._kept) >= MAX_KEPT:
            self.dropped += 1
            return
        self._kept.append(line)

    def probe(self, at: float) -> bool:
        """Try to write what was kept, if the journal has failed. Returns whether it can be written."""
        if not self.failure:
            return True
        try:
            self._flush()
            self._append(probe_line(at))
        except OSError as error:
            self._fail(error)
            return False
        self.failure = ""
        return True

    def sync(self) -> OSError | None:
        """Force what was appended to the disk. Returns the error when that failed; give it to `sync_failed`."""
        retired, self._retired = self._retired, []
        renewed, self._renewed = self._renewed, False
        error = None
        try:
            for file in (*retired, self._file):
                if file >= 0:
                    os.fsync(file)
            if renewed:  # a new file is only there when its folder says so
                _sync_folder(self._folder)
        except OSError as failure:
            error = failure
        for file in retired:
            os.close(file)
        return error

    def mark(self) -> int:
        """How many records a sync that starts now will cover, for `synced`."""
        return len(self._unsynced)

    def synced(self, mark: int) -> None:
        """A sync has succeeded that was started at `mark`."""
        del self._unsynced[:mark]

    def sync_failed(self, error: OSError) -> None:
        """A sync has failed: what it covered may be gone, so it is written again, elsewhere."""
        self._kept.extendleft(reversed(self._unsynced))
        self._unsynced.clear()
        self._abandon()
        self._fail(error)

    def close(self) -> None:
        """Let go of the files; the epoch ends. What is still kept in memory is lost (and counted)."""
        if self._kept:
            self.probe(0.0)
        self.dropped += len(self._kept)
        self._kept.clear()
        for file in (*self._retired, self._file, self._lock):
            if file >= 0:
                os.close(file)
        self._retired, self._file, self._lock = [], -1, -1

    def _flush(self) -> None:
        """Write what was kept, oldest first. Raises OSError."""
        while self._kept:
            self._append(self._kept[0])
            self._kept.popleft()

    def _append(self, line: bytes) -> None:
        """Write one line whole, or not at all. Raises OSError."""
        size = len(line)
        if self._file < 0 or self._size + size > self._segment_bytes:
            self._rotate()
        written = os.write(self._file, line)
        if written < size:
            self._write_rest(line, written)
        self._size += size
        if self._keep_unsynced:
            self._unsynced.append(line)

    def _write_rest(self, line: bytes, written: int) -> None:
        """Complete a line, or cut its beginning off again. Raises OSError."""
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            try:
                os.ftruncate(self._file, self._size)
            except OSError:
                self._abandon()
            raise

    def _rotate(self) -> None:
        """Start the next segment. Raises OSError."""
        path = self._folder / f"{self.epoch}.{self._segment + 1:06d}.journal"
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._segment += 1
        self._abandon()
        self._file, self._size, self._renewed = file, 0, True

    def _abandon(self) -> None:
        """Write to this segment no more."""
        if self._file >= 0:
            self._retired.append(self._file)
        self._file, self._size = -1, 0

    def _due(self) -> bool:
        return self._clock() >= self._next_probe

    def _fail(self, error: OSError) -> str:
        self.failure = f"the journal in {self._folder} cannot be written: {error.strerror or error}"
        self.failures += 1
        self._next_probe = self._clock() + PROBE_SECONDS
        return self.failure


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def alive(folder: Path, epoch: str) -> bool:
    """Whether the worker that writes this epoch's journal still lives."""
    try:
        descriptor = os.open(folder / f"{epoch}.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def segments(folder: Path) -> list[Path]:
    """All segments, each epoch's in the order in which they were written."""
    return sorted(folder.glob("*.journal"))


def epoch_of(segment: Path) -> str:
    return segment.name.split(".", 1)[0]
