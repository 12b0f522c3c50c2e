"""Calendar windows in UTC."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.policy.windows import LAST, windows


def unix(*date: int) -> int:
    return int(datetime(*date, tzinfo=UTC).timestamp())  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("moment", "month_end"),
    [
        (unix(2026, 1, 31, 23, 59, 59), unix(2026, 2, 1)),
        (unix(2026, 2, 28), unix(2026, 3, 1)),
        (unix(2028, 2, 28), unix(2028, 3, 1)),
        (unix(2026, 12, 31, 23), unix(2027, 1, 1)),
        (unix(1970, 1, 1), unix(1970, 2, 1)),
    ],
)
def test_a_month_ends_where_the_next_begins(moment: int, month_end: int) -> None:
    assert windows(moment).month_end == month_end
    assert windows(month_end).month == windows(moment).month + 1


@given(st.integers(-(10**12), 10**13))
def test_every_instant_lies_in_its_windows_and_the_table_can_hold_their_numbers(moment: int) -> None:
    now = windows(moment)
    date = datetime.fromtimestamp(min(max(0, moment), LAST), UTC)
    assert now.month == (date.year - 1970) * 12 + date.month - 1
    assert now.day == int(date.timestamp()) // 86_400
    assert now.hour == int(date.timestamp()) // 3_600
    assert max(0, min(moment, LAST)) < now.hour_end <= now.day_end <= now.month_end


@given(st.integers(0, 4_000_000_000), st.integers(0, 4_000_000_000))
def test_later_windows_have_larger_numbers(a: int, b: int) -> None:
    first, second = windows(min(a, b)), windows(max(a, b))
    assert first[:3] <= second[:3]
    assert all(x <= y for x, y in zip(first, second, strict=True))


def test_numbers_fit_the_table_for_some_centuries() -> None:
    assert max(windows(unix(2900, 1, 1))[:3]) < 1 << 23


@pytest.mark.parametrize(("name", "field"), [("hour", "hour_end"), ("day", "day_end"), ("month", "month_end")])
def test_ends_are_found_by_name(name: str, field: str) -> None:
    assert windows(12_345_678).end(name) == getattr(windows(12_345_678), field)
