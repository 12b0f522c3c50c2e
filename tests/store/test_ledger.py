"""The ledger: every record once, every micro-dollar in one place, whatever befalls journals, workers and the file."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups import _lines_pure
from fastanchor._speedups.lines import lines
from fastanchor.core.usage import Usage
from fastanchor.store import reports
from fastanchor.store.audit import verify
from fastanchor.store.entries import DAY
from fastanchor.store.journal import Journal, segments
from fastanchor.store.ledger import Account, Ledger
from fastanchor.store.records import Try, settle_line
from fastanchor.store.sqlite import Busy, StoreError, Unusable, Unwritable
from tests.kit.receipts import STARTED, frame, opened, receipt

NOW = STARTED + 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    journal = Journal(folder, "0001-0-1")
    yield journal
    journal.close()


@pytest.fixture
def ledger(tmp_path: Path, folder: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path / "ledger.db", folder, busy=50)
    ledger.grant("start", "acme", 100_000, "plan", STARTED)
    yield ledger
    ledger.close()


def sound(ledger: Ledger, balances: dict[str, int] | None = None) -> None:
    audit = verify(ledger, balances)
    assert audit.problems == ()


def row(ledger: Ledger, request_id: str = "req_1") -> dict[str, Any]:
    return next(row for row in reports.every_request(ledger) if row["id"] == request_id)


def test_a_request_moves_its_reservation_and_then_its_cost(ledger: Ledger, journal: Journal) -> None:
    journal.require(frame(opened()))
    assert ledger.fold(NOW).organizations == {"acme"}
    assert ledger.account("acme") == Account(100_000, 91_000, 9_000, 0)
    journal.note(settle_line(receipt(), metered=True, at=NOW))
    assert ledger.fold(NOW).records == 1
    assert ledger.account("acme") == Account(100_000, 99_500, 0, 500)
    sound(ledger, {"acme": 99_500})


def test_an_overrun_is_spent_and_visible(ledger: Ledger, journal: Journal) -> None:
    journal.require(frame(opened(cost=100_000)))
    journal.note(settle_line(receipt(cost=100_700), metered=True, at=NOW))
    ledger.fold(NOW)
    assert ledger.account("acme") == Account(100_000, -700, 0, 100_700)
    sound(ledger)


def test_requests_that_credits_do_not_pay_move_nothing_but_are_counted(ledger: Ledger, journal: Journal) -> None:
    journal.require(frame(opened(metered=False)))
    journal.note(settle_line(receipt(), metered=False, at=NOW))
    ledger.fold(NOW)
    assert ledger.account("acme") == Account(100_000, 100_000, 0, 0)
    (sums,) = reports.usage(ledger)
    assert (sums["cost"], sums["metered_cost"], sums["requests"]) == (500, 0, 1)
    sound(ledger)


def test_the_row_tells_all_that_the_receipt_told(ledger: Ledger, journal: Journal) -> None:
    journal.require(frame(opened()))
    journal.note(frame(Try("req_1", 5.0, "backup", "gpt-4o")))
    journal.note(frame(Try("req_1", 6.0, "main", "gpt-4o")))
    journal.note(settle_line(receipt(usage=Usage(90, 50, cache_read=10, reasoning=7, cost=480)), metered=True, at=NOW))
    ledger.fold(NOW)
    told = row(ledger)
    assert (told["state"], told["channel"], told["served_model"]) == ("settled", "main", "gpt-4o-2024-08-06")
    assert (told["input"], told["output"], told["cache_read"], told["reasoning"]) == (90, 50, 10, 7)
    assert (told["cost"], told["provider_cost"], told["reserved_cost"]) == (500, 480, 9_000)
    assert told["tries"] == [[5.0, "backup", "gpt-4o"], [6.0, "main", "gpt-4o"]]
    assert [attempt["outcome"] for attempt in told["attempts"]] == ["upstream_error", "won"]
    assert told["attempts"][1]["usage"]["input"] == 90


def test_folding_again_changes_nothing(ledger: Ledger, journal: Journal, tmp_path: Path, folder: Path) -> None:
    journal.require(frame(opened()))
    journal.note(settle_line(receipt(), metered=True, at=NOW))
    ledger.fold(NOW)
    before = (ledger.accounts(), reports.usage(ledger), row(ledger))
    assert ledger.fold(NOW).records == 0
    other = Ledger(tmp_path / "ledger.db", folder)
    assert other.fold(NOW).records == 0
    other.close()
    assert (ledger.accounts(), reports.usage(ledger), row(ledger)) == before


def test_two_folders_at_once_take_each_record_once(ledger: Ledger, journal: Journal, tmp_path: Path) -> None:
    other = Ledger(tmp_path / "ledger.db", ledger.folder)
    taken = 0
    for n in range(6):
        journal.require(frame(opened(f"r{n}")))
        taken += (ledger, other)[n % 2].fold(NOW).records
    taken += ledger.fold(NOW).records + other.fold(NOW).records
    other.close()
    assert taken == 6
    assert ledger.account("acme") == Account(100_000, 46_000, 54_000, 0)


def test_records_that_stand_twice_count_once(ledger: Ledger, journal: Journal) -> None:
    for _ in range(2):
        journal.require(frame(opened()))
        journal.note(frame(Try("req_1", 5.0, "main", "gpt-4o")))
        journal.note(settle_line(receipt(), metered=True, at=NOW))
    journal.require(frame(opened()))
    ledger.fold(NOW)
    assert ledger.account("acme") == Account(100_000, 99_500, 0, 500)
    assert reports.usage(ledger)[0]["requests"] == 1
    assert row(ledger)["tries"] == [[5.0, "main", "gpt-4o"]]
    sound(ledger)


def test_a_journal_that_is_written_again_is_told_apart_from_what_is_new(ledger: Ledger, journal: Journal) -> None:
    journal.require(frame(opened("a")))
    journal.require(frame(opened("b")))
    journal.note(settle_line(receipt("b"), metered=True, at=NOW))
    ledger.fold(NOW)
    for name in "abc":  # two of which the ledger has
        journal.require(frame(opened(name)))
    for name in "abc":
        journal.note(frame(Try(name, 5.0, "main", "gpt-4o")))
        journal.note(settle_line(receipt(name), metered=True, at=NOW))
    ledger.fold(NOW)
    assert ledger.account("acme") == Account(100_000, 98_500, 0, 1_500)
    assert [row(ledger, name)["state"] for name in "abc"] == ["settled"] * 3
    sound(ledger)


def test_lines_taken_apart_and_lines_decoded_lead_to_the_same_books(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal", "0001-0-1")
    for n, model in enumerate(["gpt-4o", "modèle", 'a "model"', "gpt-4o"]):
        name = f"r{n}"
        journal.require(frame(opened(name, model=model, channel="main", served=model)))
        usage = Usage(None, 50) if n else Usage(2**70, 50, cache_read=10, reasoning=7, cost=480)
        journal.note(settle_line(receipt(name, model=model, usage=usage), metered=True, at=NOW + n / 3))
    journal.require(frame(opened("open")))
    found = []
    for half in (lines, _lines_pure.lines):
        monkeypatch.setattr("fastanchor.store.batch.lines", half)
        ledger = Ledger(tmp_path / f"{len(found)}.db", tmp_path / "journal")
        assert ledger.fold(NOW).records == 9
        sound(ledger)
        usages = reports.usage(ledger, by=["key", "model"])
        found.append((list(reports.every_request(ledger)), usages, ledger.accounts()))
        ledger.close()
    journal.close()
    assert found[0] == found[1]


def test_a_settlement_whose_opening_was_lost_is_charged_all_the_same(ledger: Ledger, journal: Journal) -> None:
    journal.note(settle_line(receipt(), metered=True, at=NOW))
    journal.require(frame(opened()))
    ledger.fold(NOW)
    assert ledger.account("acme") == Account(100_000, 99_500, 0, 500)
    sound(ledger)


@pytest.mark.parametrize(("rule", "tried", "cost"), [("estimate", False, 9_000), ("estimate", True, 9_000),
                                                     ("tried", False, 0), ("tried", True, 9_000)])
def test_what_a_dead_worker_left_open_is_settled_by_rule(
    tmp_path: Path, folder: Path, rule: Any, tried: bool, cost: int
) -> None:
    ledger = Ledger(tmp_path / "l.db", folder, rule=rule)
    ledger.grant("start", "acme", 100_000, "plan", STARTED)
    journal = Journal(folder, "0001-0-1")
    journal.require(frame(opened()))
    if tried:
        journal.note(frame(Try("req_1", 5.0, "main", "gpt-4o")))
    assert ledger.fold(NOW).lost == 0
    journal.close()  # as far as the lock says, it died
    done = ledger.fold(NOW)
    assert (done.lost, done.organizations) == (1, {"acme"})
    assert ledger.account("acme") == Account(100_000, 100_000 - cost, 0, cost)
    told = row(ledger)
    assert (told["state"], told["ending"], told["estimated"]) == ("settled_by_rule", "worker_lost", True)
    assert ledger.fold(NOW).lost == 0
    sound(ledger)
    ledger.close()


def test_a_settlement_after_all_corrects_what_the_rule_charged(ledger: Ledger, journal: Journal, folder: Path) -> None:
    journal.require(frame(opened()))
    (folder / "0001-0-1.lock").unlink()  # the worker lives, but nobody can tell
    assert ledger.fold(NOW).lost == 1
    sound(ledger)
    again = Journal(folder, "0002-0-1")
    again.note(settle_line(receipt(), metered=True, at=NOW))
    ledger.fold(NOW)
    again.close()
    assert ledger.account("acme") == Account(100_000, 99_500, 0, 500)
    (sums,) = reports.usage(ledger)
    assert (sums["requests"], sums["failed"], sums["cost"]) == (1, 0, 500)
    sound(ledger)


def test_a_torn_tail_waits_for_the_living_and_is_passed_over_for_the_dead(ledger: Ledger, folder: Path) -> None:
    lines = frame(opened()) + settle_line(receipt(), metered=True, at=NOW)
    journal = Journal(folder, "0001-0-1")
    path = folder / "0001-0-1.000001.journal"
    first = len(frame(opened()))
    for cut in range(len(lines) + 1):
        path.write_bytes(lines[:cut])
        ledger.fold(NOW)
        account = ledger.account("acme")
        assert account is not None
        expected = (0, 0) if cut < first else (9_000, 0) if cut < len(lines) else (0, 500)
        assert (account.held, account.spent) == expected
    with open(path, "ab") as file:
        file.write(frame(opened("req_2"))[:-1])
    journal.close()
    assert ledger.fold(NOW).records == 0
    audit = verify(ledger)
    assert (audit.problems, audit.torn, audit.open) == ((), len(frame(opened("req_2"))) - 1, 0)


@pytest.mark.parametrize("cut", range(0, 90, 7))
def test_a_journal_torn_by_a_crash_loses_at_most_its_last_record(tmp_path: Path, cut: int) -> None:
    folder = tmp_path / "journal"
    journal = Journal(folder, "0001-0-1")
    for n in range(5):
        journal.require(frame(opened(f"r{n}")))
    journal.close()
    (path,) = segments(folder)
    os.truncate(path, path.stat().st_size - cut % len(frame(opened("r0"))))
    ledger = Ledger(tmp_path / "ledger.db", folder)
    done = ledger.fold(NOW)
    assert done.records == done.lost == (5 if cut == 0 else 4)
    sound(ledger)
    ledger.close()


def test_an_attempt_that_used_what_its_request_did_says_so_in_numbers(ledger: Ledger, journal: Journal) -> None:
    usage = Usage(90, 50, reasoning=7)
    attempt = replace(receipt().attempts[1], usage=usage)
    journal.note(settle_line(receipt(usage=usage, attempts=(attempt,)), metered=True, at=NOW))
    ledger.fold(NOW)
    (told,) = row(ledger)["attempts"]
    assert (told["usage"]["input"], told["usage"]["output"], told["usage"]["reasoning"]) == (90, 50, 7)


def test_damage_is_counted_and_the_rest_is_read(ledger: Ledger, journal: Journal, folder: Path) -> None:
    for name in "abc":
        journal.require(frame(opened(name)))
    (path,) = segments(folder)
    data = bytearray(path.read_bytes())
    data[len(frame(opened("a"))) + 30] ^= 1
    path.write_bytes(data)
    done = ledger.fold(NOW)
    assert (done.records, done.damaged) == (2, 1)
    assert verify(ledger).damaged == 1


def test_a_segment_larger_than_a_batch_is_read_to_its_end(
    ledger: Ledger, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastanchor.store.ledger.BATCH_BYTES", 300)
    for n in range(50):
        journal.require(frame(opened(f"r{n}")))
    assert ledger.fold(NOW).records == 50


def test_grants_count_once_and_may_be_taken_back(ledger: Ledger) -> None:
    assert not ledger.grant("start", "acme", 5, "again", NOW)
    assert ledger.grant("topup", "acme", 1_000, "invoice 7", NOW)
    assert ledger.grant("back", "acme", -400, "mistake", NOW)
    assert ledger.account("acme") == Account(100_600, 100_600, 0, 0)
    with pytest.raises(ValueError, match="range"):
        ledger.grant("huge", "acme", 1 << 63, "", NOW)
    sound(ledger)


@pytest.mark.parametrize("cost", [-1, 2**31, 2**53, 2**63, 10**40])
def test_absurd_amounts_are_bounded_and_never_negative(ledger: Ledger, journal: Journal, cost: int) -> None:
    journal.require(frame(opened(cost=cost, tokens=cost)))
    usage = Usage(cost, cost, cache_read=cost, cost=cost)
    journal.note(settle_line(receipt(cost=cost, usage=usage), metered=True, at=NOW))
    ledger.fold(NOW)
    account = ledger.account("acme")
    assert account is not None
    assert 0 <= account.spent <= 1 << 50
    sound(ledger)


def test_expired_requests_leave_their_cost_behind(ledger: Ledger, journal: Journal, folder: Path) -> None:
    for name, started in (("old", STARTED), ("new", STARTED + 10 * DAY)):
        journal.require(frame(opened(name, at=started)))
        journal.note(settle_line(receipt(name, started=started), metered=True, at=started))
    journal.require(frame(opened("open")))
    ledger.fold(NOW)
    before = (ledger.accounts(), reports.usage(ledger, by=["day"]))
    assert ledger.expire(STARTED + DAY) == 1
    assert {row["id"] for row in reports.every_request(ledger)} == {"new", "open"}
    assert (ledger.accounts(), reports.usage(ledger, by=["day"])) == before
    assert segments(folder)
    sound(ledger)


def test_old_journals_of_the_dead_are_removed(ledger: Ledger, folder: Path) -> None:
    for epoch in ("0001-0-1", "0002-0-1"):
        journal = Journal(folder, epoch)
        journal.require(frame(opened(epoch)))
        if epoch.startswith("0001"):
            journal.close()
    ledger.fold(NOW)
    for path in folder.iterdir():
        os.utime(path, (1.0, 1.0))
    ledger.expire(2.0)
    assert sorted(path.name for path in folder.iterdir()) == ["0002-0-1.000001.journal", "0002-0-1.lock"]
    sound(ledger)
    journal.close()


def test_a_locked_database_stops_nothing_and_loses_nothing(ledger: Ledger, journal: Journal, tmp_path: Path) -> None:
    journal.require(frame(opened()))
    other = apsw.Connection(str(tmp_path / "ledger.db"))
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(Busy, match="locked"):
        ledger.fold(NOW)
    journal.note(settle_line(receipt(), metered=True, at=NOW))
    other.execute("ROLLBACK")
    other.close()
    assert ledger.fold(NOW).records == 2
    sound(ledger)


def test_a_database_on_a_full_disk_takes_nothing_by_halves(ledger: Ledger, journal: Journal) -> None:
    for n in range(1_000):
        journal.require(frame(opened(f"r{n}")))
    pages = ledger.database.connection.execute("PRAGMA page_count").get
    ledger.database.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unwritable, match="full"):
        ledger.fold(NOW)
    assert ledger.account("acme") == Account(100_000, 100_000, 0, 0)
    ledger.database.connection.execute("PRAGMA max_page_count = 1000000")
    assert ledger.fold(NOW).records == 1_000
    sound(ledger)


@pytest.mark.parametrize("content", [b"this is no database, whatever else it may be" * 100, b"SQLite format 3\0" * 300])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, folder: Path, content: bytes) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"ledger\.db"):
        Ledger(path, folder)
    assert path.read_bytes() == content


def test_a_damaged_page_is_said_and_the_journals_stay(
    ledger: Ledger, journal: Journal, tmp_path: Path, folder: Path
) -> None:
    for n in range(500):
        journal.require(frame(opened(f"r{n}")))
    ledger.fold(NOW)
    ledger.close()
    path = tmp_path / "ledger.db"
    data = bytearray(path.read_bytes())
    for page in range(2, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    path.write_bytes(data)
    damaged = Ledger(path, folder)
    journal.require(frame(opened("after")))
    with pytest.raises(Unusable, match="damaged"):
        damaged.fold(NOW)
    damaged.close()
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    anew = Ledger(path, folder)
    assert anew.fold(NOW).records == 501
    sound(anew)
    anew.close()


def test_a_database_of_a_newer_program_is_refused(ledger: Ledger, tmp_path: Path, folder: Path) -> None:
    ledger.database.connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Unusable, match="schema 99"):
        Ledger(tmp_path / "ledger.db", folder)


def test_another_programs_database_is_refused(tmp_path: Path, folder: Path) -> None:
    other = apsw.Connection(str(tmp_path / "ledger.db"))
    other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(Unusable, match="another program"):
        Ledger(tmp_path / "ledger.db", folder)


def test_a_log_without_its_database_is_not_answered_with_an_empty_one(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "ledger.db-wal").write_bytes(b"x" * 100)
    with pytest.raises(Unusable, match="is gone"):
        Ledger(tmp_path / "ledger.db", folder)
    assert not (tmp_path / "ledger.db").exists()


TAMPERINGS = [
    ("UPDATE request SET cost = cost + 1 WHERE id = 'a'", "cost"),
    ("DELETE FROM request WHERE id = 'a'", "not in the ledger"),
    ("UPDATE request SET state = 0 WHERE id = 'a'", "settled, but not"),
    ("UPDATE request SET organization = 'evil' WHERE id = 'a'", "somebody else"),
    ("UPDATE account SET spent = spent - 1, available = available + 1", "spent"),
    ("UPDATE account SET held = held - 1, available = available + 1", "held"),
    ("UPDATE account SET granted = granted + 1, available = available + 1", "granted"),
    ("UPDATE usage SET metered_cost = 0", "usage"),
    ("DELETE FROM account", "missing"),
    ("UPDATE credit SET amount = 1", "credits"),
    ("UPDATE segment SET size = size + 1000", "shorter"),
]


@pytest.mark.parametrize(("statement", "word"), TAMPERINGS, ids=[t[1] for t in TAMPERINGS])
def test_verify_finds_what_does_not_add_up(ledger: Ledger, journal: Journal, statement: str, word: str) -> None:
    journal.require(frame(opened("a")))
    journal.note(settle_line(receipt("a"), metered=True, at=NOW))
    journal.require(frame(opened("b")))
    ledger.fold(NOW)
    sound(ledger)
    ledger.database.connection.execute(statement)
    problems = verify(ledger).problems
    assert any(word in problem for problem in problems), problems


def test_verify_compares_what_admission_may_spend(ledger: Ledger) -> None:
    sound(ledger, {"acme": 100_000})
    (problem,) = verify(ledger, {"acme": 99_999}).problems
    assert "99999" in problem


def test_an_account_that_does_not_add_up_cannot_be_written(ledger: Ledger) -> None:
    with pytest.raises(StoreError, match="CHECK"), ledger.database.transaction() as db:
        db.execute("UPDATE account SET spent = spent + 1")


def test_usage_is_summed_by_key_model_and_day(ledger: Ledger, journal: Journal) -> None:
    for n, (key, model, day) in enumerate([("k1", "a", 0), ("k1", "b", 0), ("k2", "a", 1), ("k1", "a", 1)]):
        journal.note(settle_line(
            receipt(f"r{n}", key_id=key, model=model, started=STARTED + day * DAY, ending=["done", "silent"][n == 2]),
            metered=True,
            at=NOW,
        ))
    ledger.fold(NOW)
    by_key = {row["key"]: row["requests"] for row in reports.usage(ledger, by=["key"])}
    assert by_key == {"k1": 3, "k2": 1}
    (total,) = reports.usage(ledger, organization="acme")
    assert (total["requests"], total["failed"], total["input"], total["cost"]) == (4, 1, 360, 2_000)
    (other,) = reports.usage(ledger, organization="else")
    assert other["requests"] == 0
    (first,) = reports.usage(ledger, until=STARTED + 1)
    assert first["requests"] == 2
    assert len(reports.usage(ledger, key="k1", by=["model", "day"])) == 3


def test_the_log_is_read_page_by_page_latest_first(ledger: Ledger, journal: Journal) -> None:
    for n in range(7):
        journal.note(settle_line(receipt(f"r{n}", started=STARTED + n // 2), metered=True, at=NOW))
    ledger.fold(NOW)
    page = reports.requests(ledger, limit=3)
    rest = reports.requests(ledger, before=(page[-1]["opened"], page[-1]["id"]), limit=100)
    assert [row["id"] for row in page + rest] == [f"r{n}" for n in reversed(range(7))]


def test_exports_hold_every_request_and_run_no_formula(ledger: Ledger, journal: Journal) -> None:
    journal.note(settle_line(receipt("a", model="=HYPERLINK(1)"), metered=True, at=NOW))
    journal.note(settle_line(receipt("b", model='x,"y\n'), metered=True, at=NOW))
    ledger.fold(NOW)
    lines = [json.loads(line) for line in reports.as_json_lines(reports.every_request(ledger))]
    table = b"".join(reports.as_csv(reports.every_request(ledger))).decode()
    cells = list(csv.DictReader(io.StringIO(table)))
    assert {line["model"] for line in lines} == {"=HYPERLINK(1)", 'x,"y\n'}
    assert {line["model"] for line in cells} == {"'=HYPERLINK(1)", 'x,"y\n'}
    assert json.loads(cells[0]["attempts"])[1]["outcome"] == "won"


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["open", "settle", "try"])), max_size=40),
       st.integers(1, 7))
def test_the_books_add_up_whatever_the_order(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]], often: int
) -> None:
    folder = tmp_path_factory.mktemp("books")
    ledger = Ledger(folder / "ledger.db", folder / "journal")
    ledger.grant("start", "acme", 10_000, "plan", STARTED)
    journal = Journal(folder / "journal", "0001-0-1")
    metered = {name: name != "d" for name in "abcd"}
    for n, (name, what) in enumerate(steps):
        if what == "open":
            journal.require(frame(opened(name, cost=ord(name) * 10, metered=metered[name])))
        elif what == "settle":
            journal.note(settle_line(receipt(name, cost=500), metered=metered[name], at=NOW))
        else:
            journal.note(frame(Try(name, float(n), "main", "m")))
        if n % often == 0:
            ledger.fold(NOW)
    journal.close()
    ledger.fold(NOW)
    audit = verify(ledger)
    assert (audit.problems, audit.open) == ((), 0)
    account = ledger.account("acme")
    assert account is not None
    settled_names = {name for name, what in steps if what == "settle"}
    lost = {name for name, what in steps if what == "open"} - settled_names
    spent = sum(500 for name in settled_names - {"d"}) + sum(ord(name) * 10 for name in lost - {"d"})
    assert account == Account(10_000, 10_000 - spent, 0, spent)
    ledger.close()
