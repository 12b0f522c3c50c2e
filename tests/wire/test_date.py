"""The field Date is what the standard library makes of a time, in every locale."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.wire.date import date, date_line, formatted


@given(st.integers(0, 253_402_300_799))
def test_a_date_is_in_the_fixed_format(unix: int) -> None:
    assert formatted(unix) == formatdate(unix, usegmt=True).encode("ascii")


def test_the_line_holds_the_value() -> None:
    before, line, after = date(), date_line(), date()
    assert line in {b"date: %b\r\n" % value for value in (before, after)}
