"""The journal: whole records or none, whatever the disk does; and what a reader makes of what it finds."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.store.journal import MAX_KEPT, Journal, JournalFailed, alive, epoch_of, new_epoch, segments
from fastanchor.store.journal_sync import JournalSync
from fastanchor.store.records import Open, Probe, Record, Settle, Try, scan, settle_line
from tests.kit.receipts import frame, opened, receipt

RECORDS: list[Record] = [
    opened(), Try("req_1", 1.5, "main", "gpt-4o"), Probe(3.0),
    *scan(settle_line(receipt(), metered=True, at=2.0)).records,
]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal", "e1", clock=clock)
    yield journal
    journal.close()


def written(folder: Path) -> list[Record]:
    return [record for path in segments(folder) for record in scan(path.read_bytes()).records]


def ids(folder: Path) -> list[str]:
    return [record.id for record in written(folder) if isinstance(record, Open | Settle | Try)]


class Disk:
    """Lets `os.write` and its like fail, or write less than asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.truncates = True
        self.syncs = True
        self.real = os.write
        monkeypatch.setattr(os, "write", self.write)
        monkeypatch.setattr(os, "ftruncate", self.ftruncate)
        monkeypatch.setattr(os, "fsync", self.fsync)
        self._truncate, self._sync = self._real("ftruncate"), self._real("fsync")

    @staticmethod
    def _real(name: str) -> Callable[..., None]:
        import posix

        found: Callable[..., None] = getattr(posix, name)
        return found

    def write(self, file: int, data: bytes) -> int:
        if self.room is None:
            return self.real(file, data)
        if self.room == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = self.real(file, data[: self.room])
        self.room -= done
        return done

    def ftruncate(self, file: int, size: int) -> None:
        if not self.truncates:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._truncate(file, size)

    def fsync(self, file: int) -> None:
        if not self.syncs:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        self._sync(file)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    assert scan(frame(record)).records == [record]


def test_a_receipt_survives_the_journal_whole() -> None:
    done = receipt(first_token=None, usage=receipt().usage.completed(1, 2))
    (record,) = scan(settle_line(done, metered=False, at=9.0)).records
    assert isinstance(record, Settle)
    assert record.receipt() == done


@given(st.text(st.characters(), max_size=30), st.integers(0, 2**63))
def test_any_name_that_a_client_makes_up_can_be_written_and_read(name: str, tokens: int) -> None:
    line = frame(opened(model=name, tokens=tokens))
    (record,) = scan(line).records
    assert isinstance(record, Open)
    assert line.count(b"\n") == 1
    assert record.tokens == tokens
    assert record.model == name.encode("utf-8", "replace").decode()


def test_a_torn_tail_is_left_alone_at_every_byte() -> None:
    lines = [frame(record) for record in RECORDS]
    stream = b"".join(lines)
    ends = [sum(map(len, lines[: n + 1])) for n in range(len(lines))]
    for cut in range(len(stream) + 1):
        found = scan(stream[:cut])
        whole = sum(end <= cut for end in ends)
        assert found.records == RECORDS[:whole]
        assert found.ends == ends[:whole]
        assert found.size == (ends[whole - 1] if whole else 0)
        assert found.damaged == 0


def test_a_changed_byte_costs_one_record_and_is_counted() -> None:
    lines = [frame(record) for record in RECORDS]
    for at in range(len(lines[1])):
        for flip in (0x01, 0x80):
            line = bytearray(lines[1])
            line[at] ^= flip
            found = scan(lines[0] + bytes(line) + lines[2])
            assert found.records[0] == RECORDS[0]
            assert RECORDS[1] not in found.records
            assert found.damaged >= 1


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(data: bytes) -> None:
    found = scan(data)
    assert found.size <= len(data)
    assert len(found.records) == len(found.ends)


def test_records_are_appended_in_order(journal: Journal, tmp_path: Path) -> None:
    journal.require(frame(opened("a")))
    journal.note(frame(Try("a", 1.0, "main", "m")))
    journal.require(frame(opened("b")))
    journal.note(settle_line(receipt("a"), metered=True, at=1.0))
    assert ids(tmp_path / "journal") == ["a", "a", "b", "a"]


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "e1", segment_bytes=500)
    for n in range(20):
        journal.require(frame(opened(str(n))))
    journal.close()
    files = segments(tmp_path)
    assert len(files) > 3
    assert all(path.stat().st_size <= 500 and epoch_of(path) == "e1" for path in files)
    assert ids(tmp_path) == [str(n) for n in range(20)]


def test_an_epoch_is_alive_for_as_long_as_its_journal_is_open(tmp_path: Path) -> None:
    assert not alive(tmp_path, "e1")
    journal = Journal(tmp_path, "e1")
    assert alive(tmp_path, "e1")
    journal.close()
    assert not alive(tmp_path, "e1")


def test_later_epochs_have_larger_names() -> None:
    names = [new_epoch(n % 3) for n in range(50)]
    assert names == sorted(names)
    assert len(set(names)) == 50


@pytest.mark.parametrize("room", [0, 1, 17, 60])
def test_a_full_disk_refuses_and_leaves_no_part_of_a_record(
    journal: Journal, tmp_path: Path, disk: Disk, room: int
) -> None:
    journal.require(frame(opened("a")))
    disk.room = room
    with pytest.raises(JournalFailed, match="No space left"):
        journal.require(frame(opened("b")))
    assert journal.failed
    (path,) = segments(tmp_path / "journal")
    assert path.read_bytes() == frame(opened("a"))


def test_while_it_fails_the_disk_is_left_in_peace_and_then_tried_again(
    journal: Journal, tmp_path: Path, disk: Disk, clock: Clock
) -> None:
    journal.require(frame(opened("a")))
    disk.room = 0
    for _ in range(5):
        with pytest.raises(JournalFailed):
            journal.require(frame(opened("b")))
    assert journal.failures == 1
    disk.room = None
    with pytest.raises(JournalFailed):
        journal.require(frame(opened("b")))
    clock.now += 1
    journal.require(frame(opened("b")))
    assert not journal.failed
    assert ids(tmp_path / "journal") == ["a", "b"]


def test_settlements_wait_in_memory_and_are_written_first(
    journal: Journal, tmp_path: Path, disk: Disk, clock: Clock
) -> None:
    for name in "abc":
        journal.require(frame(opened(name)))
    disk.room = 40
    for name in "abc":
        journal.note(settle_line(receipt(name), metered=True, at=1.0))
    assert journal.kept == 3
    assert not journal.probe(1.0)
    disk.room = None
    assert journal.probe(1.0)
    journal.require(frame(opened("d")))
    assert (journal.kept, journal.failed) == (0, False)
    assert ids(tmp_path / "journal") == ["a", "b", "c", "a", "b", "c", "d"]


def test_a_part_that_cannot_be_taken_back_ends_the_segment(
    journal: Journal, tmp_path: Path, disk: Disk, clock: Clock
) -> None:
    journal.require(frame(opened("a")))
    disk.room, disk.truncates = 30, False
    with pytest.raises(JournalFailed):
        journal.require(frame(opened("b")))
    disk.room = None
    clock.now += 1
    journal.require(frame(opened("c")))
    first, second = segments(tmp_path / "journal")
    torn = scan(first.read_bytes())
    assert (torn.size, torn.damaged) == (len(frame(opened("a"))), 0)
    assert first.stat().st_size == torn.size + 30
    assert second.read_bytes() == frame(opened("c"))


def test_what_is_kept_has_a_bound_and_the_rest_is_counted(journal: Journal, disk: Disk) -> None:
    disk.room = 0
    journal.note(settle_line(receipt("a"), metered=True, at=1.0))
    journal._kept.extend([b""] * (MAX_KEPT - 1))
    journal.note(settle_line(receipt("b"), metered=True, at=1.0))
    assert (journal.kept, journal.dropped) == (MAX_KEPT, 1)
    journal._kept.clear()


def test_records_since_the_last_good_sync_are_written_again_after_a_bad_one(
    journal: Journal, tmp_path: Path, disk: Disk, clock: Clock
) -> None:
    journal.require(frame(opened("a")))
    mark = journal.mark()
    assert journal.sync() is None
    journal.synced(mark)
    journal.require(frame(opened("b")))
    disk.syncs = False
    error = journal.sync()
    assert error is not None
    journal.require(frame(opened("c")))
    journal.sync_failed(error)
    assert journal.failed
    disk.syncs = True
    assert journal.probe(1.0)
    first, second = segments(tmp_path / "journal")
    assert [r.id for r in scan(second.read_bytes()).records if isinstance(r, Open)] == ["b", "c"]
    assert first.read_bytes() == b"".join(frame(opened(name)) for name in "abc")


@pytest.mark.parametrize("path", ["/dev/full"])
def test_a_device_without_space_is_reported_as_such(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def fake(name: str | Path, flags: int, mode: int = 0o777) -> int:
        return real(path, os.O_WRONLY) if str(name).endswith(".journal") else real(name, flags, mode)

    monkeypatch.setattr(os, "open", fake)
    journal = Journal(tmp_path, "e1")
    with pytest.raises(JournalFailed, match="No space left on device"):
        journal.require(frame(opened()))


def test_a_process_at_its_file_size_limit_loses_nothing(tmp_path: Path) -> None:
    program = """
import resource, signal, sys
from pathlib import Path
from fastanchor.store.journal import Journal, JournalFailed
from fastanchor.store.records import settle_line
from tests.kit.receipts import frame, opened, receipt
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
clock = iter(range(10**9))
journal = Journal(Path(sys.argv[1]), "e1", clock=lambda: float(next(clock)))
admitted = 0
try:
    while True:
        journal.require(frame(opened(str(admitted))))
        admitted += 1
except JournalFailed:
    pass
for n in range(admitted):
    journal.note(settle_line(receipt(str(n)), metered=True, at=1.0))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert journal.probe(1.0), journal.failure
assert journal.dropped == 0
print(admitted)
"""
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True, text=True)
    names = [str(n) for n in range(int(done.stdout))]
    assert len(names) > 10
    assert ids(tmp_path) == names * 2
    assert all(scan(path.read_bytes()).damaged == 0 for path in segments(tmp_path))


def test_a_folder_that_vanishes_fails_the_journal_and_not_the_process(tmp_path: Path, clock: Clock) -> None:
    journal = Journal(tmp_path / "j", "e1", segment_bytes=1, clock=clock)
    (tmp_path / "j" / "e1.lock").unlink()
    (tmp_path / "j").rmdir()
    with pytest.raises(JournalFailed, match="No such file"):
        journal.require(frame(opened()))
    (tmp_path / "j").mkdir()
    clock.now += 1
    journal.require(frame(opened()))
    journal.close()


async def test_every_waits_for_the_disk(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "e1")
    keeper = JournalSync(journal, "every")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        for n in range(3):
            journal.require(frame(opened(str(n))))
            await keeper.durable()
            assert journal.mark() == 0
        disk.syncs = False
        journal.require(frame(opened("lost")))
        with pytest.raises(JournalFailed, match="Input/output"):
            await keeper.durable()
        nursery.cancel_scope.cancel()
    journal.close()


async def test_groups_are_synced_and_a_failed_journal_recovers_alone(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "e1")
    keeper = JournalSync(journal, "group", 0.001)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.run)
            journal.require(frame(opened("a")))
            await keeper.durable()  # does not wait
            while journal.mark():  # noqa: ASYNC110
                await trio.sleep(0.001)
            disk.room = 0
            journal.note(settle_line(receipt("a"), metered=True, at=1.0))
            assert journal.failed
            disk.room = None
            while journal.failed:  # noqa: ASYNC110
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    assert journal.kept == 0
    assert ids(tmp_path) == ["a", "a"]
    journal.close()


async def test_the_end_of_the_keeper_syncs_what_is_left(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "e1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(JournalSync(journal, "group", 3600).run)
        await trio.testing.wait_all_tasks_blocked()
        journal.require(frame(opened()))
        nursery.cancel_scope.cancel()
    assert journal.mark() == 0
    journal.close()


def test_a_journal_that_forgets_is_not_synced(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "e1", keep_unsynced=False)
    JournalSync(journal, "none")
    with pytest.raises(ValueError, match="remember"):
        JournalSync(journal, "group")
    journal.close()
