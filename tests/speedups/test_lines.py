"""Lines of a journal, read back: damage is passed over, and what the compiled half takes apart is what stands there."""

from __future__ import annotations

from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups.line import line
from tests.speedups.halves import both, halves

SHAPE = (b"a", "sfnbx[nxs]f*=")
OTHER = (b"ab", "n")

text = st.text(max_size=12) | st.text("abc \"\\\n\x7f\u00e9\u2028", max_size=12)
count = st.integers(0, 10**16) | st.integers() | st.none()
real = st.floats(-1e6, 2e9) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 5)
scalar = st.none() | st.booleans() | st.integers() | real | text
anything = st.recursive(scalar, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
record = st.tuples(
    st.just("a"), text, real, count, st.booleans(), scalar, st.tuples(count, scalar, text), real
).flatmap(lambda head: st.lists(anything, max_size=3).map(lambda rest: (*head, *rest)))
mistyped = st.tuples(st.sampled_from(["a", "ab", "b"])).flatmap(
    lambda head: st.lists(anything, max_size=9).map(lambda rest: (*head, *rest))
)


@pytest.fixture(params=halves("lines"))
def half(request: pytest.FixtureRequest) -> Any:
    return request.param


def told(payload: bytes) -> Any:
    """What SHAPE keeps of a line's JSON."""
    _, one, real, number, flag, _, (inner, _, word), last, *_ = msgspec.json.decode(payload)
    return one, float(real), number or 0, flag, inner or 0, word, float(last), payload


@given(st.lists(record | mistyped, max_size=8))
def test_every_line_is_taken_apart_as_it_stands_or_left_whole(records: list[tuple[Any, ...]]) -> None:
    data = b"".join(map(line, records))
    pure, fast = (half.lines(data, SHAPE, OTHER) for half in both("lines"))
    assert (fast.size, fast.damaged) == (pure.size, pure.damaged) == (len(data), 0)
    taken, others = fast.apart
    assert all(values == told(values[-1]) for values in taken)
    assert all(isinstance(values[0], int) for values in others)
    left = [values[-1] for values in taken] + [line(("ab", *values))[18:-1] for values in others] + fast.rest
    assert sorted(left) == sorted(pure.rest)


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        (("a", "x", 1.5, 7, True, None, (None, "é", "y"), -0.25), ("x", 1.5, 7, True, 0, "y", -0.25)),
        (("a", "x", 1780000000.123456, 999_999_999_999_999, False, (), (0, 0, ""), 1.0), None),  # () is an array
        (("a", "", 1780000000.123456, 999_999_999_999_999, False, 1, (0, 0, ""), 1, [[], "é"], 3),
         ("", 1780000000.123456, 999_999_999_999_999, False, 0, "", 1.0)),
        (("a", "é", 1.5, 7, True, None, (1, 2, "y"), 1.5), None),
        (("a", '"', 1.5, 7, True, None, (1, 2, "y"), 1.5), None),
        (("a", "x", 1e300, 7, True, None, (1, 2, "y"), 1.5), None),
        (("a", "x", 1.5, 10**15, True, None, (1, 2, "y"), 1.5), None),
        (("a", "x", 1.5, -1, True, None, (1, 2, "y"), 1.5), None),
        (("a", "x", 1.5, 7, None, None, (1, 2, "y"), 1.5), None),
        (("a", "x", 1.5, 7, True, None, (1, 2, "y", 3), 1.5), None),
        (("a", "x", 1.5, 7, True, None, (1, 2), 1.5), None),
        (("a", "x", 1.5, 7, True, None, (1, 2, "y")), None),
    ],
)  # fmt: skip
def test_what_is_ordinary_is_taken_apart(values: tuple[Any, ...], kept: tuple[Any, ...] | None) -> None:
    payload = line(values)[18:-1]
    found = both("lines")[1].lines(line(values), SHAPE)
    assert found.apart == ([] if kept is None else [(*kept, payload)],)
    assert found.rest == ([payload] if kept is None else [])


@given(st.binary(max_size=200), st.integers(0, 120), st.integers(0, 255))
def test_damage_is_passed_over_alike(noise: bytes, at: int, byte: int) -> None:
    lines = [line(("a", "x", 1.5, n, True, None, (1, 2, "y"), 1.5)) for n in range(3)]
    broken = bytearray(lines[1])
    broken[at % len(broken)] ^= byte
    data = lines[0] + bytes(broken) + noise + b"\n" + lines[2] + lines[0][:-1]
    pure, fast = (half.lines(data, SHAPE) for half in both("lines"))
    assert (fast.size, fast.damaged) == (pure.size, pure.damaged)
    assert sorted([values[-1] for values in fast.apart[0]] + fast.rest) == sorted(pure.rest)


def test_a_line_that_lies_about_itself_is_damage(half: Any) -> None:
    good = line(("b", 1))
    for at in range(len(good) - 1):
        found = half.lines(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        assert (found.rest, found.damaged) == ([], 1)
    assert half.lines(good + good[:-1]) == ((), [good[18:-1]], len(good), 0)


def test_arrays_too_deep_to_skip_are_left_whole() -> None:
    payload = b'["ab",1,' + b"[" * 500 + b"]" * 500 + b"]"
    pure = both("lines")[0]
    framed = line(("ab", 1))
    assert both("lines")[1].lines(framed, OTHER).apart == ([(1,)],)
    whole = b"%08x %08x %b\n" % (len(payload), crc32(payload), payload)
    assert both("lines")[1].lines(whole, (b"ab", "n*")).rest == pure.lines(whole).rest == [payload]
