"""Counts and times that an upstream sends and that cannot be: they are not believed, and break no answer."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest

from fastanchor.core.call import Call
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Answering

DIALECTS = ("openai_chat", "openai_completions", "openai_responses", "anthropic", "gemini")
ABSURD = (b"99999999999999999999", b"-7", b"9007199254740992")


def answer(dialect: str, number: bytes) -> bytes:
    """A whole answer in which every number is this one."""
    made: dict[str, Any] = {
        "openai_chat": {
            "id": "x", "object": "chat.completion", "created": 777, "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 777, "completion_tokens": 777, "total_tokens": 777,
                      "prompt_tokens_details": {"cached_tokens": 777}},
        },
        "openai_completions": {
            "id": "x", "object": "text_completion", "created": 777, "model": "m",
            "choices": [{"index": 0, "text": "Hi", "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 777, "completion_tokens": 777, "total_tokens": 777},
        },
        "openai_responses": {
            "id": "r", "object": "response", "created_at": 777, "status": "completed", "model": "m",
            "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]}],
            "usage": {"input_tokens": 777, "output_tokens": 777, "input_tokens_details": {"cached_tokens": 777},
                      "output_tokens_details": {"reasoning_tokens": 777}, "total_tokens": 777, "cost": 777},
        },
        "anthropic": {
            "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": "Hi"}],
            "usage": {"input_tokens": 777, "cache_read_input_tokens": 777, "output_tokens": 777},
        },
        "gemini": {
            "candidates": [{"content": {"parts": [{"text": "Hi"}]}, "finishReason": "STOP"}],
            "usageMetadata": {"promptTokenCount": 777, "candidatesTokenCount": 777, "thoughtsTokenCount": 777,
                              "cachedContentTokenCount": 777},
        },
    }  # fmt: skip
    return orjson.dumps(made[dialect]).replace(b"777", number)


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize("dialect", DIALECTS)
def test_an_absurd_count_is_not_believed(dialect: str, number: bytes) -> None:
    usage = registry.dialect(dialect).usage_of(answer(dialect, number))
    told = (usage.input, usage.output, usage.cache_read, usage.reasoning, usage.cost)
    assert all(count is None or 0 <= count < 2**53 for count in told)


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize(("source", "client"), list(itertools.product(DIALECTS, DIALECTS)))
def test_an_answer_with_absurd_numbers_is_translated_all_the_same(source: str, client: str, number: bytes) -> None:
    call = Call(client, "m", b"{}", prompt_tokens=7)
    one, other = registry.dialect(source), registry.dialect(client)
    out = relay.whole(one, other, answer(source, number), Answering(call, "m", "req_1", 5))
    assert b"Hi" in out
    assert number not in out
