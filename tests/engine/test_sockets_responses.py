"""The upgrade of `GET /v1/responses`: events as messages, lanes, and responses that only their socket knows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
import trio
from openai.types.responses import ResponsesServerEvent
from pydantic import TypeAdapter

from fastanchor.core.principal import Principal
from tests.engine.test_sockets import BEARER, FINISH, HELLO, KEY, USAGE, Client, connected, piece, reached
from tests.kit.gateway import Running, channel, digests, running, world
from tests.kit.upstream import Answer, Seen, Upstream, silent, stream, upstream, whole
from tests.kit.websocket import RawSocket, text

CREATE = {"type": "response.create", "model": "m", "input": "Hello", "store": False}
EVENT: TypeAdapter[Any] = TypeAdapter(ResponsesServerEvent)


def native(*events: dict[str, Any]) -> Answer:
    frames = [b"event: %b\ndata: %b\n\n" % (one["type"].encode(), orjson.dumps(one)) for one in events]
    return stream(frames)


RESPONSE = {
    "id": "resp_up", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": [
        {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "Hi", "annotations": []}]},
    ],
    "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4},
}  # fmt: skip
EVENTS = (
    {"type": "response.created", "sequence_number": 0, "response": {**RESPONSE, "status": "in_progress", "output": []}},
    {"type": "response.output_text.delta", "sequence_number": 1, "item_id": "msg_1", "output_index": 0,
     "content_index": 0, "delta": "Hi", "logprobs": []},
    {"type": "response.completed", "sequence_number": 2, "response": RESPONSE},
)  # fmt: skip


@asynccontextmanager
async def socket(
    answer: Answer, *fields: bytes, native: bool = False, **options: Any
) -> AsyncIterator[tuple[Client, Running, Upstream]]:
    spoken = {"dialects": "openai_responses"} if native else {}
    async with upstream(answer) as stub, running(world(channel(stub.url, options=spoken), **options)) as gateway:
        async with connected(gateway, *fields, path=b"/v1/responses") as client:
            yield client, gateway, stub


def sent(stub: Upstream, at: int = -1) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(stub.seen[at].body)
    return document


async def test_a_translated_answer_is_the_stream_event_by_event() -> None:
    async with socket(HELLO) as (client, gateway, stub):
        await client.say(**CREATE)
        heard = await client.until("response.completed")
        receipt = (await gateway.settled())[0]
    assert [one["sequence_number"] for one in heard] == list(range(len(heard)))
    assert heard[0]["type"] == "response.created"
    assert "".join(one["delta"] for one in heard if one["type"] == "response.output_text.delta") == "Hello"
    assert (receipt.endpoint, receipt.stream, receipt.usage.output) == ("responses", True, 2)
    assert "stream_id" not in heard[0]
    assert sent(stub).keys() >= {"model", "messages", "stream"}
    for one in heard:
        EVENT.validate_python(one)


async def test_a_native_answer_passes_through() -> None:
    async with socket(native(*EVENTS), native=True) as (client, _, stub):
        await client.say(**CREATE, reasoning={"effort": "low"})
        assert await client.until("response.completed") == list(EVENTS)
    assert stub.seen[0].target == b"/v1/responses"
    assert sent(stub) == {
        "model": "m", "input": "Hello", "store": False, "reasoning": {"effort": "low"}, "stream": True,
    }  # fmt: skip


async def test_requests_of_a_lane_are_answered_in_their_order() -> None:
    async def answer(seen: Seen, reply: Any) -> None:
        name = orjson.loads(seen.body)["messages"][0]["content"]
        await stream([piece(name), FINISH, USAGE, b"data: [DONE]\n\n"], pause=0.02)(seen, reply)

    async with socket(answer) as (client, _, _stub):
        for name in ("a", "b", "c"):
            await client.say(**{**CREATE, "input": name})
        heard = [one for _ in range(3) for one in await client.until("response.completed")]
    assert [one["delta"] for one in heard if one["type"] == "response.output_text.delta"] == ["a", "b", "c"]


async def test_lanes_run_side_by_side_and_are_told_apart() -> None:
    async with socket(stream([piece("x")] * 3 + [FINISH, USAGE, b"data: [DONE]\n\n"], pause=0.05)) as (client, _, stub):
        await client.say(**CREATE, stream_id="one")
        await client.say(**CREATE, stream_id="two")
        await reached(lambda: len(stub.seen) == 2)
        heard = [one for _ in range(2) for one in await client.until("response.completed")]
    assert {one["stream_id"] for one in heard} == {"one", "two"}
    assert not any("stream_id" in sent(stub, at) for at in (0, 1))


class TestMemory:
    async def test_what_is_not_stored_can_be_gone_on_from_on_its_socket(self) -> None:
        async with socket(HELLO) as (client, gateway, stub):
            await client.say(**CREATE)
            first = (await client.until("response.completed"))[-1]["response"]["id"]
            await client.say(**{**CREATE, "input": "And?", "previous_response_id": first})
            await client.until("response.completed")
            said = [(one["role"], one["content"]) for one in sent(stub)["messages"]]
            assert [role for role, _ in said] == ["user", "assistant", "user"]
            async with connected(gateway, path=b"/v1/responses") as other:
                await other.say(**{**CREATE, "previous_response_id": first})
                await other.hear()
        assert "Hello" in str(said[1])

    async def test_a_native_chain_says_everything_itself(self) -> None:
        async with socket(native(*EVENTS), native=True) as (client, _, stub):
            await client.say(**CREATE)
            await client.until("response.completed")
            await client.say(**{**CREATE, "input": "And?", "previous_response_id": "resp_up"})
            await client.until("response.completed")
        assert "previous_response_id" not in sent(stub)
        assert [one["role"] for one in sent(stub)["input"]] == ["user", "assistant", "user"]

    async def test_nothing_is_generated_when_the_client_says_so(self) -> None:
        async with socket(HELLO) as (client, gateway, stub):
            await client.say(**CREATE, generate=False)
            heard = await client.until("response.completed")
            assert not stub.seen
            response = heard[-1]["response"]
            assert (response["status"], response["output"], response["usage"]["total_tokens"]) == ("completed", [], 0)
            for one in heard:
                EVENT.validate_python(one)
            await client.say(**{**CREATE, "input": "And?", "previous_response_id": response["id"]})
            await client.until("response.completed")
            assert [one["content"] for one in sent(stub)["messages"]] == ["Hello", "And?"]
            assert len(await gateway.settled()) == 1

    async def test_only_the_latest_are_remembered(self) -> None:
        async with socket(native(*EVENTS), native=True) as (client, _, stub):
            await client.say(**CREATE, generate=False)
            first = (await client.until("response.completed"))[-1]["response"]["id"]
            for _ in range(4):
                await client.say(**CREATE, generate=False)
                await client.until("response.completed")
            await client.say(**{**CREATE, "previous_response_id": first})
            await client.until("response.completed")
        assert sent(stub)["previous_response_id"] == first


class TestErrors:
    @pytest.mark.parametrize(
        ("message", "param"),
        [
            ("nothing", ""),
            ("{}", "type"),
            ('{"type":"response.steer","previous_response_id":"x","input":"y"}', "type"),
            ('{"type":"response.create"}', "model"),
            ('{"type":"response.create","model":"m"}', "input"),
            ('{"type":"response.create","model":"m","input":"x","background":true}', "background"),
            ('{"type":"response.create","model":"m","input":"x","stream_id":7}', "stream_id"),
            ('{"type":"response.create","model":"m","input":"x","generate":"no"}', "generate"),
            ('{"type":"response.create","input":"x","generate":false}', "model"),
        ],
    )
    async def test_a_bad_message_names_its_field_and_costs_nothing_else(self, message: str, param: str) -> None:
        async with socket(HELLO) as (client, _, _stub):
            await client.send(text(message))
            heard = await client.hear()
            assert (heard["type"], heard["status"], heard["error"]["param"] or "") == ("error", 400, param)
            EVENT.validate_python(heard)
            await client.say(**CREATE)
            await client.until("response.completed")

    async def test_a_refusal_is_told_in_its_lane(self) -> None:
        async with socket(whole(b'{"error":{"message":"no","type":"t","code":"c"}}', 400)) as (client, _, _stub):
            await client.say(**CREATE, stream_id="lane")
            heard = await client.hear()
        assert (heard["stream_id"], heard["status"], heard["error"]["message"]) == ("lane", 400, "no")

    async def test_a_stream_that_breaks(self) -> None:
        async with socket(stream([piece("Hel")], cut=True)) as (client, _, _stub):
            await client.say(**CREATE)
            kinds = [one["type"] for one in await client.until("response.failed")]
        assert kinds[-2:] == ["error", "response.failed"]

    async def test_too_much_at_once(self) -> None:
        async with socket(silent()) as (client, _, _stub):
            for _ in range(10):
                await client.say(**CREATE)
            assert (await client.hear())["status"] == 429
            for i in range(16):
                await client.say(**CREATE, stream_id=str(i))
            assert (await client.hear())["stream_id"] == "15"


class TestAuth:
    async def test_a_key_is_needed_before_the_handshake(self) -> None:
        configured = world(auth=True, keys=digests({KEY: Principal("k1", "dev", "acme")}))
        async with running(configured) as gateway, await trio.open_tcp_stream("127.0.0.1", gateway.port) as tcp:
            assert (await RawSocket(tcp).open(b"/v1/responses")).startswith(b"HTTP/1.1 401 ")

    @pytest.mark.parametrize("generate", [True, False])
    async def test_models_hold(self, generate: bool) -> None:
        principal = Principal("k1", "dev", "acme", models=("other",))
        options: dict[str, Any] = {"auth": True, "keys": digests({KEY: principal})}
        async with socket(HELLO, BEARER, **options) as (client, _, stub):
            await client.say(**CREATE, generate=generate)
            assert (await client.hear())["status"] == 403
            assert not stub.seen


async def test_leaving_cancels_the_upstream() -> None:
    async with socket(silent()) as (client, gateway, stub):
        await client.say(**CREATE)
        await reached(lambda: bool(stub.seen))
        await client.stream.aclose()
        assert (await gateway.settled(2))[0].ending == "client_gone"
        await reached(lambda: stub.left == 1)
