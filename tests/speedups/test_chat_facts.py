"""What the one-pass readers of chat bodies take, they read as `peek` and the dialect do; what they do not, is left."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor._speedups.express import EXPRESS, chat_facts
from fastanchor.core.faults import Fault
from fastanchor.dialects.openai_chat.dialect import DIALECT
from fastanchor.engine.attempt import check_whole

pytestmark = pytest.mark.skipif(not EXPRESS, reason="the compiled half is not in use")

TEXT = st.text(max_size=12)
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 2**60), st.floats(allow_nan=False), TEXT, st.just([]), st.just({})
)
REQUESTS = st.fixed_dictionaries(
    {},
    optional={
        "model": st.one_of(st.just("gpt-4o"), TEXT, ODD),
        "messages": st.one_of(st.lists(st.fixed_dictionaries({"role": TEXT, "content": TEXT}), max_size=2), ODD),
        "max_tokens": st.one_of(st.integers(-1, 9), ODD),
        "max_completion_tokens": st.integers(0, 9),
        "stream": st.one_of(st.booleans(), ODD),
        "stream_options": ODD,
        "n": st.one_of(st.just(1), ODD),
        "tools": st.one_of(st.lists(st.fixed_dictionaries({"name": TEXT}), max_size=2), ODD),
        "prompt_cache_key": ODD,
        "temperature": ODD,
    },
)
COUNTS = st.one_of(st.integers(0, 99), ODD)
DETAILS = st.one_of(
    st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens", "audio_tokens", "x"]), COUNTS, max_size=3),
    ODD,
)
USAGES = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "cost", "x"]), COUNTS, max_size=5
)
ANSWERS = st.fixed_dictionaries(
    {"usage": st.one_of(USAGES, ODD), "choices": st.one_of(st.just([{"index": 0}]), ODD)},
    optional={"error": ODD, "x_groq": st.one_of(st.fixed_dictionaries({"usage": USAGES}), ODD), "id": TEXT},
)


def damaged(body: bytes, at: int, byte: int) -> bytes:
    at %= len(body)
    return body[:at] + bytes([byte]) + body[at + 1 :]


def assert_asked_alike(body: bytes) -> None:
    found = chat_facts.asked(body)
    if found is None:
        return
    call = DIALECT.read(body, "", "", {})
    assert call.model_span == (found.model_start, found.model_end)
    assert call.prompt_tokens == max(1, -(-found.text // 4))
    assert (call.max_output, call.choices, call.stream) == (
        found.max_tokens if found.max_tokens >= 0 else None,
        1,
        False,
    )


def assert_answered_alike(body: bytes) -> None:
    counted = chat_facts.answer(body)
    if counted is None:
        return
    check_whole(body)
    usage = DIALECT.usage_of(body)
    assert (usage.input, usage.output, usage.cache_read) == counted
    assert (usage.reasoning, usage.audio_input, usage.audio_output, usage.cost, usage.cache_write) == (0, 0, 0, None, 0)


@given(REQUESTS)
def test_requests_that_are_taken_are_read_alike(document: dict[str, Any]) -> None:
    assert_asked_alike(orjson.dumps(document))


@given(st.integers(0, 200), st.integers(0, 255))
def test_no_damaged_request_is_taken_that_is_refused_elsewhere(at: int, byte: int) -> None:
    good = {"model": "gpt-4o", "messages": [{"role": "user", "content": "a\u00e9"}], "max_tokens": 10, "stream": False}
    body = damaged(orjson.dumps(good), at, byte)
    try:
        assert_asked_alike(body)
    except Fault as fault:
        pytest.fail(f"taken, though it is refused: {fault}")


@given(ANSWERS)
def test_answers_that_are_taken_are_read_alike(document: dict[str, Any]) -> None:
    assert_answered_alike(orjson.dumps(document))


@given(USAGES, st.dictionaries(st.sampled_from(["prompt_tokens_details", "completion_tokens_details"]), DETAILS))
def test_details_are_read_alike(usage: dict[str, Any], details: dict[str, Any]) -> None:
    assert_answered_alike(orjson.dumps({"choices": [{}], "usage": {**usage, **details}}))


@given(st.integers(0, 200), st.integers(0, 255))
def test_no_damaged_answer_is_taken_that_is_refused_elsewhere(at: int, byte: int) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 1}}
    assert_answered_alike(damaged(orjson.dumps({"choices": [{"index": 0}], "usage": usage}), at, byte))


def test_the_usual_request_is_taken() -> None:
    body = b' { "messages" : [ {"role": "user", "content": "Hello"} ], "model" : "m", "temperature": 1, "n": 1 } '
    found = chat_facts.asked(body)
    assert found is not None
    assert (body[found.model_start : found.model_end], found.text, found.max_tokens) == (b'"m"', 9, -1)


def test_the_usual_answer_is_taken() -> None:
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    assert chat_facts.answer(orjson.dumps({"choices": [{}], "error": None, "usage": usage})) == (7, 3, 4)
