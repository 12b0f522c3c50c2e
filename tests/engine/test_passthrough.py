"""A chat stream from an OpenAI channel reaches its client byte for byte, but for what accounting adds upstream."""

from __future__ import annotations

from pathlib import Path
from random import Random

import orjson
import pytest

from fastanchor.core.model import ModelCard, PriceTier
from tests.kit.gateway import channel, running, world
from tests.kit.http import post
from tests.kit.upstream import JSON, stream, upstream, whole

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
NAMES = ("openai-chat", "openai-compat")


def streams(recordings: Path) -> list[Path]:
    return [path for name in NAMES for path in sorted((recordings / name).glob("*.sse"))]


def pieces(data: bytes, random: Random) -> list[bytes]:
    cuts = sorted(random.sample(range(1, len(data)), min(12, len(data) - 1)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]


async def test_recorded_streams_come_out_byte_equal(recordings: Path) -> None:
    random = Random(1)
    for path in streams(recordings):
        data = path.read_bytes()
        async with upstream(stream(pieces(data, random))) as stub, running(world(channel(stub.url))) as gateway:
            asked = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
            got = await post(gateway.port, "/v1/chat/completions", asked, step=random.choice([1, 7, 4096]))
        if b'"error":{' in data or b"event: error" in data:
            assert not got.whole, path.name
        else:
            assert (got.status, got.whole) == (200, True), path.name
            assert got.body == data, path.name


async def test_plain_answer_keeps_its_bytes_and_unknown_fields() -> None:
    answer = b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"content":"Hi"},'
    answer += b'"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4},"new":[1]}'
    async with upstream(whole(answer)) as stub, running(world(channel(stub.url))) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", {**CHAT, "unheard_of": [1, 2]})
        receipt = (await gateway.settled())[0]
    assert got.body == answer
    assert orjson.loads(stub.seen[0].body)["unheard_of"] == [1, 2]
    assert (receipt.usage.input, receipt.usage.output) == (3, 1)


@pytest.mark.parametrize(("name", "cost"), [("main", 30), ("other", 6)])
async def test_an_answer_costs_what_its_channel_charges(name: str, cost: int) -> None:
    answer = b'{"choices":[{"message":{"content":"Hi"}}],"usage":{"prompt_tokens":3,"completion_tokens":0}}'
    cards = {"gpt-4o": ModelCard("gpt-4o", prices=(PriceTier(input=2_000_000),))}
    own = {"main": {"gpt-4o": ModelCard("gpt-4o", prices=(PriceTier(input=10_000_000),))}}
    async with upstream(whole(answer)) as stub:
        asked = world(channel(stub.url, name=name), cards=cards, channel_cards=own)
        async with running(asked) as gateway:
            await post(gateway.port, "/v1/chat/completions", CHAT)
            receipt = (await gateway.settled())[0]
    assert (receipt.cost, receipt.attempts[0].cost) == (cost, cost)


async def test_model_name_is_mapped_for_the_upstream() -> None:
    async with upstream(whole(b"{}")) as stub:
        mapped = channel(stub.url, models={"gpt-4o": "gpt-4o-2024-08-06"}, any_model=False)
        async with running(world(mapped)) as gateway:
            await post(gateway.port, "/v1/chat/completions", CHAT)
    assert orjson.loads(stub.seen[0].body)["model"] == "gpt-4o-2024-08-06"
    assert stub.seen[0].get(b"authorization") == b"Bearer upstream-secret"


@pytest.mark.parametrize("status", [400, 422])
async def test_providers_own_rejection_passes_unmodified(status: int) -> None:
    body = b'{"error": {"message": "no such parameter", "type": "invalid_request_error", "param": "x", "code": "c"}}'
    async with upstream(whole(body, status, [JSON])) as stub, running(world(channel(stub.url))) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", CHAT)
    assert (got.status, got.body) == (status, body)
