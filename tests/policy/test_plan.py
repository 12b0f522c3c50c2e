"""The plan, step by step: what each fault leaves to be tried, when, and what is told in the end."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.route import Hedge, Route
from fastanchor.policy.asked import QUEUE_SECONDS, Asked, Candidate
from fastanchor.policy.breaker import FAILURES, REST_FIRST
from fastanchor.policy.budget import Budget
from fastanchor.policy.health import Health
from fastanchor.policy.plan import NEVER_AGAIN, Plan, more_useful
from tests.policy.channels import candidates, channel, fault

A, B, C = channel("a"), channel("b", tier=1), channel("c", tier=2)
NO_HEDGE = Hedge(after=None)


class Driven:
    """A plan, the health it reports to, and a clock that tests push."""

    def __init__(
        self, found: list[Candidate], route: Route | None = None, health: Health | None = None, **asked: object
    ) -> None:
        self.health = health or Health()
        self.now = 0.0
        options: dict[str, object] = {"now": 0.0, **asked}
        self.plan = Plan(route or Route(), found, self.health, Asked(**options), Random(3))  # type: ignore[arg-type]

    def starts(self) -> list[tuple[str, str]]:
        """(channel, why) of what starts now."""
        return [(s.candidate.channel.name, s.why) for s in self.plan.steps(self.now)]

    def fail(self, kind: Kind, attempt: int | None = None, **more: float) -> None:
        """The youngest attempt, or the given one, fails."""
        number = max(self.plan.alive) if attempt is None else attempt
        candidate = self.plan.alive[number].candidate
        self.health.failed(candidate.channel, candidate.key, fault(kind, **more), self.now)
        self.health.ended(candidate.channel)
        self.plan.failed(number, fault(kind, **more), self.now)

    def wait(self) -> float:
        """Sleep until the plan wants to be asked; the seconds slept."""
        wake = self.plan.wake(self.now)
        assert wake is not None
        slept, self.now = wake - self.now, wake
        return slept

    @property
    def verdict(self) -> Kind | None:
        found = self.plan.verdict(self.now)
        return None if found is None else found.kind


def test_the_next_channel_follows_a_failure_at_once() -> None:
    driven = Driven(candidates(A, B, C))
    assert driven.starts() == [("a", "first")]
    driven.fail(Kind.UPSTREAM_ERROR)
    assert driven.starts() == [("b", "next_channel")]
    driven.fail(Kind.UPSTREAM_ERROR)
    assert driven.starts() == [("c", "next_channel")]
    driven.fail(Kind.UPSTREAM_ERROR)
    assert driven.verdict is Kind.UPSTREAM_ERROR


def test_all_untried_channels_come_before_a_second_try() -> None:
    driven = Driven(candidates(A, B, C), Route(attempts=6))
    driven.starts()
    driven.fail(Kind.RESET)
    driven.now = 30.0  # long behind the pause of the first channel
    assert driven.starts() == [("b", "next_channel")]
    driven.fail(Kind.RESET)
    driven.now = 60.0
    assert driven.starts() == [("c", "next_channel")]


def test_the_same_channel_is_asked_again_after_a_growing_pause() -> None:
    driven = Driven(candidates(A), Route(attempts=4))
    driven.starts()
    for tries in range(3):
        driven.fail(Kind.UPSTREAM_ERROR)
        assert driven.starts() == []
        assert driven.wait() <= 0.5 * 2**tries
        assert driven.starts() == [("a", "retry")]
    driven.fail(Kind.UPSTREAM_ERROR)
    assert driven.verdict is Kind.UPSTREAM_ERROR


def test_retries_of_a_channel_end_with_its_budget() -> None:
    health = Health()
    while health.of(A).retries.take(0.0):
        pass
    driven = Driven(candidates(A), health=health)
    driven.starts()
    driven.fail(Kind.UPSTREAM_ERROR)
    assert driven.verdict is Kind.UPSTREAM_ERROR


def test_other_keys_do_not_escape_the_budget_of_a_failing_channel() -> None:
    many = channel("a", keys=5)
    health = Health()
    while health.of(many).retries.take(0.0):
        pass
    driven = Driven(candidates(many), Route(attempts=10), health)
    driven.starts()
    driven.fail(Kind.UPSTREAM_ERROR)
    assert driven.verdict is Kind.UPSTREAM_ERROR


@pytest.mark.parametrize("kind", sorted(NEVER_AGAIN, key=lambda kind: kind.value))
def test_some_faults_end_a_channel_for_this_request(kind: Kind) -> None:
    driven = Driven(candidates(channel("a", keys=3), B), Route(attempts=5))
    driven.starts()
    driven.fail(kind)
    assert driven.starts() == [("b", "next_channel")]
    driven.fail(kind)
    assert driven.verdict is kind


@pytest.mark.parametrize("kind", [Kind.UPSTREAM_AUTH, Kind.UPSTREAM_RATE_LIMITED])
def test_a_keys_fault_goes_to_the_next_key_at_once(kind: Kind) -> None:
    driven = Driven(candidates(channel("a", keys=2), B))
    driven.starts()
    driven.fail(kind, retry_after=30.0)
    assert driven.starts() == [("a", "next_key")]
    driven.fail(kind, retry_after=30.0)
    assert driven.starts() == [("b", "next_channel")]


def test_a_429_is_waited_for_as_long_as_it_says() -> None:
    driven = Driven(candidates(A))
    driven.starts()
    driven.fail(Kind.UPSTREAM_RATE_LIMITED, retry_after=2.0)
    assert 2.0 <= driven.wait() <= 2.2
    assert driven.starts() == [("a", "retry")]


def test_a_429_that_asks_for_too_long_is_told_at_once() -> None:
    driven = Driven(candidates(A))
    driven.starts()
    driven.fail(Kind.UPSTREAM_RATE_LIMITED, retry_after=3600.0)
    assert driven.verdict is Kind.UPSTREAM_RATE_LIMITED
    told = driven.plan.verdict(driven.now)
    assert told is not None
    assert told.retry_after == 3600.0


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    driven = Driven(candidates(A), deadline=1.5)
    driven.starts()
    driven.fail(Kind.UPSTREAM_RATE_LIMITED, retry_after=2.0)
    assert driven.verdict is Kind.UPSTREAM_RATE_LIMITED


def test_a_new_request_does_not_wait_long_for_a_resting_key() -> None:
    health = Health()
    health.failed(A, 0, fault(Kind.UPSTREAM_RATE_LIMITED, retry_after=40.0), 0.0)
    driven = Driven(candidates(A), health=health)
    assert driven.starts() == []
    told = driven.plan.verdict(0.0)
    assert told is not None
    assert (told.kind, told.retry_after) == (Kind.UPSTREAM_RATE_LIMITED, 40.0)


@pytest.mark.parametrize("kind", [Kind.PROVIDER_REJECTED, Kind.CONTENT_FILTER])
def test_the_clients_own_mistake_ends_the_plan(kind: Kind) -> None:
    driven = Driven(candidates(A, B))
    driven.starts()
    driven.fail(kind)
    assert driven.starts() == []
    assert driven.verdict is kind


def test_the_clients_own_mistake_ends_a_race_too() -> None:
    driven = Driven(candidates(A, B), Route(race=2))
    assert len(driven.starts()) == 2
    driven.fail(Kind.PROVIDER_REJECTED, 0)
    assert driven.plan.alive
    assert driven.verdict is Kind.PROVIDER_REJECTED


def test_a_long_prompt_goes_to_a_larger_model_only() -> None:
    small = candidates(A, channel("x"), model="small", context=8_000)
    same = candidates(B, model="same", order=1, context=8_000)
    large = candidates(C, model="large", order=2, context=128_000)
    driven = Driven(small + same + large)
    first = driven.starts()
    assert first[0][1] == "first"
    driven.fail(Kind.CONTEXT_LENGTH)
    assert driven.starts() == [("c", "next_model")]
    driven.fail(Kind.UPSTREAM_ERROR)
    driven.now += 1.0
    driven.starts()
    assert driven.plan.fault is not None
    assert driven.plan.fault.kind is Kind.CONTEXT_LENGTH


def test_a_filter_is_routed_around_only_where_the_route_says_so() -> None:
    found = candidates(A, channel("x"), model="m", context=10) + candidates(B, model="other", order=1, context=10)
    driven = Driven(found, Route(content_filter_fallback=True))
    driven.starts()
    driven.fail(Kind.CONTENT_FILTER)
    assert driven.starts() == [("b", "next_model")]


# -- hedging and racing -----------------------------------------------------------------------------------------------


def test_a_late_first_token_starts_the_next_beside_the_first() -> None:
    driven = Driven(candidates(A, B))
    assert driven.starts() == [("a", "first")]
    assert driven.wait() == 10.0
    assert driven.starts() == [("b", "hedge")]
    assert len(driven.plan.alive) == 2
    assert driven.plan.won(1, driven.now) == [(candidates(A)[0], 10.0)]


def test_the_overtaken_are_only_those_that_had_their_time() -> None:
    driven = Driven(candidates(A, B), Route(race=2))
    driven.starts()
    driven.now = 1.0
    assert driven.plan.won(0, driven.now) == []


def test_one_channel_alone_is_never_hedged_with_itself() -> None:
    driven = Driven(candidates(channel("a", keys=3)))
    driven.starts()
    driven.now = 20.0
    assert driven.starts() == []
    assert driven.plan.alone


@pytest.mark.parametrize(
    ("route", "asked"),
    [
        (Route(hedge=NO_HEDGE), {}),
        (Route(hedge=Hedge(max_prompt_tokens=100)), {"prompt_tokens": 101}),
        (Route(hedge=Hedge(max_cost=50)), {"price": lambda candidate: 51}),
        (Route(), {"hedgeable": False}),
        (Route(attempts=1), {}),
    ],
)
def test_bounds_of_hedging(route: Route, asked: dict[str, object]) -> None:
    driven = Driven(candidates(A, B), route, **asked)
    driven.starts()
    driven.now = 100.0
    assert driven.starts() == []


def test_hedges_are_a_share_of_the_requests() -> None:
    budget, hedged = Budget(0.05), 0
    for _ in range(1000):
        driven = Driven(candidates(A, B), hedges=budget)
        driven.starts()
        driven.now = 10.0
        hedged += len(driven.starts())
    assert 50 <= hedged <= 54


def test_a_hedge_does_not_pass_the_channels_own_limit() -> None:
    health = Health()
    busy = channel("b", tier=1, cap=1)
    health.started(busy, 0.0)
    driven = Driven(candidates(A, busy), health=health)
    driven.starts()
    driven.now = 10.0
    assert driven.starts() == []


def test_the_measured_percentile_decides_once_there_are_samples() -> None:
    health = Health()
    route = Route(hedge=Hedge(after=None, percentile=0.95))
    driven = Driven(candidates(A, B), route, health)
    driven.starts()
    assert driven.wait() == 10.0
    for _ in range(30):
        health.of(A).latency.observe(0.7, 0.0)
    driven = Driven(candidates(A, B), route, health)
    driven.starts()
    assert driven.wait() == pytest.approx(0.7)
    assert driven.starts() == [("b", "hedge")]


def test_a_measured_percentile_has_a_floor() -> None:
    health = Health()
    for _ in range(30):
        health.of(A).latency.observe(0.001, 0.0)
    driven = Driven(candidates(A, B), Route(hedge=Hedge(after=None, percentile=0.5)), health)
    driven.starts()
    assert driven.wait() == pytest.approx(0.2)


def test_a_race_starts_all_at_once_on_different_channels() -> None:
    driven = Driven(candidates(channel("a", keys=3), B, C), Route(race=2))
    assert driven.starts() == [("a", "first"), ("b", "race")]
    assert not driven.plan.alone


def test_a_failed_runner_is_replaced_while_the_other_runs() -> None:
    driven = Driven(candidates(A, B, C), Route(race=2))
    driven.starts()
    driven.fail(Kind.UPSTREAM_ERROR, 0)
    driven.now = 10.0
    assert driven.starts() == [("c", "hedge")]


def test_nothing_starts_after_a_win() -> None:
    driven = Driven(candidates(A, B, C))
    driven.starts()
    driven.plan.won(0, 0.0)
    driven.now = 100.0
    assert driven.starts() == []


# -- health -----------------------------------------------------------------------------------------------------------


def broken(*channels: object) -> Health:
    health = Health()
    for one in channels:
        for _ in range(FAILURES):
            health.failed(one, 0, fault(Kind.UPSTREAM_ERROR), 0.0)  # type: ignore[arg-type]
    return health


def test_an_open_channel_is_passed_over() -> None:
    driven = Driven(candidates(A, B), health=broken(A))
    assert driven.starts() == [("b", "first")]
    assert driven.plan.skipped(candidates(B)[0], 0.0) == [(candidates(A)[0], "open")]


def test_an_outage_is_told_at_once_with_a_wait() -> None:
    health = broken(A, B)
    for one in (A, B):  # the first probe fails too
        health.started(one, REST_FIRST)
        health.failed(one, 0, fault(Kind.UPSTREAM_ERROR), REST_FIRST)
    driven = Driven(candidates(A, B), health=health)
    driven.now = REST_FIRST
    assert driven.starts() == []
    told = driven.plan.verdict(driven.now)
    assert told is not None
    assert (told.kind, told.retry_after) == (Kind.SERVICE_UNAVAILABLE, 2 * REST_FIRST)


def test_a_blip_of_all_channels_is_waited_for() -> None:
    driven = Driven(candidates(A, B), health=broken(A, B))
    assert driven.starts() == []
    assert driven.verdict is None
    assert driven.wait() == REST_FIRST
    assert driven.starts() == [("a", "first")]


def test_probes_that_never_report_are_not_waited_for_for_ever() -> None:
    health = broken(A)
    health.started(A, REST_FIRST)
    driven = Driven(candidates(A), health=health)
    driven.now = REST_FIRST
    assert driven.starts() == []
    while driven.verdict is None:
        assert driven.wait() <= 1.0
        assert driven.now < REST_FIRST + 2 * QUEUE_SECONDS
        assert driven.starts() == []
    assert driven.verdict is Kind.SERVICE_UNAVAILABLE


def test_a_probe_is_hedged_within_a_second() -> None:
    health = broken(A)
    driven = Driven(candidates(A, B), health=health)
    driven.now = REST_FIRST
    assert driven.starts() == [("a", "first")]
    assert driven.wait() == 1.0
    assert driven.starts() == [("b", "hedge")]
    other = Driven(candidates(A, B), health=health)
    other.now = REST_FIRST
    assert other.starts() == [("b", "first")]


def test_parked_keys_are_told_as_the_providers_absence() -> None:
    health = Health()
    health.failed(A, 0, fault(Kind.UPSTREAM_AUTH), 0.0)
    driven = Driven(candidates(A), health=health)
    assert driven.starts() == []
    assert driven.verdict is Kind.UPSTREAM_AUTH


def test_a_full_channel_is_waited_for_until_the_queue_is_over() -> None:
    health = Health()
    full = channel("a", cap=1)
    health.started(full, 0.0)
    driven = Driven(candidates(full), health=health)
    assert driven.starts() == []
    assert driven.plan.blocked == {"a"}
    assert driven.verdict is None
    assert driven.wait() == 10.0
    assert driven.starts() == []
    assert driven.verdict is Kind.SERVICE_UNAVAILABLE


def test_a_place_that_was_offered_is_taken() -> None:
    health = Health()
    full = channel("a", cap=1)
    health.started(full, 0.0)
    driven = Driven(candidates(full), health=health)
    driven.starts()
    health.ended(full)
    health.of(full).concurrency.promised = 1
    newcomer = Driven(candidates(full), health=health)
    assert newcomer.starts() == []
    driven.plan.offered = "a"
    assert driven.starts() == [("a", "first")]


def test_affinity_chooses_the_key_too() -> None:
    many = channel("a", keys=8)
    found = set()
    for _ in range(5):
        driven = Driven(candidates(many), conversation=lambda: "talk")
        found |= {s.candidate.key for s in driven.plan.steps(0.0)}
    assert len(found) == 1


def test_a_conversation_is_asked_for_only_where_there_is_a_choice() -> None:
    asked: list[int] = []

    def conversation() -> str:
        asked.append(1)
        return "talk"

    Driven(candidates(A, B), conversation=conversation).starts()
    assert not asked
    Driven(candidates(A, channel("x")), conversation=conversation).starts()
    assert asked


# -- rescue -----------------------------------------------------------------------------------------------------------


def test_a_broken_stream_is_taken_over_by_the_next_channel() -> None:
    driven = Driven(candidates(A, B, C))
    driven.starts()
    driven.plan.won(0, 0.0)
    driven.plan.broke(candidates(A)[0], fault(Kind.TRUNCATED), 1.0)
    driven.now = 1.0
    assert driven.starts() == [("b", "rescue")]
    driven.now = 50.0
    assert driven.starts() == []  # a replay takes its time: no hedge beside it
    driven.fail(Kind.DIVERGED)
    assert driven.starts() == [("c", "rescue")]


def test_a_stalled_channel_does_not_rescue_itself() -> None:
    driven = Driven(candidates(A))
    driven.starts()
    driven.plan.won(0, 0.0)
    driven.plan.broke(candidates(A)[0], fault(Kind.STALLED), 1.0)
    assert driven.verdict is Kind.STALLED


# -- the fault that is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "told"),
    [
        ((Kind.PROVIDER_REJECTED, Kind.UPSTREAM_ERROR), Kind.PROVIDER_REJECTED),
        ((Kind.UPSTREAM_ERROR, Kind.CONTEXT_LENGTH, Kind.SILENT), Kind.CONTEXT_LENGTH),
        ((Kind.UPSTREAM_RATE_LIMITED, Kind.UPSTREAM_ERROR), Kind.UPSTREAM_RATE_LIMITED),
        ((Kind.UPSTREAM_OVERLOADED, Kind.SILENT), Kind.UPSTREAM_OVERLOADED),
        ((Kind.UPSTREAM_ERROR, Kind.SILENT), Kind.SILENT),
        ((Kind.UPSTREAM_ERROR, Kind.UPSTREAM_AUTH), Kind.UPSTREAM_ERROR),
        ((Kind.TRUNCATED, Kind.DIVERGED), Kind.TRUNCATED),
        ((Kind.UPSTREAM_AUTH, Kind.CONNECT_FAILED), Kind.CONNECT_FAILED),
    ],
)
def test_the_most_useful_fault_is_told(kinds: tuple[Kind, ...], told: Kind) -> None:
    found: Fault | None = None
    for kind in kinds:
        found = more_useful(found, fault(kind))
    assert found is not None
    assert found.kind is told


def test_of_two_waits_the_shorter_is_told() -> None:
    long, short = (fault(Kind.UPSTREAM_RATE_LIMITED, retry_after=seconds) for seconds in (30.0, 2.0))
    assert more_useful(long, short) is short
    assert more_useful(short, long) is short


def test_who_lost_a_race_in_good_time_may_rescue_its_winner() -> None:
    driven = Driven(candidates(A, B), Route(race=2))
    driven.starts()
    driven.plan.won(0, 0.1)
    driven.plan.broke(candidates(A)[0], fault(Kind.STALLED), 1.0)
    driven.now = 1.0
    assert driven.starts() == [("b", "rescue")]


def test_who_was_silent_in_a_race_is_not_asked_again() -> None:
    driven = Driven(candidates(A, B), Route(race=2))
    driven.starts()
    driven.plan.won(0, 20.0)
    driven.plan.broke(candidates(A)[0], fault(Kind.STALLED), 21.0)
    driven.now = 21.0
    assert driven.starts() == []


def rescuing(*able: str) -> Driven:
    """A plan whose first channel's stream broke, and whose second will not say the same again."""
    found = [replace(c, continues=c.channel.name in able) for c in candidates(A, B, C)]
    driven = Driven(found, Route(attempts=6))
    driven.starts()
    driven.plan.won(0, 0.0)
    driven.plan.broke(found[0], fault(Kind.TRUNCATED), 0.0)
    driven.plan.continuable = True
    assert driven.starts() == [("b", "rescue")]
    driven.fail(Kind.DIVERGED)
    return driven


def test_other_words_turn_to_the_models_that_continue() -> None:
    driven = rescuing("b")
    assert driven.starts() == [("b", "continue")]
    driven.fail(Kind.DIVERGED)
    assert driven.starts() == []
    assert driven.verdict is Kind.TRUNCATED


def test_those_not_asked_yet_come_first_among_the_models_that_continue() -> None:
    assert rescuing("b", "c").starts() == [("c", "continue")]


def test_without_a_model_that_continues_the_others_may_repeat_it() -> None:
    assert rescuing().starts() == [("c", "rescue")]


def test_what_no_model_could_go_on_from_is_only_repeated() -> None:
    driven = rescuing("b", "c")
    driven.plan.continuable = False
    assert driven.starts() == [("c", "rescue")]
