"""Anchor: OpenAI's requests, the short answer of the Anchor API document."""

from __future__ import annotations

import orjson
import pytest

from fastanchor.core.faults import Fault
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Target
from tests.dialects.chat_kit import answering, chunk, frames, observed, payloads, sdk_streamed, tool

ANCHOR, CHAT = registry.dialect("anchor"), registry.dialect("openai_chat")
DOCUMENT = {
    "model": "anchor-1", "messages": [{"role": "user", "content": "Explain quantum computing in simple terms"}],
    "max_tokens": 1024, "temperature": 0.7,
}  # fmt: skip
ANSWER = orjson.dumps({
    "id": "x", "object": "chat.completion",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Quantum computing uses..."},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 12, "completion_tokens": 156, "total_tokens": 168},
})  # fmt: skip


def test_the_documents_own_request_reaches_a_chat_provider() -> None:
    call = ANCHOR.read(orjson.dumps(DOCUMENT), "/v1/chat", "", {})
    assert (call.dialect, call.model, call.max_output) == ("anchor", "anchor-1", 1024)
    made = relay.request(ANCHOR, CHAT, call, Target("up"))
    assert orjson.loads(made.body) == {
        "model": "up", "messages": DOCUMENT["messages"], "max_completion_tokens": 1024, "temperature": 0.7
    }


def test_the_answer_has_the_documents_shape_and_nothing_else() -> None:
    assert orjson.loads(relay.whole(CHAT, ANCHOR, ANSWER, answering())) == {
        "id": "anchor-resp-0123",
        "model": "public",
        "choices": [{"message": {"role": "assistant", "content": "Quantum computing uses..."}}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 156, "total_tokens": 168},
    }


def test_calls_have_their_place_in_the_message() -> None:
    body = orjson.dumps({"choices": [{"index": 0, "message": {**tool(0, "{}", id="a", name="f"), "content": None}}]})
    message = orjson.loads(relay.whole(CHAT, ANCHOR, body, answering()))["choices"][0]["message"]
    assert message["tool_calls"][0]["function"]["name"] == "f"
    assert message["content"] is None


def test_a_stream_is_of_chat_chunks_with_anchor_ids() -> None:
    told = answering(usage=False)
    carrier = relay.translate(CHAT, ANCHOR, told.call, told)
    out = observed(carrier, [frames(chunk({"content": "hi"}), chunk(reason="stop"))])
    assert {piece["id"] for piece in payloads(out)} == {"anchor-resp-0123"}
    assert sdk_streamed(out).choices[0].message.content == "hi"
    assert out.endswith(b"data: [DONE]\n\n")


def test_bad_requests_name_the_field() -> None:
    with pytest.raises(Fault) as caught:
        ANCHOR.read(b'{"model":"anchor-1"}', "/v1/chat", "", {})
    assert caught.value.param == "messages"
