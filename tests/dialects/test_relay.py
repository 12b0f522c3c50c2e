"""The relay: one interface for answers that pass through and that are translated, and every pair of dialects."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.events import Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Answering, Target
from tests.dialects.chat_kit import answering, chunk, cut, frames, observed, payloads, pieces, tool

CHAT = registry.dialect("openai_chat")
CHATTING = ("openai_chat", "openai_completions", "openai_responses", "anthropic", "gemini", "anchor")
PAIRS = list(itertools.product(CHATTING, CHATTING))
STREAM = frames(
    chunk({"role": "assistant", "content": ""}), chunk({"content": "hel"}), chunk({"content": "lo"}),
    chunk(reason="stop"), {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}},
)  # fmt: skip
WHOLE = orjson.dumps({
    "id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
})  # fmt: skip


def translation(source: str = "openai_chat", client: str = "anchor", **renamed: str) -> relay.Relay:
    told = answering()
    told.renamed = renamed
    return relay.translate(registry.dialect(source), registry.dialect(client), told.call, told)


def test_both_kinds_tell_the_same_of_the_same_stream() -> None:
    call = answering().call
    for carrier in (relay.passthrough(CHAT, call), translation()):
        observed(carrier, pieces(STREAM, 7))
        assert carrier.started
        assert carrier.complete
        assert carrier.fault is None
        assert carrier.stop is Stop.END
        assert (carrier.usage.input, carrier.usage.output) == (3, 4)
        assert carrier.output_estimate > 0


def test_a_translation_has_not_started_before_content() -> None:
    carrier = translation()
    carrier.feed(frames(chunk({"role": "assistant", "content": ""}), done=False))
    assert not carrier.started
    carrier.feed(frames(chunk({"content": "x"}), done=False))
    assert carrier.started


@pytest.mark.parametrize("early", [True, False])
def test_a_fault_is_set_and_not_written(early: bool) -> None:
    good = b"" if early else frames(chunk({"content": "x"}), done=False)
    carrier = translation()
    out = observed(carrier, [good + b'data: {"error":{"message":"boom"}}\n\n', STREAM])
    assert carrier.fault is not None
    assert not carrier.complete
    assert b"error" not in out
    assert b"[DONE]" not in out
    assert carrier.feed(STREAM) == b""


def test_a_cut_stream_is_truncated() -> None:
    carrier = translation()
    observed(carrier, [frames(chunk({"content": "x"}), done=False)])
    assert carrier.fault is not None
    assert carrier.fault.kind is Kind.TRUNCATED


def test_nothing_is_given_out_after_the_end() -> None:
    carrier = translation()
    observed(carrier, [STREAM])
    assert carrier.feed(STREAM) == carrier.end() == b""


def test_tool_names_are_turned_back() -> None:
    carrier = translation(sent="client.name")
    out = observed(carrier, [frames(chunk(tool(0, "{}", id="a", name="sent")), chunk(reason="tool_calls"))])
    names = [d["choices"][0]["delta"]["tool_calls"][0]["function"].get("name") for d in payloads(out)
             if d["choices"] and d["choices"][0]["delta"].get("tool_calls")]  # fmt: skip
    assert names[0] == "client.name"
    told = answering()
    told.renamed = {"sent": "client.name"}
    body = WHOLE.replace(b'"content":"hello"', b'"tool_calls":[{"id":"a","function":{"name":"sent","arguments":"{}"}}]')
    answer = orjson.loads(relay.whole(CHAT, CHAT, body, told))
    assert answer["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "client.name"


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"", Kind.MALFORMED_ANSWER), (b"{}", Kind.EMPTY_ANSWER), (b'{"error":{"message":"x"}}', Kind.IN_BAND_ERROR)],
)
def test_whole_answers_that_are_none_are_faults(body: bytes, kind: Kind) -> None:
    with pytest.raises(Fault) as caught:
        relay.whole(CHAT, registry.dialect("anchor"), body, answering())
    assert caught.value.kind is kind


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_split_translates_alike(at: list[int]) -> None:
    one, other = translation(), translation()
    assert observed(one, cut(STREAM, at)) == observed(other, [STREAM])


def encoded(name: str, told: Answering) -> bytes:
    """The same short answer as a stream of any dialect."""
    decoder = CHAT.decoder()
    events = decoder.feed(STREAM)
    return registry.dialect(name).encoder(told).feed(events)


@pytest.mark.parametrize(("source", "client"), PAIRS)
def test_every_pair_of_dialects_carries_text_usage_and_end(source: str, client: str) -> None:
    told = answering()
    carrier = relay.translate(registry.dialect(source), registry.dialect(client), told.call, told)
    out = observed(carrier, pieces(encoded(source, told), 11))
    assert carrier.fault is None
    assert carrier.complete
    back = registry.dialect(client).decoder()
    events = back.feed(out) + back.end()
    assert "".join(getattr(event, "text", "") for event in events) == "hello"
    assert (carrier.usage.input, carrier.usage.output) == (3, 4)


@pytest.mark.parametrize(("source", "client"), PAIRS)
def test_every_pair_of_dialects_carries_whole_answers(source: str, client: str) -> None:
    told = answering(stream=False)
    events = CHAT.read_answer(WHOLE)
    body = registry.dialect(source).write_answer(events, told)
    out = relay.whole(registry.dialect(source), registry.dialect(client), body, told)
    again = registry.dialect(client).read_answer(out)
    assert "".join(getattr(event, "text", "") for event in again) == "hello"


REQUEST = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}


@pytest.mark.parametrize("source", [name for name in CHATTING if name != "anchor"])
def test_a_request_is_written_for_every_provider(source: str) -> None:
    call = CHAT.read(orjson.dumps(REQUEST), "", "", {})
    made = relay.request(CHAT, registry.dialect(source), call, Target("up"))
    assert b"hi" in made.body
    assert call.prompt is not None


def test_a_dialect_without_embeddings_says_so() -> None:
    call = Call("openai_embeddings", "m", b'{"model":"m","input":"x"}', operation="embeddings")
    with pytest.raises(Fault) as caught:
        relay.request(registry.dialect("openai_embeddings"), registry.dialect("anthropic"), call, Target("up"))
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        (b"POST", b"/v1/chat/completions", "openai_chat"),
        (b"POST", b"/v1/responses", "openai_responses"),
        (b"POST", b"/v1/completions", "openai_completions"),
        (b"POST", b"/v1/embeddings", "openai_embeddings"),
        (b"POST", b"/v1/messages", "anthropic"),
        (b"POST", b"/v1/messages/count_tokens", "anthropic"),
        (b"POST", b"/v1/chat", "anchor"),
        (b"POST", b"/api/v1/chat", "anchor"),
        (b"POST", b"/v1beta/models/gemini-2.5-pro:generateContent", "gemini"),
        (b"POST", b"/v1/models/gemini-2.5-pro:streamGenerateContent", "gemini"),
        (b"POST", b"/v1/models/gemini-2.5-pro%3AstreamGenerateContent", "gemini"),
        (b"POST", b"/v1beta/models/e:batchEmbedContents", "gemini"),
        (b"GET", b"/v1/chat/completions", None),
        (b"POST", b"/v1/models/gemini-2.5-pro", None),
        (b"POST", b"/v1/models/:generateContent", None),
        (b"POST", b"/v1/models/x:explode", None),
        (b"GET", b"/v1/models", None),
        (b"POST", b"/", None),
    ],
)
def test_endpoints(method: bytes, path: bytes, name: str | None) -> None:
    found = registry.endpoint(method, path)
    assert (found.dialect if found else None) == name


def test_methods_of_a_path() -> None:
    assert registry.methods(b"/v1/messages") == (b"POST",)
    assert registry.methods(b"/v1/other") == ()


def test_an_unknown_dialect_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        registry.dialect("latin")


RECORDED = ("openai-chat/parallel-tool-calls.sse", "openai-compat/deepseek-tool-call.sse",
            "openai-compat/groq-tool-call.sse", "openai-compat/kimi-tool-id-repeated.sse")  # fmt: skip


@pytest.mark.parametrize("client", ["openai_responses", "anthropic", "gemini"])
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_calls_reach_every_client_with_their_arguments(recordings: Path, name: str, client: str) -> None:
    told = answering()
    carrier = relay.translate(CHAT, registry.dialect(client), told.call, told)
    out = observed(carrier, pieces((recordings / name).read_bytes(), 101))
    assert carrier.fault is None
    back = registry.dialect(client).decoder()
    assert calls(back.feed(out) + back.end()) == calls(decoded_calls((recordings / name).read_bytes()))


def decoded_calls(data: bytes) -> list[Any]:
    decoder = CHAT.decoder()
    return decoder.feed(data) + decoder.end()


def calls(events: list[Any]) -> list[tuple[str, Any]]:
    found: dict[int, list[Any]] = {}
    for event in events:
        if getattr(event, "tool_name", ""):
            found[event.block] = [event.tool_name, b""]
        elif event.__class__.__name__ == "Arguments":
            found[event.block][1] += event.data
    return [(name, orjson.loads(data or b"{}")) for name, data in found.values()]
