"""The average follows a rise at once and forgets it; percentiles need a sample."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.policy.latency import FADE, KEPT, MIN_SAMPLES, UNKNOWN, Latency


def test_unknown_before_the_first_sample() -> None:
    assert Latency().average(5.0) == UNKNOWN


def test_a_peak_counts_at_once_and_fades_with_better_samples() -> None:
    one = Latency()
    one.observe(0.1, 0.0)
    one.observe(5.0, 1.0)
    assert one.average(1.0) == 5.0
    for i in range(40):
        one.observe(0.1, 2.0 + i)
    assert one.average(42.0) < 0.3


def test_without_samples_a_peak_fades_too() -> None:
    one = Latency()
    one.observe(30.0, 0.0)
    assert one.average(5.0) == 30.0
    assert one.average(5 * FADE) < 1.0


def test_percentiles_need_a_minimum_of_samples() -> None:
    one = Latency()
    for _ in range(MIN_SAMPLES - 1):
        one.observe(1.0, 0.0)
    assert one.percentile(0.95) is None
    one.observe(1.0, 0.0)
    assert one.percentile(0.95) == 1.0


def test_a_slow_twentieth_is_not_the_95th_percentile() -> None:
    one = Latency()
    for i in range(100):
        one.observe(2.0 if i % 20 == 0 else 0.05, 0.0)
    assert one.percentile(0.95) == 0.05
    assert one.percentile(0.96) == 2.0


@given(st.lists(st.floats(0.0, 100.0), min_size=MIN_SAMPLES, max_size=3 * KEPT), st.floats(0.01, 0.99))
def test_percentiles_are_samples_and_rise(samples: list[float], share: float) -> None:
    one = Latency()
    for i, seconds in enumerate(samples):
        one.observe(seconds, float(i))
    low, high = one.percentile(share), one.percentile(0.99)
    assert low in samples
    assert high is not None
    assert low is not None
    assert low <= high
    assert one.count <= KEPT
    assert min(samples) - 1e-9 <= one.average(float(len(samples))) <= max(samples) + 1e-9
