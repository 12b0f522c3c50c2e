"""Turns in the order of strict providers, reversible names, and arguments that keep their bytes."""

from __future__ import annotations

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault
from fastanchor.core.prompt import Part, TextPart, ToolCallPart, ToolResultPart, Turn
from fastanchor.dialects import arguments, names, turns
from fastanchor.dialects.names import ANTHROPIC, CHAT, GEMINI, Names


def said(text: str) -> TextPart:
    return TextPart(text)


def call(id: str, name: str = "f") -> ToolCallPart:
    return ToolCallPart(id, name, b"{}")


def result(id: str, text: str = "r") -> ToolResultPart:
    return ToolResultPart(id, (TextPart(text),))


def user(*parts: Part) -> Turn:
    return Turn("user", parts)


def assistant(*parts: Part) -> Turn:
    return Turn("assistant", parts)


def shape(given_turns: list[Turn]) -> list[tuple[str, list[str]]]:
    return [(turn.role, [getattr(p, "id", "") or getattr(p, "text", "") for p in turn.parts]) for turn in given_turns]


def test_results_come_first_in_the_order_of_the_calls() -> None:
    answers = user(said("aside"), result("b"), result("a"))
    made = turns.paired([user(said("q")), assistant(call("a"), call("b")), answers])
    assert shape(made) == [("user", ["q"]), ("assistant", ["a", "b"]), ("user", ["a", "b", "aside"])]


def test_results_of_several_messages_are_gathered() -> None:
    made = turns.paired([assistant(call("a"), call("b")), user(result("a")), user(result("b")), user(said("go"))])
    assert shape(made) == [("assistant", ["a", "b"]), ("user", ["a", "b"]), ("user", ["go"])]


def test_calls_that_come_item_by_item_are_one_turn() -> None:
    made = turns.paired([assistant(call("a")), assistant(call("b")), user(result("a")), user(result("b"))])
    assert shape(made) == [("assistant", ["a", "b"]), ("user", ["a", "b"])]


def test_a_system_turn_never_stands_between_call_and_result() -> None:
    made = turns.paired([assistant(call("a")), Turn("system", (said("s"),)), user(result("a"))])
    assert shape(made) == [("assistant", ["a"]), ("user", ["a"]), ("system", ["s"])]


def test_names_of_results_come_from_their_calls() -> None:
    made = turns.paired([assistant(call("a", "weather")), user(result("a"))])
    assert made[1].parts[0].name == "weather"  # type: ignore[union-attr]


def test_an_unanswered_call_is_a_fault_or_gets_an_error_result() -> None:
    given_turns = [assistant(call("a")), user(said("never mind"))]
    with pytest.raises(Fault, match="'a'"):
        turns.paired(given_turns)
    part = turns.paired(given_turns, strict=False)[1].parts[0]
    assert isinstance(part, ToolResultPart)
    assert part.is_error


@pytest.mark.parametrize("given_turns", [[user(result("x"))], [assistant(call("a")), user(result("a"), result("x"))]])
def test_a_result_without_a_call_is_a_fault(given_turns: list[Turn]) -> None:
    with pytest.raises(Fault, match="'x'"):
        turns.paired(given_turns)


def test_empty_texts_and_turns_vanish() -> None:
    assert turns.filled([user(said("")), assistant(said(""), said("x")), user()]) == [assistant(said("x"))]


def test_neighbours_of_one_role_become_one_turn_but_system_turns_do_not() -> None:
    system = Turn("system", (said("s"),))
    made = turns.merged([user(said("a")), user(said("b")), system, system, assistant(said("c")), assistant(said("d"))])
    assert shape(made) == [("user", ["a", "b"]), ("system", ["s"]), ("system", ["s"]), ("assistant", ["c", "d"])]


@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 4))
def test_any_order_of_results_gives_the_order_of_calls(order: list[str], split: int) -> None:
    calls = assistant(*(call(id) for id in "abcd"))
    first, second = order[:split], order[split:]
    made = turns.paired([calls, user(*(result(id) for id in first)), user(*(result(id) for id in second))])
    assert shape(made)[1] == ("user", ["a", "b", "c", "d"])


@given(st.lists(st.text(min_size=1, max_size=140), max_size=6), st.sampled_from([CHAT, ANTHROPIC, GEMINI]))
def test_sent_names_are_legal_distinct_and_reversible(given_names: list[str], legal: re.Pattern[str]) -> None:
    made = Names(legal, given_names)
    sent = [made.sent(name) for name in given_names]
    assert all(legal.fullmatch(name) for name in sent)
    assert len(set(sent)) == len(set(given_names))
    assert [made.renamed.get(name, name) for name in sent] == given_names
    assert [Names(legal).sent(name) for name in given_names] == sent


def test_legal_names_stay() -> None:
    made = Names(CHAT, ["get_weather"])
    assert made.sent("get_weather") == "get_weather"
    assert made.renamed == {}
    assert names.GEMINI.fullmatch(Names(names.GEMINI).sent("7up"))


@pytest.mark.parametrize(
    ("given_bytes", "made"),
    [
        (b"", b"{}"), (b"  ", b"{}"), (b"null", b"{}"), (b"{}", b"{}"), (b"[1]", b'{"value":[1]}'),
        (b'"x"', b'{"value":"x"}'), (b"{oops", b'{"_raw":"{oops"}'),
        (b'{"z": 9007199254740993, "a":1.0}', b'{"z": 9007199254740993, "a":1.0}'),
    ],
)  # fmt: skip
def test_arguments_as_an_object(given_bytes: bytes, made: bytes) -> None:
    assert arguments.as_object(given_bytes) == made


def test_strict_arguments_must_be_json() -> None:
    with pytest.raises(Fault) as caught:
        arguments.as_object(b"{oops", strict=True, param="messages[1]")
    assert caught.value.param == "messages[1]"


@given(st.binary(max_size=60))
def test_arguments_always_become_an_object(given_bytes: bytes) -> None:
    assert isinstance(orjson.loads(arguments.as_object(given_bytes)), dict)
    assert orjson.loads(arguments.as_input(given_bytes)).keys() == {"input"}
    assert isinstance(arguments.as_text(given_bytes), str)
