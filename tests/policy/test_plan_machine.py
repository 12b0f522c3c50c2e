"""Whatever happens, and in whatever order: the promises of a plan."""

from __future__ import annotations

from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fastanchor.core.channel import Channel
from fastanchor.core.faults import Fault, Kind, Side
from fastanchor.core.route import Hedge, Route
from fastanchor.policy.asked import Asked, Candidate
from fastanchor.policy.health import Health
from fastanchor.policy.plan import NEVER_AGAIN, USEFULNESS, Plan
from tests.policy.channels import candidates, channel

KINDS = [kind for kind in Kind if Fault(kind).side is Side.UPSTREAM] + [Kind.DEADLINE]
MOST_TURNS = 400

ROUTES = st.builds(
    Route,
    attempts=st.integers(1, 6),
    race=st.integers(1, 3),
    hedge=st.sampled_from([Hedge(), Hedge(after=None), Hedge(after=0.5), Hedge(after=None, percentile=0.9)]),
    select=st.sampled_from(["weight", "latency", "cost", "sticky"]),
    content_filter_fallback=st.booleans(),
)


class PlanMachine(RuleBasedStateMachine):
    """Carries a plan out, with any ending at any time, on channels that others use as well."""

    @initialize(
        route=ROUTES,
        keys=st.lists(st.integers(1, 3), min_size=1, max_size=4),
        fallback=st.booleans(),
        deadline=st.sampled_from([5.0, 60.0, 900.0]),
        seed=st.integers(0, 99),
    )
    def begin(self, route: Route, keys: list[int], fallback: bool, deadline: float, seed: int) -> None:
        self.channels = [channel(f"c{i}", tier=i // 2, keys=count, cap=2) for i, count in enumerate(keys)]
        found = candidates(*self.channels, context=1000)
        if fallback:
            found += candidates(*self.channels, model="larger", order=1, context=2000)
        self.route, self.now, self.health = route, 0.0, Health()
        asked = Asked(0.0, deadline, conversation=lambda: "talk", price=lambda c: len(c.model))
        self.plan = Plan(route, found, self.health, asked, Random(seed))
        self.history: list[tuple[Candidate, Kind | None]] = []
        self.faults: list[Fault] = []
        self.others: list[Channel] = []
        self.winner: int | None = None
        self.turn()

    def turn(self) -> None:
        """Ask the plan, as its executor does."""
        alive = set(self.plan.alive)
        allowed = self._fresh_allowed()
        starts = self.plan.steps(self.now)
        assert self.winner is None or not starts, "a start after a win"
        for start in starts:
            self._check_start(start.candidate, start.why, allowed)
        assert set(self.plan.alive) == alive | {start.attempt for start in starts}
        for start in starts:
            self.history.append((start.candidate, None))
        hedges = sum(start.why == "hedge" for start in starts)
        assert len(self.plan.alive) <= max(self.route.race, 1) + len(alive) + hedges

    def _fresh_allowed(self) -> set[tuple[str, str, int]]:
        """What no earlier fault has closed: (channel, model, key)."""
        closed_channels = {c.channel.name for c, kind in self.history if kind in NEVER_AGAIN}
        dead_keys = {(c.channel.name, c.key, c.public_model) for c, kind in self.history if kind is Kind.UPSTREAM_AUTH}
        too_small = {c.public_model for c, kind in self.history if kind is Kind.CONTEXT_LENGTH}
        return {
            (w.candidate.channel.name, w.candidate.public_model, w.candidate.key)
            for w in self.plan.waiting
            if w.candidate.channel.name not in closed_channels
            and (w.candidate.channel.name, w.candidate.key, w.candidate.public_model) not in dead_keys
            and w.candidate.public_model not in too_small
        }

    def _check_start(self, candidate: Candidate, why: str, allowed: set[tuple[str, str, int]]) -> None:
        assert (candidate.channel.name, candidate.public_model, candidate.key) in allowed, "a channel its fault closed"
        beside = [w.candidate for w in self.plan.alive.values() if w.candidate is not candidate]
        assert all(other.channel is not candidate.channel for other in beside), "one channel twice at once"
        assert why in ("first", "race", "hedge", "retry", "next_key", "next_channel", "next_model", "rescue")

    @precondition(lambda self: self.winner is None and self.plan.alive)
    @rule(kind=st.sampled_from(KINDS), which=st.integers(0, 5), wait=st.sampled_from([None, 0.0, 1.0, 30.0, 3600.0]))
    def fail(self, kind: Kind, which: int, wait: float | None) -> None:
        attempt = sorted(self.plan.alive)[which % len(self.plan.alive)]
        candidate = self.plan.alive[attempt].candidate
        told = Fault(kind, retry_after=wait)
        self.health.failed(candidate.channel, candidate.key, told, self.now)
        self.health.ended(candidate.channel)
        self.plan.failed(attempt, told, self.now)
        self.faults.append(told)
        self.history[attempt] = (candidate, kind)
        self.turn()

    @precondition(lambda self: self.winner is None and self.plan.alive)
    @rule(which=st.integers(0, 5))
    def win(self, which: int) -> None:
        attempt = sorted(self.plan.alive)[which % len(self.plan.alive)]
        self.winner = attempt
        for candidate, waited in self.plan.won(attempt, self.now):
            assert waited > 0.0
            self.health.overtaken(candidate.channel, waited, self.now)
        self.turn()

    @rule(seconds=st.floats(0.01, 70.0))
    def time_passes(self, seconds: float) -> None:
        wake = self.plan.wake(self.now)
        assert wake is None or wake > self.now, "asked to wake in the past"
        self.now = min(self.now + seconds, self.now + seconds if wake is None else wake)
        self.turn()

    @rule(which=st.integers(0, 9))
    def others_take_a_place(self, which: int) -> None:
        one = self.channels[which % len(self.channels)]
        if not self.health.of(one).concurrency.full:
            self.health.started(one, self.now)
            self.others.append(one)

    @precondition(lambda self: self.others)
    @rule(good=st.booleans())
    def others_end(self, good: bool) -> None:
        one = self.others.pop()
        if good:
            self.health.answered(one, 0, 0.1, self.now)
        else:
            self.health.failed(one, 0, Fault(Kind.UPSTREAM_ERROR), self.now)
        self.health.ended(one)
        self.turn()

    @invariant()
    def never_more_attempts_than_allowed(self) -> None:
        assert self.plan.started <= self.route.attempts
        assert len(self.plan.alive) <= self.route.attempts

    @invariant()
    def the_verdict_is_the_most_useful_fault(self) -> None:
        told = self.plan.verdict(self.now) if self.winner is None else None
        if told is not None and self.faults:
            assert told in self.faults
            assert USEFULNESS.get(told.kind, 0) == max(USEFULNESS.get(f.kind, 0) for f in self.faults)

    def teardown(self) -> None:
        """From any state on, when every attempt fails, it ends."""
        if not hasattr(self, "plan") or self.winner is not None:
            return
        for one in self.others:
            self.health.ended(one)
        for _ in range(MOST_TURNS):
            if self.plan.verdict(self.now) is not None:
                return
            for attempt in list(self.plan.alive):
                candidate = self.plan.alive[attempt].candidate
                self.health.ended(candidate.channel)
                self.plan.failed(attempt, Fault(Kind.UPSTREAM_ERROR), self.now)
                self.health.failed(candidate.channel, candidate.key, Fault(Kind.UPSTREAM_ERROR), self.now)
            if self.plan.verdict(self.now) is not None:
                return
            wake = self.plan.wake(self.now)
            assert wake is not None, "nothing to wait for, and no verdict"
            self.now = wake
            self.plan.steps(self.now)
        raise AssertionError("it does not end")


TestPlan = PlanMachine.TestCase
TestPlan.settings = settings(max_examples=150, stateful_step_count=30)
