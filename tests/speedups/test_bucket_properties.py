"""The two halves against each other, and the table against a model that forgets nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from fastanchor._speedups.bucket import BALANCE, GAUGE, MINUTE, RATE, WINDOW, Limit, prepare
from tests.speedups.halves import both, halves

WALL = 10**18
FOREVER = 1 << 62
OWNERS = [bytes([n]) * 16 for n in range(3)]

caps = st.one_of(st.integers(0, 12), st.integers(1, 10**7), st.just((1 << 40) - 1))


@st.composite
def limit_lists(draw: st.DrawFn) -> list[Limit]:
    kinds = draw(st.lists(st.sampled_from(range(1, 8)), max_size=6, unique=True))
    limits = [(kind, draw(caps), draw(caps), draw(st.integers(0, 3))) for kind in kinds]
    return [(GAUGE, draw(st.integers(0, 3)), 1, 0), *limits] if draw(st.booleans()) else limits


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    steps: list[tuple[Any, ...]] = []
    clock = 0
    for _ in range(draw(st.integers(1, 25))):
        clock += draw(st.sampled_from([0, 1, 10**6, 10**9, MINUTE // 2, MINUTE]))
        owner = draw(st.sampled_from(OWNERS))
        limits = draw(limit_lists())
        used = [draw(caps) for _ in limits]
        what = draw(st.sampled_from(["reserve", "settle", "admit", "finish", "open", "release", "remaining"]))
        steps.append((what, owner, limits, used, clock))
    return steps


def perform(half: Any, table: Any, step: tuple[Any, ...]) -> Any:
    what, owner, limits, used, clock = step
    if what in ("admit", "finish"):
        counted = [(kind, cap, (kind + cap) % 3, window) for kind, cap, _, window in limits]
        claims = tuple(half.Claim(who, counted, FOREVER) for who in (owner, OWNERS[0]))
        tokens, money, *rest = [*used, 1, 2, 3, 4][:4]
        if what == "admit":
            return table.admit(claims, tokens, money, clock, WALL), table.left(claims, clock)
        return table.finish(claims, tokens, money, 1, *rest, max(0, clock - 10**9), clock)
    if what == "reserve":
        return table.reserve(owner, limits, clock, WALL, FOREVER)
    if what == "settle":
        return table.settle(owner, limits, used, max(0, clock - 10**9), clock)
    if what == "open":
        return table.set_balance(owner, table.balance(owner), clock, WALL)
    if what == "release":
        return table.release_worker(0)
    return table.remaining(owner, limits, clock), table.held(owner), table.balance(owner)


@given(scripts())
def test_the_halves_leave_the_same_words(script: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        tables = []
        pair = both("bucket")
        for half in pair:
            path = Path(folder) / half.__name__
            prepare(path, slots=64, workers=1)
            tables.append(half.Table(path, 0))
        for step in script:
            pure, fast = (perform(half, table, step) for half, table in zip(pair, tables, strict=True))
            assert pure == fast, step
        for owner in OWNERS:
            assert tables[0].held(owner) == tables[1].held(owner)


class Limits(RuleBasedStateMachine):
    """One owner under every kind of limit. The model keeps each reservation; the table keeps a word per limit."""

    half: Any
    RPM, TPM, DAY, TOKENS_DAY, OPEN, CREDITS = 20, 1_000, 30, 2_000, 4, 5_000

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name) / "table"
        prepare(path, slots=64, workers=2)
        self.tables = [self.half.Table(path, n) for n in range(2)]
        self.tables[0].set_balance(OWNERS[0], None, self.CREDITS, WALL)
        self.now = 10**12
        self.day = 1
        self.open: list[tuple[int, list[Limit], int]] = []
        self.taken: list[tuple[int, int, int]] = []  # when, requests, tokens that were used or may yet be
        self.days: dict[int, list[int]] = {}
        self.spent = 0

    def teardown(self) -> None:
        for table in self.tables:
            table.close()
        self.folder.cleanup()

    @rule(worker=st.integers(0, 1), tokens=st.integers(1, 600), price=st.integers(0, 900))
    def reserve(self, worker: int, tokens: int, price: int) -> None:
        limits = [(GAUGE, self.OPEN, 1, 0), (RATE, self.RPM, 1, 0), (RATE + 1, self.TPM, tokens, 0),
                  (WINDOW, self.DAY, 1, self.day), (WINDOW + 1, self.TOKENS_DAY, tokens, self.day),
                  (BALANCE, 0, price, 0)]
        before = self.tables[0].remaining(OWNERS[0], limits, self.now)
        done = self.tables[worker].reserve(OWNERS[0], limits, self.now, WALL, FOREVER)
        if isinstance(done, tuple):
            assert self.tables[1].remaining(OWNERS[0], limits, self.now) == before
            index, wait = done
            assert before[index] < limits[index][2], "refused although there was room"
            assert (wait > 0) == (limits[index][0] in (RATE, RATE + 1))
            return
        self.open.append((worker, limits, self.now))
        day = self.days.setdefault(self.day, [0, 0])
        day[0] += 1
        day[1] += tokens

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 9), part=st.floats(0, 1))
    def settle(self, which: int, part: float) -> None:
        worker, limits, since = self.open.pop(which % len(self.open))
        used = [int(limit[2] * part) for limit in limits]
        self.tables[worker].settle(OWNERS[0], limits, used, since, self.now)
        self.spent += used[5]
        self.taken.append((since, used[1], used[2]))
        day = self.days[limits[3][3]]
        if limits[3][3] == self.day:
            day[0] -= limits[3][2] - used[3]
            day[1] -= limits[4][2] - used[4]

    @rule(seconds=st.sampled_from([0.001, 1, 7, 59, 61, 600]))
    def tick(self, seconds: float) -> None:
        self.now += int(seconds * 10**9)

    @rule()
    def midnight(self) -> None:
        self.day += 1

    @invariant()
    def no_limit_is_exceeded(self) -> None:
        assert len(self.open) <= self.OPEN
        assert self.tables[0].held(OWNERS[0]) == len(self.open)
        for requests, tokens in self.days.values():
            assert requests <= self.DAY
            assert tokens <= self.TOKENS_DAY
        for cap, column in ((self.RPM, 0), (self.TPM, 1)):
            used = [(since, (requests, tokens)[column]) for since, requests, tokens in self.taken]
            used += [(since, (1, limits[2][2])[column]) for _, limits, since in self.open]
            burst_at_most(cap, sorted(used))

    @invariant()
    def the_balance_is_credits_less_what_was_settled_and_is_reserved(self) -> None:
        reserved = sum(limits[5][2] for _, limits, _ in self.open)
        assert self.tables[1].balance(OWNERS[0]) == self.CREDITS - self.spent - reserved
        assert self.tables[1].balance(OWNERS[0]) >= 0


def burst_at_most(cap: int, used: list[tuple[int, int]]) -> None:
    """What was used, replayed through an exact leaky bucket, must never have needed more than the cap."""
    level, last = 0, 0  # in units times nanoseconds per minute
    for at, amount in used:
        level = max(0, level - (at - last) * cap) + amount * MINUTE
        last = at
        assert level <= cap * MINUTE + MINUTE - 1, "a rate admitted more than its burst and refill"


@pytest.mark.parametrize("half", halves("bucket"))
def test_no_limit_is_ever_exceeded(half: Any) -> None:
    machine = type("Machine", (Limits,), {"half": half})
    machine.TestCase.settings = settings(stateful_step_count=40)
    machine.TestCase("runTest").runTest()
