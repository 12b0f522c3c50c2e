"""What the engine adds to a translated or passed call: quirks, signatures, framings, stop sequences, token counts."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastanchor._speedups.sse import Decoder
from fastanchor.core.channel import Channel, Secret
from tests.kit.gateway import channel, running, world
from tests.kit.http import get, post
from tests.kit.upstream import JSON, stream, upstream, whole
from tests.providers.test_eventstream import packed

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}
MESSAGES = {**CHAT, "max_tokens": 9}
VERSION = {"anthropic-version": "2023-06-01"}


def sse(*documents: dict[str, Any]) -> list[bytes]:
    return [b"event: %b\ndata: %b\n\n" % (str(d["type"]).encode(), orjson.dumps(d)) for d in documents]


def framed(body: bytes) -> bytes:
    """A Messages stream as Bedrock sends it."""
    headers = {":event-type": "chunk", ":content-type": "application/json", ":message-type": "event"}
    events = Decoder().feed(body)
    return b"".join(packed(headers, orjson.dumps({"bytes": b64encode(event.data).decode()})) for event in events)


def bedrock(url: str) -> Channel:
    region = {"region": "eu-west-1"}
    return channel(url, provider="bedrock", base_url=url, keys=(Secret("AKID:secret"),), options=region)


@pytest.mark.parametrize("size", [1, 50, 100_000])
async def test_a_bedrock_stream_is_signed_for_and_unframed(recordings: Path, size: int) -> None:
    pytest.importorskip("botocore")
    recorded = (recordings / "anthropic" / "tool-use.sse").read_bytes()
    data = framed(recorded)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    async with upstream(stream(pieces)) as stub, running(world(bedrock(stub.url), anthropic_done=False)) as gateway:
        passed = await post(gateway.port, "/v1/messages", {**MESSAGES, "stream": True}, **VERSION)
        chat = await post(gateway.port, "/v1/chat/completions", {**CHAT, "stream": True})
        receipts = await gateway.settled(2)
    authorization = stub.seen[0].get(b"authorization") or b""
    assert authorization.startswith(b"AWS4-HMAC-SHA256 Credential=AKID/")
    assert stub.seen[0].target == b"/model/m/invoke-with-response-stream"
    assert [event.data.rstrip() for event in Decoder().feed(passed.body)] == [
        event.data.rstrip() for event in Decoder().feed(recorded)
    ]
    assert chat.body.endswith(b"data: [DONE]\n\n")
    assert all(receipt.usage.known and not receipt.usage.estimated for receipt in receipts)


async def test_a_bedrock_stream_that_is_cut_is_no_success(recordings: Path) -> None:
    pytest.importorskip("botocore")
    data = framed((recordings / "anthropic" / "text.sse").read_bytes())
    async with upstream(stream([data[:-200]])) as stub, running(world(bedrock(stub.url))) as gateway:
        got = await post(gateway.port, "/v1/messages", {**MESSAGES, "stream": True}, **VERSION)
    assert not got.whole
    assert b"event: error" in got.body


@pytest.mark.parametrize("done", [True, False])
async def test_done_after_message_stop_is_a_setting_on_the_way_through(recordings: Path, done: bool) -> None:
    recorded = (recordings / "anthropic" / "text.sse").read_bytes()
    claude = {"provider": "anthropic"}
    async with upstream(stream([recorded])) as stub:
        async with running(world(channel(stub.url, **claude), anthropic_done=done)) as gateway:
            got = await post(gateway.port, "/v1/messages", {**MESSAGES, "stream": True}, **VERSION)
    assert got.body == recorded + (b"data: [DONE]\n\n" if done else b"")


@pytest.mark.parametrize(
    ("provider", "path", "body", "answer"),
    [
        ("openai", "/v1/messages/count_tokens", CHAT, "input_tokens"),
        ("gemini", "/v1/messages/count_tokens", CHAT, "input_tokens"),
        ("bedrock", "/v1/messages/count_tokens", CHAT, "input_tokens"),
        ("openai", "/v1beta/models/m:countTokens", {"contents": [{"parts": [{"text": "a b"}]}]}, "totalTokens"),
        ("anthropic", "/v1beta/models/m:countTokens", {"contents": [{"parts": [{"text": "a b"}]}]}, "totalTokens"),
    ],
)
async def test_tokens_are_counted_by_estimate_where_no_provider_counts_them(
    provider: str, path: str, body: dict[str, Any], answer: str
) -> None:
    async with upstream(whole(b"{}")) as stub, running(world(channel(stub.url, provider=provider))) as gateway:
        got = await post(gateway.port, path, body, **VERSION)
        receipt = (await gateway.settled())[0]
    assert (got.status, list(got.json)) == (200, [answer])
    assert got.json[answer] > 0  # type: ignore[operator]
    assert not stub.seen
    assert (receipt.usage.total, receipt.cost) == (0, 0)


async def test_tokens_are_counted_by_the_provider_that_can() -> None:
    async with upstream(whole(b'{"input_tokens":77}')) as stub:
        plain = channel(stub.url, name="plain")
        claude = channel(stub.url, name="claude", provider="anthropic", tier=1)
        async with running(world(plain, claude)) as gateway:
            got = await post(gateway.port, "/v1/messages/count_tokens", CHAT, **VERSION)
            receipt = (await gateway.settled())[0]
    assert got.json == {"input_tokens": 77}
    assert receipt.channel == "claude"
    assert receipt.usage.total == 0


async def test_counting_tokens_of_an_unknown_model_is_a_404() -> None:
    async with running(world()) as gateway:
        assert (await post(gateway.port, "/v1/messages/count_tokens", CHAT, **VERSION)).status == 404


@pytest.mark.parametrize("quirks", ["", "no_stream_options"])
async def test_usage_is_not_forced_on_an_upstream_that_refuses_to_be_asked(quirks: str) -> None:
    answer = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    async with upstream(stream([answer])) as stub:
        async with running(world(channel(stub.url, options={"quirks": quirks}))) as gateway:
            await post(gateway.port, "/v1/chat/completions", {**CHAT, "stream": True})
    assert ("stream_options" in orjson.loads(stub.seen[0].body)) == (not quirks)


async def test_what_is_dropped_on_the_way_is_told() -> None:
    answer = {"id": "m", "type": "message", "role": "assistant", "content": [{"type": "text", "text": "a"}],
              "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}  # fmt: skip
    async with upstream(whole(orjson.dumps(answer), 200, [JSON])) as stub:
        async with running(world(channel(stub.url, provider="anthropic"))) as gateway:
            got = await post(gateway.port, "/v1/chat/completions", {**CHAT, "seed": 3, "presence_penalty": 1})
    assert got.status == 200
    assert set(got.headers["x-fastanchor-dropped"].split(", ")) == {"seed", "presence_penalty"}


def responses(*texts: str) -> list[bytes]:
    """A Responses stream of one message."""
    done = {"id": "i", "type": "message", "role": "assistant", "status": "completed",
            "content": [{"type": "output_text", "text": "".join(texts), "annotations": []}]}  # fmt: skip
    at = {"item_id": "i", "output_index": 0, "content_index": 0}
    response = {"id": "r", "status": "completed", "model": "m", "output": [done],
                "usage": {"input_tokens": 1, "output_tokens": 50, "total_tokens": 51}}  # fmt: skip
    return sse(
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**done, "content": []}},
        {"type": "response.content_part.added", **at, "part": {"type": "output_text", "text": ""}},
        *({"type": "response.output_text.delta", **at, "delta": text} for text in texts),
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": response},
    )


async def test_stop_sequences_hold_where_the_provider_has_none() -> None:
    only = {"dialects": "openai_responses"}
    async with upstream(stream(responses("One, tw", "o, thr", "ee, four, ", "five"))) as stub:
        async with running(world(channel(stub.url, options=only))) as gateway:
            got = await post(gateway.port, "/v1/chat/completions", {**CHAT, "stream": True, "stop": ["three", "zero"]})
            receipt = (await gateway.settled())[0]
    chunks = [orjson.loads(event.data) for event in Decoder().feed(got.body) if event.data != b"[DONE]"]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "One, two, "
    assert choices[-1]["finish_reason"] == "stop"
    assert "stop" not in orjson.loads(stub.seen[0].body)
    assert (got.whole, receipt.ending, receipt.usage.estimated) == (True, "done", True)


async def test_usage_that_a_provider_does_not_count_is_estimated() -> None:
    text = "word " * 40
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]}
    async with upstream(whole(orjson.dumps(answer))) as stub, running(world(channel(stub.url))) as gateway:
        await post(gateway.port, "/v1/chat/completions", CHAT)
        receipt = (await gateway.settled())[0]
    assert (receipt.usage.output, receipt.usage.estimated) == (len(text) // 4, True)


@pytest.mark.parametrize(
    ("query", "kind"), [("?alt=sse", "text/event-stream"), ("", "application/json; charset=utf-8")]
)
async def test_a_gemini_stream_has_the_type_of_its_framing(query: str, kind: str) -> None:
    answer = b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    async with upstream(stream([answer])) as stub, running(world(channel(stub.url))) as gateway:
        path = f"/v1beta/models/m:streamGenerateContent{query}"
        got = await post(gateway.port, path, {"contents": [{"parts": [{"text": "a"}]}]})
    assert (got.status, got.headers["content-type"]) == (200, kind)
    assert got.body.startswith(b"data: " if query else b"[")


async def test_models_are_known_ones_where_the_configuration_has_only_globs() -> None:
    named = channel("http://h", models={"mine": "x", "claude-opus-*": "*"}, any_model=False)
    async with running(world(named)) as gateway:
        names = [entry["id"] for entry in (await get(gateway.port, "/v1/models")).json["data"]]  # type: ignore[attr-defined]
        one = await get(gateway.port, f"/v1/models/{names[-1]}")
    assert names[0] == "mine"
    assert 1 < len(names) <= 1001
    assert all(name.startswith("claude-opus-") for name in names[1:])
    assert one.status == 200
