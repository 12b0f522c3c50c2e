"""Stop sequences that the gateway finds itself, whatever way the text is cut up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.events import (
    Arguments,
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Counted,
    End,
    Event,
    Finish,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.usage import Usage
from fastanchor.dialects.stop_sequences import StopSequences
from tests.dialects.chat_kit import check_grammar, cut, finishes, texts


def answer(*pieces: str) -> list[Event]:
    return [
        Begin("x", "m"), BlockStart(0, Block.TEXT), *(Text(0, piece) for piece in pieces), BlockEnd(0),
        Finish(Stop.END), Counted(Usage(input=2, output=9)), End(),
    ]  # fmt: skip


def stopped(events: list[Event], *sequences: str) -> list[Event]:
    """The events, fed one by one."""
    stops = StopSequences(sequences, 7)
    return [told for event in events for told in stops.feed([event])]


@given(
    text=st.text("ab\u00e9 ", min_size=1, max_size=40),
    sequences=st.lists(st.text("ab\u00e9 ", min_size=1, max_size=4), min_size=1, max_size=3),
    at=st.lists(st.integers(0, 40), max_size=6),
)
def test_the_text_ends_before_the_first_sequence_however_it_is_cut(
    text: str, sequences: list[str], at: list[int]
) -> None:
    parts = [part.decode("latin-1") for part in cut(text.encode("latin-1"), at)]
    events = stopped(answer(*parts), *sequences)
    check_grammar(events)
    ends = [text.find(one) + len(one) for one in sequences if one in text]
    assert finishes(events)[0].stop is (Stop.STOP_SEQUENCE if ends else Stop.END)
    found = texts(events)
    if not ends:
        assert found == text
    else:  # what arrives first decides: a longer sequence may end later than a shorter one that begins after it
        assert text.startswith(found)
        assert any(text[len(found) :].startswith(one) for one in sequences)
        assert len(found) < min(ends)


def test_nothing_is_held_back_that_cannot_begin_a_sequence() -> None:
    stops = StopSequences(("<end>",), 1)
    assert stops.feed([BlockStart(0, Block.TEXT), Text(0, "plain")])[1:] == [Text(0, "plain")]
    assert stops.feed([Text(0, "a <e")]) == [Text(0, "a ")]
    assert stops.feed([Text(0, "lse")]) == [Text(0, "<else")]


def test_what_was_held_back_comes_with_the_end_of_its_block() -> None:
    assert texts(stopped(answer("a <e"), "<end>")) == "a <e"


def test_the_sequence_is_named_and_the_usage_estimated() -> None:
    events = stopped(answer("1234", "5678<end>9"), "<end>", "zzz")
    assert finishes(events) == [Finish(Stop.STOP_SEQUENCE, sequence="<end>")]
    assert [e.usage for e in events if isinstance(e, Counted)] == [Usage(input=7, output=4, estimated=True)]


@pytest.mark.parametrize("other", [Thought(0, "<end>"), Arguments(0, b'{"a":"<end>"}')])
def test_only_text_is_looked_at(other: Event) -> None:
    kind = Block.THOUGHT if isinstance(other, Thought) else Block.TOOL
    events = [Begin("x", "m"), BlockStart(0, kind), other, BlockEnd(0), Finish(Stop.END), End()]
    assert stopped(events, "<end>") == events


def test_open_calls_are_closed_with_the_answer() -> None:
    events = [Begin("x", "m"), BlockStart(0, Block.TOOL), BlockStart(1, Block.TEXT), Text(1, "a<end>"), BlockEnd(1)]
    check_grammar(stopped([*events, BlockEnd(0), Finish(Stop.END), End()], "<end>"))
