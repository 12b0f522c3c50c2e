"""The file behind a table of limits: its layout, and how it comes to be.

    header   one page: magic, version, geometry, boot mark, and counters for whoever opens the file
    intents  one cache line per worker: which slot that worker is in the middle of
    slots    a power of two of them, SLOT bytes each (a multiple of 256)

A slot is twelve 64-bit words and one 32-bit column per worker:

    0-1 owner · 2 state · 3 keep (unix ns) · 4 gauge · 5-6 rates · 7-10 windows · 11 balance · columns

Rules:
- A file appears whole or not at all (written aside, synced, renamed), and all its space is allocated at once: a write
  to a mapped page that a full disk cannot back would kill the process.
- Growing copies every live slot into a new file. Only the process that starts an instance does it, before any other
  has the file open.
- Rates are kept on the clock since boot: after a reboot they are forgotten. Everything else survives.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

MAGIC = b"FABUCKET"
VERSION = 1
HEADER = struct.Struct("<8sQQQQ16s")  # magic, version, slots, workers, slot bytes, boot mark
PAGE = 4096
COUNTERS = 512  # byte offset of the counters in the header
COUNTER_COUNT = 64
LINE = 64  # bytes of one worker's intent
WORDS = 12
COLUMNS = WORDS * 8  # byte offset of the columns in a slot
SLOT = 256
PROBE = 64  # slots in which an owner may stand
OWNER = 16  # bytes of an owner's digest

STATE, KEEP, GAUGE_WORD, RATE_WORD, WINDOW_WORD, BALANCE_WORD = 2, 3, 4, 5, 7, 11
EMPTY, LIVE, CLOSING = 0, 1, 2
UNOPENED = -(1 << 63)
"""The balance of an owner that nobody has opened an account for."""


class TableError(Exception):
    """The file cannot be used; the text says why."""


class Geometry(NamedTuple):
    """Sizes of one file. `slot` is in bytes."""

    slots: int
    workers: int
    slot: int

    @property
    def start(self) -> int:
        """Byte offset of the first slot, on a page of its own."""
        return PAGE + -(-self.workers * LINE // PAGE) * PAGE

    @property
    def size(self) -> int:
        return self.start + self.slots * self.slot


def geometry(slots: int, workers: int) -> Geometry:
    """Room for at least so many slots (a power of two) and workers (as many as the slots' padding holds)."""
    if slots < 1 or workers < 1:
        raise ValueError("a table needs at least one slot and one worker")
    size = -(-(COLUMNS + 4 * workers) // SLOT) * SLOT
    return Geometry(1 << (max(slots, PROBE) - 1).bit_length(), (size - COLUMNS) // 4, size)


def home(owner: bytes, slots: int) -> int:
    """The first slot in which an owner may stand."""
    return int.from_bytes(owner[:8], "little") & (slots - 1)


@contextmanager
def locked(descriptor: int) -> Iterator[None]:
    """Hold the exclusive lock of an open file; the kernel frees it when the process dies."""
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def open_lock(path: Path) -> int:
    """A descriptor of the table's lock file. Each process (and each table object) needs its own."""
    return os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def prepare(path: Path | str, *, slots: int, workers: int, boot: bytes = b"") -> Geometry:
    """Make the file, or make it fit; to be called before anyone else opens it.

    Args:
        slots: owners it must have room for, at least.
        workers: processes that will write to it, at least.
        boot: something that changes when the machine boots, at most 16 bytes.

    Raises:
        TableError: the file is not a table, or one of another version.
        OSError: no space, no permission.
    """
    path = Path(path)
    descriptor = open_lock(path)
    try:
        with locked(descriptor):
            if not path.exists():
                wanted = geometry(slots, workers)
                _create(path, wanted, boot)
                return wanted
            found = _fit(path, geometry(slots, workers), boot)
            _forget_rates(path, found, boot)
            return found
    finally:
        os.close(descriptor)


def map_file(path: Path | str) -> tuple[mmap.mmap, Geometry]:
    """The whole file, shared. Raises TableError, OSError."""
    with open(path, "r+b") as file:
        head = file.read(HEADER.size)
        found = _read_header(head, Path(path), os.fstat(file.fileno()).st_size)
        return mmap.mmap(file.fileno(), found.size), found


def _read_header(head: bytes, path: Path, size: int) -> Geometry:
    if len(head) < HEADER.size or not head.startswith(MAGIC):
        raise TableError(f"{path} is not a table of limits; move it away and start again")
    _, version, slots, workers, slot, _ = HEADER.unpack(head)
    if version != VERSION:
        raise TableError(f"{path} has format {version}, this program reads {VERSION}; move it away and start again")
    found = Geometry(slots, workers, slot)
    sound = slots >= PROBE and slots & (slots - 1) == 0 and slot % SLOT == 0 and slot >= COLUMNS + 4 * workers > COLUMNS
    if not sound or size != found.size:
        raise TableError(f"{path} is damaged (its size does not fit its header); move it away and start again")
    return found


def _create(path: Path, wanted: Geometry, boot: bytes, old: tuple[mmap.mmap, Geometry] | None = None) -> None:
    temporary = path.with_name(f"{path.name}.new")
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, wanted.size)
        header = HEADER.pack(MAGIC, VERSION, *wanted, boot.ljust(16, b"\0"))
        os.pwrite(descriptor, header, 0)
        if old is not None:
            with mmap.mmap(descriptor, wanted.size) as new:
                _copy(*old, new, wanted)
                new.flush()
        os.fsync(descriptor)
        os.rename(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)


def _fit(path: Path, wanted: Geometry, boot: bytes) -> Geometry:
    """Grow the file when it is too small in any way."""
    content, found = map_file(path)
    with content:
        if found.slots >= wanted.slots and found.workers >= wanted.workers:
            return found
        larger = geometry(max(found.slots, wanted.slots), max(found.workers, wanted.workers))
        _create(path, larger, content[HEADER.size - 16 : HEADER.size], (content, found))
        return larger


def _copy(old: mmap.mmap, had: Geometry, new: mmap.mmap, wanted: Geometry) -> None:
    """The counters and every live slot, without what its gauge held: whoever held it is gone."""
    new[COUNTERS : COUNTERS + 8 * COUNTER_COUNT] = old[COUNTERS : COUNTERS + 8 * COUNTER_COUNT]
    for at in range(had.start, had.size, had.slot):
        words = list(struct.unpack_from("<12q", old, at))
        if words[STATE] != LIVE:
            continue
        words[GAUGE_WORD] = 0
        first = home(old[at : at + OWNER], wanted.slots)
        for step in range(PROBE):
            place = wanted.start + ((first + step) & (wanted.slots - 1)) * wanted.slot
            if struct.unpack_from("<q", new, place + 8 * STATE)[0] == EMPTY:
                struct.pack_into("<12q", new, place, *words)
                break
        else:
            raise TableError("the table is too full to be copied; give it more slots")


def _forget_rates(path: Path, found: Geometry, boot: bytes) -> None:
    """After a reboot: the clock of the rates began anew."""
    content, _ = map_file(path)
    with content:
        if content[HEADER.size - 16 : HEADER.size] == boot.ljust(16, b"\0"):
            return
        for at in range(found.start + 8 * RATE_WORD, found.size, found.slot):
            content[at : at + 16] = bytes(16)
        content[HEADER.size - 16 : HEADER.size] = boot.ljust(16, b"\0")
