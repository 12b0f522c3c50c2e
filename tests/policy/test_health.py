"""What attempts report, and what is known of channels and keys afterwards."""

from __future__ import annotations

import pytest

from fastanchor.core.faults import Kind
from fastanchor.policy.breaker import FAILURES, State
from fastanchor.policy.health import PARK_AUTH, PARK_LAST, RATE_PARK, RATE_PARK_LAST, Health
from tests.policy.channels import channel, fault

A = channel("a", keys=2)


def test_states_are_kept_by_name_and_caps_are_taken_over() -> None:
    health = Health()
    health.started(A, 0.0)
    again = channel("a", keys=2, cap=3)
    assert health.of(again).concurrency.in_flight == 1
    assert health.of(again).concurrency.cap == 3


@pytest.mark.parametrize(
    "kind", [k for k in Kind if fault(k).penalty], ids=lambda kind: kind.value
)
def test_faults_of_the_channel_open_its_breaker(kind: Kind) -> None:
    health = Health()
    for _ in range(FAILURES):
        health.failed(A, 0, fault(kind), 0.0)
    assert health.of(A).breaker.state(0.0) is State.OPEN


@pytest.mark.parametrize(
    "kind", [k for k in Kind if not fault(k).penalty], ids=lambda kind: kind.value
)
def test_faults_of_others_leave_the_breaker_closed(kind: Kind) -> None:
    health = Health()
    for _ in range(FAILURES * 3):
        health.failed(A, 0, fault(kind), 0.0)
    assert health.of(A).breaker.state(0.0) is State.CLOSED


def test_a_refused_key_is_parked_ever_longer_and_its_neighbour_is_not() -> None:
    health = Health()
    now, waits = 0.0, []
    for _ in range(9):
        health.failed(A, 0, fault(Kind.UPSTREAM_AUTH), now)
        assert health.of(A).parked(0, now)
        waits.append(health.of(A).usable_at(0, now) - now)
        now += waits[-1]
    assert waits[:3] == [PARK_AUTH, PARK_AUTH * 2, PARK_AUTH * 4]
    assert waits[-1] == PARK_LAST
    assert health.of(A).usable_at(1, now) == now


def test_refusals_of_one_burst_park_a_key_once() -> None:
    health = Health()
    for _ in range(20):
        health.failed(A, 0, fault(Kind.UPSTREAM_AUTH), 0.0)
    assert health.of(A).usable_at(0, 0.0) == PARK_AUTH


def test_an_answer_makes_a_key_good_again() -> None:
    health = Health()
    health.failed(A, 0, fault(Kind.UPSTREAM_AUTH), 0.0)
    health.answered(A, 0, 0.1, PARK_AUTH)
    health.failed(A, 0, fault(Kind.UPSTREAM_AUTH), PARK_AUTH + 1)
    assert health.of(A).usable_at(0, PARK_AUTH + 1) == PARK_AUTH * 2 + 1


@pytest.mark.parametrize(
    ("told", "waits"), [(None, RATE_PARK), (0.0, 0.0), (2.5, 2.5), (59.0, 59.0), (86_400.0, RATE_PARK_LAST)]
)
def test_a_busy_key_rests_as_long_as_the_provider_says(told: float | None, waits: float) -> None:
    health = Health()
    told_fault = fault(Kind.UPSTREAM_RATE_LIMITED)
    told_fault.retry_after = told
    health.failed(A, 0, told_fault, 10.0)
    assert health.of(A).usable_at(0, 10.0) == 10.0 + waits
    assert not health.of(A).parked(0, 10.0)
    assert health.of(A).usable_at(1, 10.0) == 10.0


@pytest.mark.parametrize("kind", [Kind.UPSTREAM_RATE_LIMITED, Kind.UPSTREAM_OVERLOADED])
def test_too_much_asked_lowers_the_limit(kind: Kind) -> None:
    health = Health()
    for _ in range(10):
        health.started(A, 0.0)
    for _ in range(5):
        health.failed(A, 0, fault(kind), 0.0)
    assert health.of(A).concurrency.limit == 7.0


def test_overtaken_attempts_count_as_failures_and_as_slow() -> None:
    health = Health()
    for _ in range(FAILURES):
        health.overtaken(A, 10.0, 0.0)
    assert health.of(A).breaker.state(0.0) is State.OPEN
    assert health.of(A).latency.average(0.0) == 10.0


def test_places_are_given_back() -> None:
    health = Health()
    for _ in range(3):
        health.started(A, 0.0)
    for _ in range(3):
        health.ended(A)
    assert health.of(A).concurrency.in_flight == 0


def test_what_a_replay_took_is_no_latency() -> None:
    health = Health()
    health.answered(A, 0, None, 0.0)
    assert health.of(A).latency.count == 0
