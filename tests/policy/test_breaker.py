"""The breaker opens on failure, asks rarely while it is open, and lets a recovered channel back soon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.policy.breaker import FAILURES, PROBE_LAST, REST_FIRST, REST_LAST, WINDOW, Breaker, State


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.failed(at)
    return breaker


def test_failures_in_a_row_open_it() -> None:
    breaker = Breaker()
    for _ in range(FAILURES - 1):
        breaker.failed(0.0)
    assert breaker.allows(0.0)
    breaker.failed(0.0)
    assert breaker.state(0.0) is State.OPEN
    assert not breaker.allows(REST_FIRST - 0.01)
    assert breaker.opened == 1


def test_a_success_ends_the_row() -> None:
    breaker = Breaker()
    for _ in range(10):
        breaker.failed(0.0)
        breaker.failed(0.0)
        breaker.succeeded(0.0)
        breaker.succeeded(0.0)
        breaker.succeeded(0.0)
    assert breaker.state(0.0) is State.CLOSED


def test_a_window_that_mostly_failed_opens_it() -> None:
    breaker = Breaker()
    for i in range(WINDOW * 3):
        (breaker.succeeded if i % 3 == 0 else breaker.failed)(0.0)
    assert breaker.state(0.0) is State.OPEN


def test_half_open_lets_one_probe_through() -> None:
    breaker = opened()
    assert breaker.allows(REST_FIRST)
    assert breaker.started(REST_FIRST)
    assert not breaker.allows(REST_FIRST)
    assert not breaker.allows(REST_FIRST + PROBE_LAST - 0.1)


def test_a_probe_that_never_reports_is_taken_for_lost() -> None:
    breaker = opened()
    breaker.started(REST_FIRST)
    assert breaker.allows(REST_FIRST + PROBE_LAST)


def test_an_abandoned_probe_makes_room_for_the_next() -> None:
    breaker = opened()
    breaker.started(REST_FIRST)
    breaker.abandoned()
    assert breaker.allows(REST_FIRST)


def test_a_good_probe_closes_it_and_its_share_grows() -> None:
    breaker = opened()
    breaker.started(REST_FIRST)
    breaker.succeeded(REST_FIRST)
    assert breaker.state(REST_FIRST) is State.CLOSED
    assert breaker.share(REST_FIRST) == pytest.approx(0.1)
    assert breaker.share(REST_FIRST + 5.0) == pytest.approx(0.5)
    assert breaker.share(REST_FIRST + 60.0) == 1.0


def test_a_breaker_that_never_opened_has_its_whole_share() -> None:
    assert Breaker().share(0.0) == 1.0


def test_bad_probes_double_the_rest_up_to_its_bound() -> None:
    breaker = opened()
    now, rests = 0.0, []
    for _ in range(5):
        until = breaker.usable_at(now)
        rests.append(until - now)
        now = until
        breaker.started(now)
        breaker.failed(now)
    assert rests == [REST_FIRST, 4.0, REST_LAST, REST_LAST, REST_LAST]


def test_late_reports_of_older_requests_change_nothing_while_it_is_open() -> None:
    breaker = opened()
    before = breaker.open_until
    for _ in range(100):
        breaker.failed(0.1)
    breaker.succeeded(0.2)
    breaker.broke(0.3)
    assert (breaker.state(0.3), breaker.open_until) == (State.OPEN, before)


def test_streams_that_always_break_off_open_it_though_each_began_well() -> None:
    breaker = Breaker()
    for _ in range(FAILURES):
        breaker.succeeded(0.0)
        breaker.broke(0.0)
    assert breaker.state(0.0) is State.OPEN


def test_a_whole_answer_forgives_broken_streams() -> None:
    breaker = Breaker()
    for _ in range(FAILURES * 3):
        breaker.succeeded(0.0)
        breaker.completed()
        breaker.succeeded(0.0)
        breaker.completed()
        breaker.succeeded(0.0)
        breaker.broke(0.0)
    assert breaker.state(0.0) is State.CLOSED


def test_a_channel_that_only_breaks_off_rests_ever_longer() -> None:
    breaker = Breaker()
    now, rests = 0.0, []
    for _ in range(60):
        if not breaker.allows(now):
            rests.append(breaker.usable_at(now) - now)
            now = breaker.usable_at(now)
        breaker.started(now)
        breaker.succeeded(now)
        breaker.broke(now)
    assert rests[:3] == [REST_FIRST, 4.0, REST_LAST]


REPORTS = st.lists(
    st.tuples(
        st.floats(0.0, 5.0),
        st.sampled_from(["started", "succeeded", "failed", "broke", "completed", "abandoned"]),
    ),
    max_size=80,
)


@given(REPORTS)
def test_whatever_is_reported_it_always_opens_again(reports: list[tuple[float, str]]) -> None:
    breaker, now = Breaker(), 0.0
    for pause, report in reports:
        now += pause
        if report in ("completed", "abandoned"):
            getattr(breaker, report)()
        else:
            getattr(breaker, report)(now)
        usable = breaker.usable_at(now)
        assert now <= usable <= now + REST_LAST
        assert breaker.allows(now) == (usable == now)
        assert 0.1 <= breaker.share(now) <= 1.0
    assert breaker.allows(now + REST_LAST + PROBE_LAST)
