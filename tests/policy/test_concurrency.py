"""The limit falls when the channel says so, rises with answers, and stays within its bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.policy.concurrency import CUT, PAUSE, Concurrency


def test_a_refusal_cuts_the_limit_to_a_part_of_what_was_in_flight() -> None:
    one = Concurrency(200)
    one.in_flight = 100
    one.refused(0.0)
    assert one.limit == 100 * CUT
    assert one.full


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
    one.refused(0.0)
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
    one.refused(0.0)
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
