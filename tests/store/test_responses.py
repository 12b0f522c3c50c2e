"""The store of responses: ownership, retention, the bound on its size, and several users of one file."""

from __future__ import annotations

import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from fastanchor.core.faults import Fault, Kind
from fastanchor.store.responses import ResponseStore, StoredResponse

ITEMS = b'[{"role":"user","content":"hi"}]'
ANSWER = b'{"id":"resp_1","object":"response"}'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "responses.db"


@pytest.fixture
def store(path: Path) -> Iterator[ResponseStore]:
    store = ResponseStore(path, retention=100.0, max_bytes=10_000)
    yield store
    store.close()


def keep(store: ResponseStore, response_id: str = "resp_1", owner: str = "acme", *, items: bytes = ITEMS,
         created: float = 1000.0) -> bool:  # fmt: skip
    return store.save(response_id, owner, model="m", channel="c", items=items, response=ANSWER, created=created)


def noise(size: int) -> bytes:
    """Bytes that do not get smaller when they are compressed."""
    return bytes((number * number * 2654435761 >> 13) & 0xFF for number in range(size))


def test_a_saved_response_comes_back_as_it_was(store: ResponseStore) -> None:
    assert keep(store)
    assert store.load("resp_1", "acme", 1001.0) == StoredResponse("resp_1", "m", "c", ITEMS, ANSWER, 1000.0)


def test_a_native_response_is_only_a_channel(store: ResponseStore) -> None:
    store.save("resp_2", "acme", model="m", channel="openai-main", created=1000.0)
    found = store.load("resp_2", "acme", 1000.0)
    assert found is not None
    assert (found.channel, found.items, found.response) == ("openai-main", b"", b"")


def test_nobody_else_can_see_or_delete_it(store: ResponseStore) -> None:
    keep(store)
    assert store.load("resp_1", "other", 1001.0) is None
    assert not store.delete("resp_1", "other", 1001.0)
    assert store.load("resp_1", "acme", 1001.0) is not None


def test_two_owners_may_have_the_same_id(store: ResponseStore) -> None:
    keep(store, owner="a", items=b'["a"]')
    keep(store, owner="b", items=b'["b"]')
    first, second = store.load("resp_1", "a", 1000.0), store.load("resp_1", "b", 1000.0)
    assert first is not None
    assert second is not None
    assert (first.items, second.items) == (b'["a"]', b'["b"]')


def test_saving_again_replaces(store: ResponseStore) -> None:
    keep(store, items=b'["old"]')
    before = store.size
    keep(store, items=b'["new"]')
    found = store.load("resp_1", "acme", 1000.0)
    assert found is not None
    assert found.items == b'["new"]'
    assert store.size == before


def test_a_deleted_response_is_gone(store: ResponseStore) -> None:
    keep(store)
    assert store.delete("resp_1", "acme", 1001.0)
    assert not store.delete("resp_1", "acme", 1001.0)
    assert store.load("resp_1", "acme", 1001.0) is None
    assert store.size == 0


@pytest.mark.parametrize(("now", "found"), [(1099.9, True), (1100.0, False), (5000.0, False)])
def test_retention_holds_before_anything_is_deleted(store: ResponseStore, now: float, found: bool) -> None:
    keep(store)
    assert (store.load("resp_1", "acme", now) is not None) is found
    assert store.delete("resp_1", "acme", now) is found


def test_expiry_forgets_what_is_too_old_and_nothing_else(store: ResponseStore) -> None:
    keep(store, "old", created=1000.0)
    keep(store, "new", created=1050.0)
    assert store.expire(1100.0) == 1
    assert store.expire(1100.0) == 0
    assert store.load("new", "acme", 1100.0) is not None


def test_the_oldest_make_room_for_the_newest(store: ResponseStore) -> None:
    for number in range(8):
        keep(store, f"resp_{number}", items=noise(2500), created=1000.0 + number)
        assert store.size <= 10_000
    kept = [number for number in range(8) if store.load(f"resp_{number}", "acme", 1008.0) is not None]
    assert kept == [5, 6, 7]


def test_one_response_larger_than_the_store_is_not_kept_and_pushes_nothing_out(store: ResponseStore) -> None:
    keep(store)
    assert not keep(store, "huge", items=noise(20_000))
    assert store.load("huge", "acme", 1000.0) is None
    assert store.load("resp_1", "acme", 1000.0) is not None


def test_what_is_stored_survives_a_restart(path: Path) -> None:
    first = ResponseStore(path)
    keep(first)
    first.close()
    second = ResponseStore(path)
    found = second.load("resp_1", "acme", 1001.0)
    assert found is not None
    assert found.items == ITEMS
    assert second.size > 0
    second.close()


def test_two_processes_share_one_file(store: ResponseStore, path: Path) -> None:
    other = ResponseStore(path, retention=100.0, max_bytes=10_000)
    keep(store)
    assert other.load("resp_1", "acme", 1001.0) is not None
    assert other.delete("resp_1", "acme", 1001.0)
    assert store.load("resp_1", "acme", 1001.0) is None
    assert store.size == other.size == 0
    other.close()


def test_threads_take_turns(store: ResponseStore) -> None:
    def work(name: int) -> None:
        for number in range(10):
            keep(store, f"resp_{name}_{number}", items=b"[]")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(store.load(f"resp_{name}_9", "acme", 1001.0) is not None for name in range(4))


def test_only_its_user_may_read_the_file(store: ResponseStore, path: Path) -> None:
    keep(store)
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0


def test_a_broken_database_is_a_fault(path: Path) -> None:
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(Fault) as told:
        ResponseStore(path)
    assert told.value.kind is Kind.SERVICE_UNAVAILABLE


def test_a_failed_save_leaves_what_was_there(store: ResponseStore, path: Path) -> None:
    keep(store)
    raw = apsw.Connection(str(path))
    raw.execute("CREATE TRIGGER refuse BEFORE INSERT ON response BEGIN SELECT raise(ABORT, 'no'); END")
    raw.close()
    with pytest.raises(Fault):
        keep(store, items=b'["new"]')
    found = store.load("resp_1", "acme", 1000.0)
    assert found is not None
    assert found.items == ITEMS
