"""A rate lets a burst through and spaces what follows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.policy.rate import BURST, Rate


def test_a_burst_and_then_even_spacing() -> None:
    rate = Rate(60)
    for _ in range(10):
        assert rate.usable_at(0.0) == 0.0
        rate.take(0.0)
    assert rate.usable_at(0.0) == pytest.approx(1.0)
    rate.take(1.0)
    assert rate.usable_at(1.0) == pytest.approx(2.0)


def test_a_low_rate_lets_one_through_at_a_time() -> None:
    rate = Rate(2)
    rate.take(0.0)
    assert rate.usable_at(0.0) == pytest.approx(30.0)


@given(st.integers(1, 10_000), st.lists(st.floats(0.0, 5.0), max_size=200))
def test_never_more_than_the_burst_and_the_minutes_share(per_minute: int, pauses: list[float]) -> None:
    rate, now, sent = Rate(per_minute), 0.0, 0
    for pause in pauses:
        now += pause
        if rate.usable_at(now) <= now:
            rate.take(now)
            sent += 1
    assert sent <= max(1, per_minute // BURST) + now * per_minute / 60.0 + 1e-6
