"""Lines of a journal: both halves write the same values, and a reader finds what was written."""

from __future__ import annotations

import math
from typing import Any
from zlib import crc32

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.speedups.halves import both, halves

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters()), st.floats(0, 2e9),
    st.integers(-(2**63), 2**64),
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=5) | st.lists(inner).map(tuple), max_leaves=20)


@pytest.fixture(params=halves("line"))
def half(request: pytest.FixtureRequest) -> Any:
    return request.param


def payload(line: bytes) -> bytes:
    """The JSON of a line that verifies."""
    size, check, text = line.split(b" ", 2)
    assert text.endswith(b"\n")
    assert (int(size, 16), int(check, 16)) == (len(text) - 1, crc32(text[:-1]))
    assert (len(size), len(check)) == (8, 8)
    return text[:-1]


def test_a_line_is_its_length_its_check_and_its_values(half: Any) -> None:
    line = half.line(("open", "req_1", 1780000000.25, True, None, (1, [2, -3]), 0.0))
    assert payload(line) == b'["open","req_1",1780000000.25,true,null,[1,[2,-3]],0.0]'


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1795181688.3027391, b"1795181688.302739"), (0.0000004, b"0.0"), (-1.5, b"-1.5"), (1e300, None),
        (float("nan"), b"null"), (float("-inf"), b"null"), (2**63 - 1, b"9223372036854775807"),
        (-(2**63), b"-9223372036854775808"), (2**70, b"1180591620717411303424"), (True, b"true"), (0, b"0"),
    ],
)
def test_numbers_are_written_to_the_microsecond(half: Any, value: Any, text: bytes | None) -> None:
    written = payload(half.line((value,)))[1:-1]
    assert written == text if text is not None else float(written) == value


@given(st.lists(values, max_size=8).map(tuple))
def test_both_halves_write_what_is_read_back_alike(written: tuple[Any, ...]) -> None:
    try:
        lines = [half.line(written) for half in both("line")]
    except ValueError:
        with pytest.raises(ValueError, match="too deep"):
            both("line")[0].line(written)
        return
    pure, fast = (msgspec.json.decode(payload(line)) for line in lines)
    assert pure == fast
    assert all(line.count(b"\n") == 1 for line in lines)


@given(st.floats(-2e9, 2e9))
def test_a_time_is_kept_to_half_a_microsecond(value: float) -> None:
    for half in both("line"):
        (found,) = orjson.loads(payload(half.line((value,))))
        assert math.isclose(found, value, rel_tol=1e-15, abs_tol=5.1e-7)


def test_any_text_of_any_length_is_written(half: Any) -> None:
    text = "".join(map(chr, range(0x300))) + '"\\' * 3_000 + "\U0001f600" * 2_000
    assert orjson.loads(payload(half.line((text, text)))) == [text, text]
    assert orjson.loads(payload(half.line(("\ud800x",)))) == ["?x"]


def test_what_has_no_place_in_a_line_is_refused_and_leaves_no_trace(half: Any) -> None:
    for wrong in (b"bytes", {"a": 1}, object()):
        with pytest.raises(TypeError, match="no place"):
            half.line(("before", (wrong,)))
    with pytest.raises(TypeError):
        half.line(["a list"])
    deep: Any = ()
    for _ in range(9):
        deep = (deep,)
    with pytest.raises(ValueError, match="too deep"):
        half.line((deep,))
    assert payload(half.line((1,))) == b"[1]"
