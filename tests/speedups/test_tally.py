"""Histograms, in both halves."""

from __future__ import annotations

from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.speedups.halves import both, halves

BOUNDS = (0.005, 0.1, 1.0, 10)


@pytest.mark.parametrize("half", halves("tally"))
@pytest.mark.parametrize(("value", "place"), [(0.0, 0), (0.005, 0), (0.0051, 1), (10, 3), (10.1, 4), (1e300, 4)])
def test_a_bound_holds_what_is_not_above_it(half: ModuleType, value: float, place: int) -> None:
    histogram = half.Histogram(BOUNDS)
    histogram.observe(value)
    assert histogram.counts == [int(i == place) for i in range(5)]
    assert histogram.bounds == BOUNDS


@given(st.lists(st.floats(0, 20)))
def test_the_halves_count_alike(values: list[float]) -> None:
    pure, compiled = (half.Histogram(BOUNDS) for half in both("tally"))
    for value in values:
        pure.observe(value)
        compiled.observe(value)
    assert (pure.counts, pure.total) == (compiled.counts, compiled.total)
