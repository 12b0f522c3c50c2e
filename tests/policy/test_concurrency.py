"""The limit falls when the channel says so, rises with answers, and stays within its bounds."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.policy.concurrency import CUT, PAUSE, TOLERATED, WINDOW, Concurrency


def refuse(one: Concurrency, now: float = 0.0) -> None:
    """As often in a row as it takes to be heard."""
    for _ in range(math.ceil(TOLERATED * WINDOW) + 1):
        one.refused(now)


def test_refusals_cut_the_limit_to_a_part_of_what_was_in_flight() -> None:
    one = Concurrency(200)
    one.in_flight = 100
    refuse(one)
    assert one.limit == 100 * CUT
    assert one.full


def test_a_refusal_now_and_then_changes_nothing() -> None:
    one = Concurrency(200)
    one.in_flight = 1
    for turn in range(1000):
        if turn % 20:
            one.answered()
        else:
            one.refused(float(turn))
    assert one.limit == 200


def test_a_channel_that_has_recovered_is_soon_as_large_as_before() -> None:
    one = Concurrency(200)
    one.in_flight = 200
    for turn in range(100):
        one.refused(float(turn))
    assert one.limit < 200
    for _ in range(2000):
        one.answered()
    assert one.limit == 200


def test_refusals_of_one_burst_cut_once() -> None:
    one = Concurrency(200)
    one.in_flight = 100
    for _ in range(50):
        one.refused(0.0)
    assert one.limit == 100 * CUT
    one.refused(PAUSE)
    assert one.limit == 100 * CUT * CUT


def test_a_full_limits_worth_of_answers_raises_it_by_about_one() -> None:
    one = Concurrency(200)
    one.in_flight = 10
    refuse(one)
    before = one.limit
    for _ in range(int(before)):
        one.answered()
    assert before + 0.9 < one.limit < before + 1.1


def test_promised_places_are_taken() -> None:
    one = Concurrency(2)
    one.in_flight = 1
    assert not one.full
    one.promised = 1
    assert one.full


def test_a_new_cap_is_taken_over() -> None:
    one = Concurrency(100)
    one.resize(10)
    assert one.limit == 10
    one.resize(50)
    assert one.limit == 50
    one.in_flight = 20
    refuse(one)
    one.resize(60)
    assert one.limit == 20 * CUT


@given(st.integers(1, 50), st.lists(st.sampled_from(["begin", "end", "answered", "refused"]), max_size=200))
def test_the_limit_stays_between_one_and_the_cap(cap: int, events: list[str]) -> None:
    one, now = Concurrency(cap), 0.0
    for event in events:
        now += 0.3
        if event == "begin" and not one.full:
            one.in_flight += 1
        elif event == "end" and one.in_flight:
            one.in_flight -= 1
        elif event == "answered":
            one.answered()
        elif event == "refused":
            one.refused(now)
        assert 1.0 <= one.limit <= cap
        assert one.in_flight <= cap
