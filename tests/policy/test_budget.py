"""Extra attempts stay a share of the work, with a floor that time refills."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.policy.budget import FLOOR, FLOOR_PER_SECOND, MOST, Budget


def test_the_floor_lets_a_few_through_without_any_history() -> None:
    budget = Budget(0.0)
    assert [budget.take(1000.0) for _ in range(5)] == [True, True, True, False, False]


def test_time_refills_the_floor_and_no_more() -> None:
    budget = Budget(0.0)
    while budget.take(0.0):
        pass
    assert not budget.take(0.5 / FLOOR_PER_SECOND)
    assert [budget.take(1e6) for _ in range(5)] == [True, True, True, False, False]


def test_work_fills_it_up_to_a_bound() -> None:
    budget = Budget(0.5)
    for _ in range(10_000):
        budget.deposit()
    assert budget.tokens == MOST


def test_asking_does_not_spend() -> None:
    budget = Budget(0.0)
    assert all(budget.has(0.0) for _ in range(100))
    while budget.take(0.0):
        pass
    assert not budget.has(0.0)
    assert budget.has(1.0 / FLOOR_PER_SECOND)


@given(st.floats(0.0, 1.0), st.lists(st.tuples(st.booleans(), st.floats(0.0, 2.0)), max_size=300))
def test_never_more_than_share_and_floor(share: float, events: list[tuple[bool, float]]) -> None:
    budget, now, work, taken = Budget(share), 0.0, 0, 0
    for extra, pause in events:
        now += pause
        if extra:
            taken += budget.take(now)
        else:
            work += 1
            budget.deposit()
    assert taken <= share * work + FLOOR + FLOOR_PER_SECOND * now + 1e-6
