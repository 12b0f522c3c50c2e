"""A native Responses stream that breaks at a real socket: the numbers of its events rise to the last one."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import httpx2
import openai
import orjson
import pytest

from tests.kit.gateway import channels, running, world
from tests.kit.http import Got, post
from tests.kit.upstream import Answer, stream, upstream

ASK = {"model": "m", "input": "Hello", "stream": True, "store": False}
WORDS = [f"w{i} " for i in range(12)]
RESPONSE: dict[str, Any] = {
    "id": "resp_1", "object": "response", "created_at": 1_700_000_000, "status": "in_progress", "model": "m-2",
    "output": [], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True,
}  # fmt: skip
AT = {"item_id": "msg_1", "output_index": 0, "content_index": 0}


def frames(events: list[dict[str, Any]]) -> list[bytes]:
    """Numbered as the API numbers them."""
    told = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return [b"event: %b\ndata: %b\n\n" % (event["type"].encode(), orjson.dumps(event)) for event in told]


def answer(words: list[str], *, quiet: bool = False) -> list[bytes]:
    """A whole answer; `quiet`: without the events that say nothing new."""
    text = "".join(words)
    part = {"type": "output_text", "text": "", "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    done = {**message, "status": "completed", "content": [{**part, "text": text}]}
    events = [
        {"type": "response.created", "response": RESPONSE},
        *([] if quiet else [{"type": "response.in_progress", "response": RESPONSE}]),
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.content_part.added", **AT, "part": part},
        *({"type": "response.output_text.delta", **AT, "delta": word, "logprobs": []} for word in words),
        {"type": "response.output_text.done", **AT, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **AT, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": {**RESPONSE, "status": "completed", "output": [done]}},
    ]
    return frames(events)


async def ask(*answers: Answer) -> Got:
    """What a client gets from channels that speak this API, in tiers of their own."""
    async with AsyncExitStack() as stack:
        urls = [(await stack.enter_async_context(upstream(one))).url for one in answers]
        native = channels(urls, options={"dialects": "openai_responses"})
        gateway = await stack.enter_async_context(running(world(*native)))
        return await post(gateway.port, "/v1/responses", ASK)


def read(body: bytes) -> list[Any]:
    """The events as the official client reads them. Raises its errors."""
    kind = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=kind, content=body))
    client = openai.OpenAI(api_key="k", base_url="http://x/v1", http_client=httpx2.Client(transport=transport))
    return list(client.responses.create(model="m", input="hi", stream=True))


def numbers(got: Got) -> list[int]:
    lines = [line for line in got.body.splitlines() if line.startswith(b"data: ")]
    return [orjson.loads(line[6:])["sequence_number"] for line in lines]


@pytest.mark.parametrize("count", [5, 10, 16])
async def test_what_ends_a_broken_stream_is_numbered_after_it(count: int) -> None:
    got = await ask(stream([b"".join(answer(WORDS)[:count])], cut=True))
    assert not got.whole
    assert numbers(got) == list(range(count + 2))
    with pytest.raises(openai.APIError, match="cut the answer off"):
        read(got.body)


@pytest.mark.parametrize("quiet", [False, True])
async def test_what_another_channel_adds_is_numbered_after_what_the_client_has(quiet: bool) -> None:
    first = stream([b"".join(answer(WORDS, quiet=quiet)[:9])], cut=True)
    got = await ask(first, stream(answer(WORDS, quiet=not quiet)))
    assert got.whole
    told = read(got.body)
    assert [event.sequence_number for event in told] == list(range(len(told)))
    assert told[-1].response.output_text == "".join(WORDS)
