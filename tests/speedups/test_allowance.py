"""Fields that tell what is left: both halves alike, in both forms."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups.allowance import duration
from tests.speedups.halves import both, halves

NOW = 1_780_000_000.0
LIMIT = (b"x-limit", b"60")


@pytest.fixture(params=halves("allowance"))
def half(request: pytest.FixtureRequest) -> Any:
    return request.param


def told(half: Any, left: int, wait: float, unix: float = NOW, *, cap: int = 60, unit: float = 0.0, **form: Any) -> Any:
    fields: list[tuple[bytes, bytes]] = []
    shown = half.Allowance(LIMIT, b"x-remaining", b"x-reset", cap, unit, **{"instant": False, **form})
    shown.add(fields, left, wait, unix)
    return fields


def test_what_comes_back_one_by_one_is_whole_when_all_that_is_missing_has(half: Any) -> None:
    fields = told(half, 40, 99.0, unit=1.0)
    assert fields == [LIMIT, (b"x-remaining", b"40"), (b"x-reset", b"20s")]


def test_the_plain_fields_tell_unix_seconds(half: Any) -> None:
    fields = told(half, 40, 1.25, plain=b"x-ratelimit")
    assert fields[3:] == [
        (b"x-ratelimit-limit", b"60"), (b"x-ratelimit-remaining", b"40"), (b"x-ratelimit-reset", b"1780000002")
    ]


@pytest.mark.parametrize(
    ("wait", "text"),
    [
        (-5, b"0s"), (0, b"0s"), (0.0121, b"13ms"), (0.9999, b"1000ms"), (1, b"1s"), (59.2, b"1m0s"), (360, b"6m0s"),
        (86_341, b"23h59m1s"), (90_000, b"25h0m0s"),
    ],
)  # fmt: skip
def test_durations_are_written_as_go_writes_them(half: Any, wait: float, text: bytes) -> None:
    assert told(half, 0, wait)[2] == (b"x-reset", text)
    assert duration(wait) == text


@pytest.mark.parametrize("day", range(0, 2_932_896, 9_973))
def test_instants_are_those_of_the_calendar(half: Any, day: int) -> None:
    unix = day * 86_400 + 3_661
    expected = datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
    assert told(half, 0, 0.0, float(unix), instant=True)[2] == (b"x-reset", expected.rjust(20, b"0"))


@given(
    left=st.integers(-(2**62), 2**62), wait=st.floats(-1e9, 1e18), unix=st.floats(0, 1e18), cap=st.integers(1, 2**40),
    unit=st.just(0.0) | st.floats(1e-9, 60), instant=st.booleans(), plain=st.sampled_from([b"", b"x-ratelimit"]),
)
def test_both_halves_tell_alike(
    left: int, wait: float, unix: float, cap: int, unit: float, instant: bool, plain: bytes
) -> None:
    pure, fast = (
        told(half, left, wait, unix, cap=cap, unit=unit, instant=instant, plain=plain) for half in both("allowance")
    )
    assert pure == fast
