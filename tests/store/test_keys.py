"""Keys: shown once, known by digest, revoked and rotated with effect in every worker."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import UNLIMITED, Plan, Principal
from fastanchor.policy.grants import Grant
from fastanchor.settings.secrets import key_digest
from fastanchor.store import shm
from fastanchor.store.keyring import Keyring
from fastanchor.store.keys import KeyStore, NewKey, shown
from fastanchor.store.pepper import PepperError, load_pepper
from fastanchor.store.sqlite import StoreError, Unusable

NOW = 1_780_000_000.0
PEPPER = bytes(range(32))
PLANS = {"pro": Plan("pro", requests_per_minute=60)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.db"


@pytest.fixture
def store(path: Path) -> Iterator[KeyStore]:
    store = KeyStore(path, PEPPER, prefix="anz")
    yield store
    store.close()


@pytest.fixture
def ring(path: Path) -> Keyring:
    return Keyring(path, PLANS)


def make(store: KeyStore, name: str = "prod", organization: str = "acme", plan: str = "pro") -> NewKey:
    grant = Grant(name, organization, frozenset({"inference", "training"}), models=("gpt-*",), plan=plan,
                  limits=Plan("", tokens_per_day=500), expires=NOW + 1_000, addresses=("10.0.0.0/8",))
    return store.create(grant, grantor=None, now=NOW)


def holder(ring: Keyring, key: str) -> Principal | None:
    return ring.keys.get(key_digest(key, PEPPER))


def test_a_key_is_found_by_its_digest_with_all_its_rights(store: KeyStore, ring: Keyring) -> None:
    new = make(store)
    (changed,) = ring.refresh()
    assert holder(ring, new.key) is changed
    assert changed == Principal(
        new.info.id, "prod", "acme", frozenset({"inference", "training"}), ("gpt-*",), (), PLANS["pro"],
        Plan("prod", tokens_per_day=500), NOW + 1_000, ("10.0.0.0/8",),
    )
    assert holder(ring, new.key[:-1]) is None


def test_a_key_has_its_prefix_its_public_id_and_a_long_secret(store: KeyStore) -> None:
    new = make(store)
    prefix, public, secret = new.key.split("-")
    assert (prefix, public, len(secret)) == ("anz", new.info.id, 43)
    assert new.key.startswith(new.info.hint)
    assert make(store).key != new.key


def test_a_secret_is_nowhere_but_in_the_answer(store: KeyStore, path: Path) -> None:
    new = make(store)
    secret = new.key.rpartition("-")[2]
    assert secret not in repr(new)
    assert secret not in str(shown(new.info))
    assert secret not in repr(store.list())
    written = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for size in (43, 20, 12):
        assert secret[:size].encode() not in written
    assert new.info.id.encode() in written


def test_keys_that_share_a_long_start_have_nothing_in_common(store: KeyStore, ring: Keyring) -> None:
    new = make(store)
    ring.refresh()
    for size in (20, 40, len(new.key) - 1):
        assert holder(ring, new.key[:size] + "x" * (len(new.key) - size)) in (None, holder(ring, new.key[:size]))


def test_a_revoked_key_is_gone_at_once_and_stays_in_the_list_of_the_revoked(store: KeyStore, ring: Keyring) -> None:
    new, other = make(store), make(store)
    ring.refresh()
    assert store.revoke(new.info.id, "acme", now=NOW)
    assert not store.revoke(new.info.id, "acme", now=NOW)
    ring.refresh()
    assert holder(ring, new.key) is None
    assert holder(ring, other.key) is not None
    assert [info.id for info in store.list("acme")] == [other.info.id]
    assert {info.revoked for info in store.list("acme", revoked=True)} == {None, NOW}


def test_a_rotated_key_keeps_its_id_and_both_secrets_for_the_overlap(store: KeyStore, ring: Keyring) -> None:
    old = make(store)
    new = store.rotate(old.info.id, "acme", overlap=60, now=NOW)
    assert new is not None
    assert new.info == old.info
    assert new.key.startswith(old.info.hint)
    ring.refresh()
    before, after = holder(ring, old.key), holder(ring, new.key)
    assert before is not None
    assert after is not None
    assert (before.key_id, before.expires) == (after.key_id, NOW + 60)
    assert after.expires == NOW + 1_000


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(store: KeyStore, ring: Keyring) -> None:
    old = make(store)
    ring.refresh()
    new = store.rotate(old.info.id, overlap=0, now=NOW)
    assert new is not None
    ring.refresh()
    assert holder(ring, old.key) is None
    assert holder(ring, new.key) is not None


def test_a_second_rotation_does_not_lengthen_the_first_ones_overlap(store: KeyStore, ring: Keyring) -> None:
    first = make(store)
    store.rotate(first.info.id, overlap=10, now=NOW)
    store.rotate(first.info.id, overlap=1_000, now=NOW)
    ring.refresh()
    found = holder(ring, first.key)
    assert found is not None
    assert found.expires == NOW + 10


def test_to_another_organisation_a_key_does_not_exist(store: KeyStore) -> None:
    new = make(store)
    assert store.get(new.info.id, "evil") is None
    assert not store.revoke(new.info.id, "evil", now=NOW)
    assert store.rotate(new.info.id, "evil", overlap=0, now=NOW) is None
    assert store.list("evil") == []
    assert store.get(new.info.id, "acme") == store.get(new.info.id) == new.info
    assert store.get("nothing") is None


def test_a_revoked_key_cannot_be_rotated(store: KeyStore) -> None:
    new = make(store)
    store.revoke(new.info.id, now=NOW)
    assert store.rotate(new.info.id, overlap=0, now=NOW) is None


def test_a_key_grants_what_it_has_and_a_refusal_changes_nothing(store: KeyStore, ring: Keyring) -> None:
    grantor = Principal("boss", "boss", "acme", frozenset({"admin"}), models=("gpt-*",), plan=PLANS["pro"])
    child = store.create(Grant("child", models=("gpt-4o",)), grantor=grantor, now=NOW)
    assert (child.info.organization, child.info.plan, child.info.created_by) == ("acme", "pro", "boss")
    for wider in (Grant("x", organization="evil"), Grant("x", models=("*",)), Grant("x", plan="max")):
        with pytest.raises(Fault) as caught:
            store.create(wider, grantor=grantor, now=NOW)
        assert caught.value.kind is Kind.PERMISSION_DENIED
    assert [info.name for info in store.list()] == ["child"]


def test_a_key_without_a_plan_is_not_limited_and_one_of_an_unknown_plan_not_let_in(
    store: KeyStore, ring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    free, gone = make(store, plan=""), make(store, plan="gone")
    ring.refresh()
    found = holder(ring, free.key)
    assert found is not None
    assert found.plan is UNLIMITED
    assert holder(ring, gone.key) is None
    assert "no plan 'gone'" in caplog.text
    ring.replan({**PLANS, "gone": Plan("gone")})
    ring.refresh()
    assert holder(ring, gone.key) is not None


def test_only_what_changed_is_read_again(store: KeyStore, ring: Keyring) -> None:
    keys = [make(store, str(n)) for n in range(5)]
    assert len(ring.refresh()) == 5
    assert ring.refresh() == []
    before = ring.keys
    store.revoke(keys[2].info.id, now=NOW)
    sixth = make(store, "6")
    assert [principal.key_id for principal in ring.refresh()] == [sixth.info.id]
    assert ring.keys is before
    assert len(ring.keys) == 5


def test_limits_of_an_organisation_are_those_of_all_its_keys(store: KeyStore, ring: Keyring) -> None:
    made = make(store)
    ring.refresh()
    whole = Plan("acme", requests_per_minute=9)
    ring.replan(dict(PLANS), {"acme": whole})
    ring.refresh()
    found = holder(ring, made.key)
    assert found is not None
    assert found.shared is whole


def test_the_same_plans_again_cost_nothing(store: KeyStore, ring: Keyring) -> None:
    make(store)
    ring.refresh()
    ring.replan(dict(PLANS), {})
    assert ring.refresh() == []
    ring.replan({"pro": Plan("pro", requests_per_minute=5)})
    (found,) = ring.refresh()
    assert found.plan.requests_per_minute == 5


def test_a_worker_without_a_database_has_no_keys_yet(path: Path, ring: Keyring) -> None:
    assert ring.refresh() == []
    store = KeyStore(path, PEPPER)
    new = make(store)
    store.close()
    ring.refresh()
    assert holder(ring, new.key) is not None


def test_a_database_that_cannot_be_read_keeps_the_known_keys(store: KeyStore, ring: Keyring, path: Path) -> None:
    new = make(store)
    ring.refresh()
    store.close()
    path.write_bytes(b"nonsense" * 1_000)
    with pytest.raises(StoreError):
        ring.refresh()
    assert holder(ring, new.key) is not None


def test_another_pepper_is_refused_before_keys_are_made_with_it(store: KeyStore, path: Path) -> None:
    with pytest.raises(Unusable, match="pepper"):
        KeyStore(path, bytes(32))
    KeyStore(path, PEPPER).close()


@pytest.mark.parametrize("prefix", ["", "a b", "ä", "a/b"])
def test_a_prefix_that_no_header_could_carry_is_refused(path: Path, prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        KeyStore(path, PEPPER, prefix=prefix)


def test_a_prefix_may_have_hyphens_and_may_change(path: Path, ring: Keyring) -> None:
    first = KeyStore(path, PEPPER, prefix="sk-fa")
    old = make(first)
    first.close()
    second = KeyStore(path, PEPPER, prefix="anz")
    new = second.rotate(old.info.id, overlap=5, now=NOW)
    assert new is not None
    assert new.key.startswith(f"sk-fa-{old.info.id}-")
    assert make(second).key.startswith("anz-")
    second.close()


def test_every_change_is_told_after_it_is_on_the_disk(path: Path) -> None:
    seen = []

    def look() -> None:
        database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        seen.append(database.execute("SELECT count(*), count(revoked) FROM key").fetchone())
        database.close()

    store = KeyStore(path, PEPPER, changed=look)
    new = make(store)
    store.rotate(new.info.id, overlap=0, now=NOW)
    store.revoke(new.info.id, now=NOW)
    store.revoke(new.info.id, now=NOW)
    store.close()
    assert seen == [(1, 0), (1, 0), (1, 1)]


@pytest.mark.parametrize("text", ["'; DROP TABLE key; --", "%", "\\", "\u202e", "é" * 100])
def test_no_text_is_taken_for_a_command(store: KeyStore, ring: Keyring, text: str) -> None:
    assert store.get(text) is None
    assert store.list(text) == []
    if text.isprintable():
        make(store, text, text)
        (found,) = ring.refresh()
        assert (found.name, found.organization) == (text, text)


async def test_a_change_is_in_force_in_a_worker_soon(tmp_path: Path) -> None:
    shm.prepare(tmp_path, owners=1, workers=1)
    table, _ = shm.open_tables(tmp_path, 0)
    store = KeyStore(tmp_path / "keys.db", PEPPER, changed=lambda: table.bump(shm.KEYS_CHANGED))
    ring = Keyring(tmp_path / "keys.db", PLANS)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ring.follow, table)
            new = make(store)
            while holder(ring, new.key) is None:  # noqa: ASYNC110
                await trio.sleep(0.001)
            store.revoke(new.info.id, now=NOW)
            while holder(ring, new.key) is not None:  # noqa: ASYNC110
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
    store.close()


@pytest.mark.slow
def test_many_keys_are_loaded_in_time(store: KeyStore, ring: Keyring) -> None:
    new = make(store)
    row = "x', 'fa', 'acme', 'n', '[\"inference\"]', '[]', '[]', '[]', 'pro', NULL, NULL, 1.0, '', NULL"
    with store._database.transaction() as db:
        for n in range(100_000):
            db.execute(f"INSERT INTO key VALUES ('{n}{row}, {n + 10})")
            db.execute("INSERT INTO secret VALUES (?, ?, 1.0, NULL)", (os.urandom(16), f"{n}x"))
    started = time.perf_counter()
    assert len(ring.refresh()) == 100_001
    assert time.perf_counter() - started < 30
    assert holder(ring, new.key) is not None


def test_the_pepper_is_made_once_and_is_nobody_elses(tmp_path: Path) -> None:
    path = tmp_path / "pepper"
    pepper = load_pepper(path)
    assert len(pepper) == 32
    assert load_pepper(path) == pepper
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["pepper"]


def test_processes_that_make_the_pepper_at_once_get_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "pepper"
    first = load_pepper(path)
    monkeypatch.setattr(Path, "exists", lambda self: False)
    assert load_pepper(path) == first


@pytest.mark.parametrize(
    ("content", "mode", "word"), [(b"short", 0o600, "5 bytes"), (bytes(32), 0o644, "read by others")]
)
def test_a_pepper_that_cannot_be_trusted_is_refused(tmp_path: Path, content: bytes, mode: int, word: str) -> None:
    path = tmp_path / "pepper"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(PepperError, match=word):
        load_pepper(path)
