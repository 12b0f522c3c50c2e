"""Usage is cumulative: a later report replaces, and what is not said stays."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.usage import Usage

COUNTS = [f.name for f in fields(Usage) if f.name not in ("input", "output", "cost", "estimated")]
usages = st.builds(
    Usage,
    **{name: st.integers(0, 1000) for name in COUNTS},  # type: ignore[arg-type]
    input=st.none() | st.integers(0, 1000),
    output=st.none() | st.integers(0, 1000),
    cost=st.none() | st.integers(0, 1000),
)


@given(usages, usages)
def test_update_keeps_what_the_later_report_does_not_say(first: Usage, later: Usage) -> None:
    before = Usage(**{f.name: getattr(first, f.name) for f in fields(Usage)})
    first.update(later)
    for name in ("input", "output", "cost"):
        said = getattr(later, name)
        assert getattr(first, name) == (getattr(before, name) if said is None else said)
    for name in COUNTS:
        assert getattr(first, name) == (getattr(later, name) or getattr(before, name))


def test_zero_said_is_zero() -> None:
    usage = Usage(input=5, output=7, cost=9)
    usage.update(Usage(input=0, output=0, cost=0))
    assert (usage.input, usage.output, usage.cost) == (0, 0, 0)


def test_completed_marks_what_was_guessed() -> None:
    assert Usage(input=3, output=4).completed(1, 1) == Usage(input=3, output=4)
    assert Usage(input=3).completed(1, 9) == Usage(input=3, output=9, estimated=True)
    assert not Usage(input=0, output=0).completed(1, 1).estimated
