"""Admission, journal, ledger and balances together: with one worker, with failing disks, and with killed processes."""

from __future__ import annotations

import errno
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest
import trio

from fastanchor._speedups.bucket import Table
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Plan, Principal
from fastanchor.core.usage import Usage
from fastanchor.policy.limits import Demand
from fastanchor.store import reports, shm
from fastanchor.store.admission import Admission
from fastanchor.store.audit import verify
from fastanchor.store.bookkeeper import Bookkeeper, rest
from fastanchor.store.journal import Journal, new_epoch
from fastanchor.store.ledger import Account, Ledger
from fastanchor.store.limiter import Limiter, Ticket, key_owner, organization_owner
from fastanchor.store.records import settle_line
from tests.kit.receipts import receipt

CREDITS = 10_000_000
KEEP = 1e10  # the receipts of these tests are from no particular time
PAID = Principal("k1", "k1", "acme", plan=Plan("payg", concurrent_requests=50, requests_per_day=10**9, credits=CREDITS))
FREE = Principal("k2", "k2", "else", plan=Plan("open", concurrent_requests=50))
DEMAND = Demand(100, 1_000)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    shm.prepare(tmp_path, owners=10, workers=4)
    return tmp_path


@pytest.fixture
def table(state_dir: Path) -> Iterator[Table]:
    table, addresses = shm.open_tables(state_dir)
    yield table
    table.close()
    addresses.close()


@pytest.fixture
def books(state_dir: Path, table: Table) -> Iterator[Bookkeeper]:
    books = Bookkeeper(state_dir, table, retention=KEEP, busy=50)
    yield books
    books.close()


def admission(state_dir: Path, worker: int = 0) -> Admission:
    table, _ = shm.open_tables(state_dir, worker)
    return Admission(Limiter(table), Journal(state_dir / "journal", new_epoch(worker)))


def begun(worker: Admission, principal: Principal, request_id: str) -> Ticket:
    """A request that was admitted and has been sent to a provider."""
    ticket = worker.admit(principal, DEMAND, request_id, "m")
    worker.attempt(ticket, "main", "m")
    return ticket


def balance(table: Table) -> int | None:
    return table.balance(organization_owner("acme"))


def sound(books: Bookkeeper, table: Table) -> None:
    now = balance(table)
    audit = verify(books.ledger, {} if now is None else {"acme": now})
    assert audit.problems == ()


def test_a_request_is_accounted_for_once(state_dir: Path, table: Table, books: Bookkeeper) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    ticket = worker.admit(PAID, DEMAND, "req_1", "gpt-4o")
    worker.attempt(ticket, "main", "gpt-4o")
    assert books.step()
    assert books.ledger.account("acme") == Account(CREDITS, CREDITS - 1_000, 1_000, 0)
    for _ in range(2):
        worker.close(ticket, receipt(cost=700))
    assert books.step()
    assert books.ledger.account("acme") == Account(CREDITS, CREDITS - 700, 0, 700)
    assert balance(table) == CREDITS - 700
    sound(books, table)


def test_starting_credits_are_granted_once_per_organisation_and_plan(table: Table, books: Bookkeeper) -> None:
    books.expect([PAID, Principal("k9", "k9", "acme", plan=PAID.plan)])
    books.expect([PAID])
    assert balance(table) == CREDITS
    books.expect([Principal("k3", "k3", "acme", plan=Plan("more", credits=5))])
    assert balance(table) == CREDITS + 5
    assert books.top_up("invoice-1", "acme", 100, "invoice")
    assert not books.top_up("invoice-1", "acme", 100, "invoice")
    assert balance(table) == CREDITS + 105
    books.step()
    sound(books, table)


def test_a_ledger_made_again_from_the_journals_knows_all_credits(
    state_dir: Path, table: Table, books: Bookkeeper
) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    worker.close(begun(worker, PAID, "req_1"), receipt("req_1", cost=700))
    books.top_up("invoice-1", "acme", 5_000, "invoice")
    books.top_up("back", "acme", -100, "a mistake")
    books.step()

    def given() -> list[tuple[str, int, float]]:
        return [(row["id"], row["amount"], round(row["at"], 3)) for row in reports.credits(books.ledger)]

    before = books.ledger.accounts(), given()
    books.close()
    for path in state_dir.glob("ledger.db*"):
        path.unlink()
    books.expect([replace(PAID, plan=replace(PAID.plan, credits=CREDITS + 1))])  # the plan brings more by now
    assert books.step()
    assert (books.ledger.accounts(), given()) == before
    assert balance(table) == CREDITS - 700 + 4_900
    sound(books, table)


def test_journals_of_credits_are_kept_for_ever(state_dir: Path, books: Bookkeeper) -> None:
    books.top_up("invoice-1", "acme", 5_000, "invoice")
    books.close()
    books.step()
    books.ledger.expire(time.time() + 1e6)
    (path,) = (state_dir / "journal").glob("*.journal")
    assert "invoice-1" in path.read_text()


def test_without_an_open_account_nobody_is_admitted_on_credit(state_dir: Path) -> None:
    worker = admission(state_dir)
    with pytest.raises(Fault) as caught:
        worker.admit(PAID, DEMAND, "req_1", "m")
    assert caught.value.kind is Kind.LEDGER_UNAVAILABLE
    worker.admit(FREE, DEMAND, "req_2", "m")


def test_a_refused_request_leaves_no_record(state_dir: Path, books: Bookkeeper) -> None:
    worker = admission(state_dir)
    poor = Principal("k", "k", "poor", plan=Plan("p", credits=10))
    books.expect([poor])
    with pytest.raises(Fault) as caught:
        worker.admit(poor, DEMAND, "req_1", "m")
    assert caught.value.kind is Kind.INSUFFICIENT_QUOTA
    books.step()
    assert reports.requests(books.ledger) == []


def test_a_journal_that_cannot_be_written_refuses_metered_requests_and_takes_nothing(
    state_dir: Path, table: Table, books: Bookkeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    first = begun(worker, PAID, "req_1")
    real = os.write

    def full(file: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", full)
    ticket = worker.admit(PAID, DEMAND, "req_2", "m")  # nobody knows of it yet
    with pytest.raises(Fault) as caught:
        worker.attempt(ticket, "main", "m")
    assert (caught.value.kind, caught.value.status) == (Kind.LEDGER_UNAVAILABLE, 503)
    worker.close(ticket, receipt("req_2", status=503, cost=0))
    with pytest.raises(Fault) as caught:
        worker.admit(PAID, DEMAND, "req_4", "m")
    assert caught.value.kind is Kind.LEDGER_UNAVAILABLE
    assert table.held(key_owner("k1")) == 1
    free = begun(worker, FREE, "req_3")
    worker.close(first, receipt("req_1", cost=600))
    worker.close(free, receipt("req_3", key_id="k2", organization="else"))
    monkeypatch.setattr(os, "write", real)
    assert worker.journal.probe(1.0)
    assert books.step()
    assert {row["id"] for row in reports.requests(books.ledger)} == {"req_1", "req_2", "req_3"}
    assert balance(table) == CREDITS - 600
    sound(books, table)


def test_a_locked_ledger_stops_nobody_and_is_said(state_dir: Path, table: Table, books: Bookkeeper) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    other = apsw.Connection(str(state_dir / "ledger.db"))
    other.execute("BEGIN IMMEDIATE")
    worker.close(begun(worker, PAID, "req_1"), receipt("req_1"))
    assert not books.step()
    books.expect([FREE])  # who brings nothing, and asks the ledger nothing
    assert "locked" in books.trouble
    other.close()
    assert books.step()
    assert books.trouble == ""
    assert books.records == 3  # the starting credits, and what the request has left
    sound(books, table)


def test_a_damaged_ledger_stops_nobody_and_is_said(state_dir: Path, table: Table) -> None:
    books = Bookkeeper(state_dir, table, retention=KEEP)
    books.expect([PAID])
    books.close()
    (state_dir / "ledger.db").write_bytes(b"\0" * 8192)
    worker = admission(state_dir)
    worker.close(begun(worker, PAID, "req_1"), receipt("req_1"))
    again = Bookkeeper(state_dir, table, retention=KEEP)
    again.expect([PAID])
    assert not again.step()
    assert "ledger.db" in again.trouble
    assert again.behind > 0
    assert (state_dir / "ledger.db").read_bytes() == b"\0" * 8192


def test_a_lost_table_is_filled_from_the_ledger(state_dir: Path, books: Bookkeeper) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    worker.close(begun(worker, PAID, "req_1"), receipt("req_1", cost=250))
    books.step()
    (state_dir / "limits.table").unlink()
    shm.prepare(state_dir, owners=10, workers=4)
    table, _ = shm.open_tables(state_dir)
    again = Bookkeeper(state_dir, table, retention=KEEP)
    again.expect([PAID])
    assert balance(table) == CREDITS - 250
    again.close()


def test_a_reservation_that_never_reached_the_journal_comes_back(
    state_dir: Path, table: Table, books: Bookkeeper
) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    books.step()
    worker.admit(PAID, DEMAND, "req_1", "m")
    worker.journal.close()  # and then the worker is killed
    assert shm.release_worker(state_dir, 0)
    assert balance(table) == CREDITS - 1_000
    books.step()
    assert balance(table) == CREDITS
    sound(books, table)


def test_a_settlement_that_never_reached_the_table_is_made_good(
    state_dir: Path, table: Table, books: Bookkeeper
) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    begun(worker, PAID, "req_1")
    worker.journal.note(settle_line(receipt("req_1", cost=10), metered=True, at=1.0))  # and then the worker is killed
    assert shm.release_worker(state_dir, 0)
    books.step()
    assert balance(table) == CREDITS - 10
    sound(books, table)


async def test_the_bookkeeper_works_beside_the_requests(state_dir: Path, books: Bookkeeper) -> None:
    books.expect([PAID])
    worker = admission(state_dir)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(books.run, 0.001)
            worker.close(begun(worker, PAID, "req_1"), receipt("req_1"))
            while books.records < 2:  # noqa: ASYNC110
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()


def fork(main: Callable[[], None]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            main()
        finally:
            os._exit(1)
    return pid


def work(state_dir: Path, worker: int, seed: int) -> None:
    """Admit and close requests for ever, a few at a time; each one that goes upstream is seen by the "provider"."""
    dice = random.Random(seed)
    mine = admission(state_dir, worker)
    seen = os.open(state_dir / "provider", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    running = []
    for n in range(10**9):
        request_id = f"req_{worker}_{seed}_{n}"
        try:
            ticket = mine.admit(PAID, DEMAND, request_id, "gpt-4o")
        except Fault:
            ticket = None
        if ticket is not None:
            mine.attempt(ticket, "main", "gpt-4o")
            os.write(seen, f"{request_id}\n".encode())
            running.append((ticket, request_id))
        while len(running) > dice.randrange(6):
            ticket, request_id = running.pop(dice.randrange(len(running)))
            mine.close(ticket, receipt(request_id, cost=dice.randrange(3), usage=Usage(1, 1)))


def kills(state_dir: Path, times: int, seed: int) -> None:
    """Kill workers and the bookkeeper at random moments under load; then look at the books."""
    dice = random.Random(seed)
    table, _ = shm.open_tables(state_dir)
    books = Bookkeeper(state_dir, table, retention=KEEP)
    books.expect([PAID])
    books.close()

    def keep() -> None:
        mine = Bookkeeper(state_dir, shm.open_tables(state_dir)[0], retention=KEEP)
        while True:
            mine.step()

    lives = iter(range(10**9))
    running = {w: fork(lambda w=w: work(state_dir, w, next(lives))) for w in (0, 1)}  # type: ignore[misc]
    keeper = fork(keep)
    try:
        for n in range(times):
            time.sleep(dice.uniform(0.002, 0.02))
            worker = dice.randrange(2)
            kill(running[worker])
            release(state_dir, worker)
            life = next(lives)
            running[worker] = fork(lambda w=worker, life=life: work(state_dir, w, life))  # type: ignore[misc]
            if n % 5 == 0:
                kill(keeper)
                keeper = fork(keep)
    finally:
        for pid in (*running.values(), keeper):
            kill(pid)
    for worker in running:
        release(state_dir, worker)
    check(state_dir, table, times + 2)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def release(state_dir: Path, worker: int) -> None:
    deadline = time.monotonic() + 30
    while not shm.release_worker(state_dir, worker):
        assert time.monotonic() < deadline
        time.sleep(0.001)


def check(state_dir: Path, table: Table, killed: int) -> None:
    books = Bookkeeper(state_dir, table, retention=KEEP)
    for _ in range(2):
        assert books.step(), books.trouble
    assert table.held(key_owner("k1")) == table.held(organization_owner("acme")) == 0
    audit = verify(books.ledger, {"acme": balance(table) or 0})
    assert audit.problems == ()
    assert (audit.open, audit.damaged) == (0, 0)
    seen = (state_dir / "provider").read_text().splitlines()
    rows = [row["id"] for row in reports.every_request(books.ledger)]
    assert len(rows) == len(set(rows))
    assert set(seen) <= set(rows)
    assert len(set(rows) - set(seen)) <= killed  # between the journal and the provider
    books.close()


def test_killed_processes_lose_and_double_nothing(state_dir: Path) -> None:
    kills(state_dir, 20, seed=1)


@pytest.mark.slow
def test_a_thousand_killed_processes_lose_and_double_nothing(state_dir: Path) -> None:
    kills(state_dir, 1_000, seed=2)


def test_a_ledger_is_whole_at_whatever_moment_its_writer_dies(state_dir: Path) -> None:
    """The database and its log are copied while they are written, as a power cut would leave them."""
    worker = admission(state_dir)
    for n in range(300):
        ticket = worker.limiter.admit(FREE, DEMAND)
        ticket.release()
        worker.journal.note(settle_line(receipt(f"r{n}"), metered=False, at=1.0))

    def fold() -> None:
        ledger = Ledger(state_dir / "ledger.db", state_dir / "journal")
        ledger.fold(1.0)
        os._exit(0)

    for delay in (0.0, 0.001, 0.003, 0.01, 0.03):
        pid = fork(fold)
        time.sleep(delay)
        kill(pid)
    ledger = Ledger(state_dir / "ledger.db", state_dir / "journal")
    ledger.fold(1.0)
    audit = verify(ledger)
    assert (audit.problems, audit.requests) == ((), 300)
    ledger.close()


@pytest.mark.parametrize(("records", "seconds"), [(0, 0.2), (100, 0.2), (500, 0.5), (1_000, 1.0), (10**6, 1.0)])
def test_the_more_there_is_to_fold_the_longer_it_gathers_but_no_more_than_a_second(
    records: int, seconds: float
) -> None:
    assert rest(records, 0.2) == seconds
