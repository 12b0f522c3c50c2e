"""Objects that clients have made at channels: found by their organisation, and by nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fastanchor.store.objects import Made, ObjectStore


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    one = ObjectStore(tmp_path / "objects.sqlite")
    yield one
    one.close()


def made(name: str, created: float = 1.0, channel: str = "main") -> Made:
    return Made(name, channel, "account", created)


def test_is_found_by_its_owner_alone(store: ObjectStore) -> None:
    store.save("acme", "file", made("f"))
    assert store.find("acme", "file", "f") == made("f")
    assert store.find("evil", "file", "f") is None
    assert store.find("acme", "fine_tuning.job", "f") is None
    assert store.find("acme", "file", "F") is None


def test_two_owners_may_have_the_same_id(store: ObjectStore) -> None:
    store.save("a", "file", made("f", channel="one"))
    store.save("b", "file", made("f", channel="two"))
    found = [store.find(owner, "file", "f") for owner in "ab"]
    assert [one.channel for one in found if one] == ["one", "two"]


def test_is_gone_when_it_is_forgotten(store: ObjectStore) -> None:
    store.save("acme", "file", made("f"))
    store.forget("evil", "file", "f")
    assert store.find("acme", "file", "f")
    store.forget("acme", "file", "f")
    assert store.find("acme", "file", "f") is None


def test_pages_go_from_new_to_old(store: ObjectStore) -> None:
    for i in range(5):
        store.save("acme", "file", made(f"f{i}", created=float(i // 2)))
    store.save("evil", "file", made("theirs", created=9.0))
    first = store.page("acme", "file", "", 2)
    assert [one.id for one in first] == ["f4", "f3"]
    assert [one.id for one in store.page("acme", "file", "f3", 10)] == ["f2", "f1", "f0"]
    assert store.page("acme", "file", "theirs", 10) == []


def test_several_processes_see_the_same(store: ObjectStore, tmp_path: Path) -> None:
    other = ObjectStore(tmp_path / "objects.sqlite")
    other.save("acme", "file", made("f"))
    assert store.find("acme", "file", "f")
    other.close()
    assert (tmp_path / "objects.sqlite").stat().st_mode & 0o077 == 0
