"""Admission against the shared tables: what is taken, told, settled and given back."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastanchor._speedups.bucket import Table
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Plan, Principal
from fastanchor.core.usage import Usage
from fastanchor.policy.limits import Demand
from fastanchor.store import shm
from fastanchor.store.limiter import Limiter, Strangers, Ticket, key_owner, organization_owner

SMALL = Demand(10, 100)


class Clocks:
    def __init__(self) -> None:
        self.boot = 10**12
        self.unix = 1_780_000_000.0

    def limiter(self, table: Table) -> Limiter:
        return Limiter(table, clock=lambda: self.boot, wall=lambda: self.unix)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    shm.prepare(tmp_path, owners=1, workers=2)
    return tmp_path


@pytest.fixture
def table(state_dir: Path) -> Iterator[Table]:
    table, addresses = shm.open_tables(state_dir, 0)
    yield table
    table.close()
    addresses.close()


def key(name: str = "k", organization: str = "acme", **limits: Any) -> Principal:
    return Principal(name, name, organization, plan=Plan("free", **limits))


@contextmanager
def refused(kind: Kind) -> Iterator[list[Fault]]:
    caught: list[Fault] = []
    with pytest.raises(Fault) as info:
        yield caught
    caught.append(info.value)
    assert info.value.kind is kind


def header(limiter: Limiter, ticket: Ticket, name: bytes) -> bytes | None:
    return dict(limiter.headers(ticket, anthropic=False)).get(name)


def test_a_settled_ticket_leaves_what_was_really_used(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    who = key(requests_per_minute=5, tokens_per_day=1_000, concurrent_requests=2)
    ticket = limiter.admit(who, Demand(600, 0))
    assert header(limiter, ticket, b"x-ratelimit-remaining-requests") == b"4"
    assert header(limiter, ticket, b"x-ratelimit-remaining-tokens") == b"400"
    ticket.settle(Usage(input=30, output=20), 0)
    fields = dict(limiter.headers_of(who, anthropic=False))
    assert fields[b"x-ratelimit-remaining-tokens"] == b"950"
    assert fields[b"x-ratelimit-remaining-requests"] == b"4"


def test_a_released_ticket_leaves_nothing(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    who = key(requests_per_minute=5, tokens_per_day=1_000, credits=500)
    shm.open_account(table, "acme", 500, clocks.unix)
    before = limiter.headers_of(who, anthropic=False)
    limiter.admit(who, SMALL).release()
    assert limiter.headers_of(who, anthropic=False) == before


def test_a_ticket_settles_once(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    who = key(tokens_per_day=1_000, concurrent_requests=5, credits=500)
    shm.open_account(table, "acme", 500, clocks.unix)
    other = limiter.admit(who, SMALL)
    ticket = limiter.admit(who, SMALL)
    for _ in range(3):
        ticket.settle(Usage(input=1, output=1), 7)
        ticket.release()
    assert table.held(key_owner("k")) == 1
    assert table.balance(organization_owner("acme")) == 500 - 100 - 7
    other.release()


def test_a_rate_limit_names_itself_and_the_exact_wait(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    who = key(requests_per_minute=2)
    for _ in range(2):
        limiter.admit(who, SMALL).settle(Usage(), 0)
    with refused(Kind.RATE_LIMIT) as caught:
        limiter.admit(who, SMALL)
    assert caught[0].retry_after == pytest.approx(30.0)
    clocks.boot += 30 * 10**9
    limiter.admit(who, SMALL)


def test_a_window_refuses_until_its_end(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    who = key(tokens_per_hour=100)
    clocks.unix = 3_600 * 500_000 - 20.0
    limiter.admit(who, Demand(100, 0)).settle(Usage(input=100, output=0), 0)
    with refused(Kind.RATE_LIMIT) as caught:
        limiter.admit(who, Demand(1, 0))
    assert caught[0].retry_after == 20.0
    clocks.unix += 20
    limiter.admit(who, Demand(1, 0))


def test_credits_belong_to_the_organisation_and_end_with_402(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    shm.open_account(table, "acme", 250, clocks.unix)
    limiter.admit(key("a", credits=0), SMALL)
    limiter.admit(key("b", credits=0), SMALL)
    with refused(Kind.INSUFFICIENT_QUOTA) as caught:
        limiter.admit(key("c", credits=0), SMALL)
    assert caught[0].retry_after is None
    limiter.admit(key("d", organization="else"), SMALL)  # not metered


def test_an_organisations_limits_hold_over_all_its_keys_together(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    whole = Plan("acme", requests_per_minute=3, tokens_per_day=1_000)
    first, second = (replace(key(name, requests_per_minute=2), shared=whole) for name in "ab")
    for who in (first, first, second):
        ticket = limiter.admit(who, SMALL)
    fields = dict(limiter.headers(ticket, anthropic=False))
    assert (fields[b"x-ratelimit-limit"], fields[b"x-ratelimit-remaining"]) == (b"3", b"0")
    before = limiter.headers_of(second, anthropic=False)
    with refused(Kind.RATE_LIMIT) as caught:
        limiter.admit(second, SMALL)
    assert caught[0].message.endswith("requests_per_minute = 3 (organization 'acme').")
    assert caught[0].retry_after == pytest.approx(20)
    assert limiter.headers_of(second, anthropic=False) == before
    ticket.settle(Usage(input=0, output=900), 0)
    clocks.boot += 60 * 10**9
    with refused(Kind.RATE_LIMIT):  # what one key has used is gone for the other
        limiter.admit(first, Demand(100, 0))


def test_credits_of_an_organisation_meter_keys_of_any_plan(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    shm.open_account(table, "acme", 150, clocks.unix)
    who = replace(key(), shared=Plan("acme", credits=0))
    assert header(limiter, limiter.admit(who, SMALL), b"x-remaining-credits") == b"0.00"
    with refused(Kind.INSUFFICIENT_QUOTA):
        limiter.admit(who, SMALL)


def test_a_refusal_for_credits_takes_nothing_from_the_key(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    shm.open_account(table, "acme", 5, clocks.unix)
    who = key(requests_per_minute=3, requests_per_day=3, tokens_per_minute=100, concurrent_requests=3, credits=0)
    before = limiter.headers_of(who, anthropic=False)
    with refused(Kind.INSUFFICIENT_QUOTA):
        limiter.admit(who, SMALL)
    assert limiter.headers_of(who, anthropic=False) == before
    assert table.held(key_owner("k")) == 0


def test_an_account_that_is_not_open_admits_nobody_and_says_so(table: Table, clocks: Clocks) -> None:
    with refused(Kind.LEDGER_UNAVAILABLE):
        clocks.limiter(table).admit(key(credits=10), SMALL)


def test_opening_an_account_again_changes_nothing_and_a_grant_adds(table: Table, clocks: Clocks) -> None:
    owner = organization_owner("acme")
    shm.add_credits(table, "acme", 10, clocks.unix)
    assert table.balance(owner) is None
    shm.open_account(table, "acme", 250, clocks.unix)
    shm.open_account(table, "acme", 999, clocks.unix)
    shm.add_credits(table, "acme", 10, clocks.unix)
    assert table.balance(owner) == 260


def test_a_balance_is_reconciled_only_while_nothing_is_open(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    shm.open_account(table, "acme", 250, clocks.unix)
    owner = organization_owner("acme")
    ticket = limiter.admit(key(credits=0), SMALL)
    assert not shm.reconcile(table, "acme", lambda: 77, clocks.unix)
    ticket.settle(Usage(), 50)
    assert not shm.reconcile(table, "acme", lambda: None, clocks.unix)
    assert table.balance(owner) == 200
    assert shm.reconcile(table, "acme", lambda: 77, clocks.unix)
    assert table.balance(owner) == 77


def test_a_request_that_passes_while_the_ledger_is_read_is_not_lost(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    shm.open_account(table, "acme", 250, clocks.unix)

    def slowly() -> int:
        limiter.admit(key(credits=0), SMALL).settle(Usage(), 50)
        return 77

    assert not shm.reconcile(table, "acme", slowly, clocks.unix)
    assert table.balance(organization_owner("acme")) == 200


def test_a_dead_workers_places_are_given_back_and_what_it_took_is_not(state_dir: Path, clocks: Clocks) -> None:
    dead, alive = (shm.open_tables(state_dir, worker)[0] for worker in (0, 1))
    shm.open_account(alive, "acme", 250, clocks.unix)
    who = key(concurrent_requests=1, tokens_per_day=100, credits=0)
    clocks.limiter(dead).admit(who, SMALL)
    limiter = clocks.limiter(alive)
    with refused(Kind.RATE_LIMIT):
        limiter.admit(who, SMALL)
    assert shm.release_worker(state_dir, 0)
    ticket = limiter.admit(who, SMALL)
    assert header(limiter, ticket, b"x-ratelimit-remaining-tokens") == b"80"
    assert ticket.balance == 50


def test_one_limit_holds_across_workers(state_dir: Path, clocks: Clocks) -> None:
    limiters = [clocks.limiter(shm.open_tables(state_dir, worker)[0]) for worker in (0, 1)]
    admitted = 0
    for n in range(20):
        try:
            limiters[n % 2].admit(key(requests_per_minute=5), SMALL)
        except Fault:
            continue
        admitted += 1
    assert admitted == 5


def test_a_key_whose_plan_changed_is_held_to_the_new_one(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    limiter.admit(key(requests_per_day=1), SMALL)
    with refused(Kind.RATE_LIMIT):
        limiter.admit(key(requests_per_day=1), SMALL)
    limiter.admit(key(requests_per_day=2), SMALL)


def test_negative_and_huge_costs_are_bounded(table: Table, clocks: Clocks) -> None:
    limiter = clocks.limiter(table)
    shm.open_account(table, "acme", 250, clocks.unix)
    limiter.admit(key(credits=0), Demand(-5 + 5, -7)).settle(Usage(input=-5, output=0), -100)
    assert table.balance(organization_owner("acme")) == 250
    with refused(Kind.INSUFFICIENT_QUOTA):
        limiter.admit(key(credits=0), Demand(1, 10**30))


def test_strangers_are_limited_by_address(state_dir: Path, clocks: Clocks) -> None:
    _, addresses = shm.open_tables(state_dir, 0)
    strangers = Strangers(addresses, 3, clock=lambda: clocks.boot, wall=lambda: clocks.unix)
    assert [strangers.failed(f"10.0.0.1:{n}") for n in range(3)] == [None] * 3
    fault = strangers.failed("10.0.0.1:9")
    assert fault is not None
    assert (fault.kind, fault.retry_after) == (Kind.RATE_LIMIT, pytest.approx(20.0))
    assert strangers.failed("10.0.0.2:1") is None


def test_a_flood_of_addresses_refuses_strangers_only(state_dir: Path, clocks: Clocks) -> None:
    _, addresses = shm.open_tables(state_dir, 0)
    strangers = Strangers(addresses, 3, clock=lambda: clocks.boot, wall=lambda: clocks.unix)
    answers = [strangers.failed(f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}:1") for n in range(17_000)]
    assert answers[0] is None
    assert any(answer is not None for answer in answers)
    clocks.unix += 300
    clocks.boot += 300 * 10**9
    assert strangers.failed("11.0.0.1:1") is None


def test_the_default_clocks_are_the_machines(table: Table) -> None:
    limiter = Limiter(table)
    ticket = limiter.admit(key(requests_per_day=5), SMALL)
    reset = header(limiter, ticket, b"x-ratelimit-reset")
    assert reset is not None
    assert 0 < int(reset) - time.time() <= 86_401


class Money(RuleBasedStateMachine):
    """Two keys of one organisation on two workers: a ticket ends once, the balance is credits less what was spent."""

    folder: Callable[[], Path]
    CREDITS = 2_000

    def __init__(self) -> None:
        super().__init__()
        state_dir = type(self).folder()
        shm.prepare(state_dir, owners=1, workers=2)
        self.clocks = Clocks()
        self.tables = [shm.open_tables(state_dir, worker)[0] for worker in (0, 1)]
        self.limiters = [self.clocks.limiter(table) for table in self.tables]
        shm.open_account(self.tables[0], "acme", self.CREDITS, self.clocks.unix)
        self.keys = [key(name, concurrent_requests=3, requests_per_day=12, credits=0) for name in "ab"]
        self.open: list[tuple[Ticket, int, int]] = []  # ticket, key, reserved
        self.requests = [0, 0]
        self.spent = 0

    @rule(worker=st.integers(0, 1), which=st.integers(0, 1), price=st.integers(0, 900))
    def admit(self, worker: int, which: int, price: int) -> None:
        try:
            ticket = self.limiters[worker].admit(self.keys[which], Demand(1, price))
        except Fault as fault:
            room = self.requests[which] < 12 and sum(1 for _, k, _ in self.open if k == which) < 3
            paid = price <= self.available()
            assert not (room and paid), fault  # noqa: PT017
            return
        self.requests[which] += 1
        self.open.append((ticket, which, price))

    @precondition(lambda self: self.open)
    @rule(n=st.integers(0, 5), part=st.floats(0, 1), ending=st.sampled_from(["settle", "release", "both"]))
    def end(self, n: int, part: float, ending: str) -> None:
        ticket, which, price = self.open.pop(n % len(self.open))
        if ending == "release":
            ticket.release()
            self.requests[which] -= 1
            return
        ticket.settle(Usage(input=1, output=0), int(price * part))
        self.spent += int(price * part)
        if ending == "both":
            ticket.release()
            ticket.settle(Usage(input=1, output=0), 10**6)

    def available(self) -> int:
        return self.CREDITS - self.spent - sum(price for _, _, price in self.open)

    @invariant()
    def the_table_agrees(self) -> None:
        assert self.tables[0].balance(organization_owner("acme")) == self.available() >= 0
        for which, name in enumerate("ab"):
            held = self.tables[1].held(key_owner(name))
            assert held == sum(1 for _, k, _ in self.open if k == which) <= 3
            assert self.requests[which] <= 12


def test_the_balance_is_always_credits_less_what_was_spent_and_reserved(tmp_path: Path) -> None:
    count = iter(range(10**6))

    def folder() -> Path:
        path = tmp_path / str(next(count))
        path.mkdir()
        return path

    machine = type("Machine", (Money,), {"folder": staticmethod(folder)})
    machine.TestCase.settings = settings(max_examples=25, stateful_step_count=40)
    machine.TestCase("runTest").runTest()
