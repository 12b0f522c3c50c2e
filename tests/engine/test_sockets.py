"""`GET /v1/ws`: many inferences on one socket, each with the rights, limits, failover and receipt of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import orjson
import pytest
import trio

from fastanchor.core.principal import Principal
from fastanchor.engine.gateway import Gateway
from fastanchor.wire import Pool, ServerLimits
from fastanchor.wire.bodies import bodies
from fastanchor.wire.errors import ClientGone
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.limits import WSLimits
from tests.kit.gateway import Running, channel, channels, digests, running, world
from tests.kit.http import get, post
from tests.kit.upstream import Answer, Seen, Upstream, in_turn, silent, stream, upstream, whole
from tests.kit.websocket import CLOSE, TEXT, RawSocket, close, frame, handshake, text
from tests.kit.wires import served

ASK = {"type": "inference", "model": "gpt-4o", "messages": [{"role": "user", "content": "Hello!"}]}
KEY = "sk-socket"


def piece(content: str) -> bytes:
    return b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":%b}}]}\n\n' % orjson.dumps(content)


FINISH = b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}\n\n'
HELLO = stream([piece("Hel"), piece("lo"), FINISH, USAGE, b"data: [DONE]\n\n"])
WHOLE = (
    b'{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}'
)
TOOL = (
    b'data: {"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function",'
    b'"function":{"name":"f","arguments":"{}"}}]}}]}\n\n'
)


class Client(RawSocket):
    async def say(self, **message: object) -> None:
        await self.send(text(orjson.dumps(message).decode()))

    async def hear(self) -> dict[str, Any]:
        """The next message; a close frame as its code."""
        one = await self.frame()
        assert one is not None
        if one.opcode == CLOSE:
            return {"type": "close", "code": one.code}
        assert one.opcode == TEXT
        heard: dict[str, Any] = orjson.loads(one.payload)
        return heard

    async def until(self, kind: str) -> list[dict[str, Any]]:
        """The messages up to the first of this type."""
        heard = [await self.hear()]
        while heard[-1]["type"] != kind:
            heard.append(await self.hear())
        return heard


@asynccontextmanager
async def connected(gateway: Running, *fields: bytes, path: bytes = b"/v1/ws") -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as tcp:
        client = Client(tcp)
        with trio.fail_after(60):
            head = await client.open(path, *fields)
            assert head.startswith(b"HTTP/1.1 101 "), head
            yield client


@asynccontextmanager
async def socket(answer: Answer, *fields: bytes, **options: Any) -> AsyncIterator[tuple[Client, Running, Upstream]]:
    """A client on a gateway with one channel."""
    async with upstream(answer) as stub, running(world(channel(stub.url), **options)) as gateway:
        async with connected(gateway, *fields) as client:
            yield client, gateway, stub


async def reached(condition: Callable[[], bool]) -> None:
    """Wait for what the other side of a connection will see."""
    with trio.fail_after(60):
        while not condition():  # noqa: ASYNC110 - the stub counts in plain numbers
            await trio.sleep(0.005)


def keys(**changes: Any) -> dict[str, Any]:
    """A configuration that wants a key."""
    principal = Principal("k1", "dev", "acme", **changes)
    return {"auth": True, "keys": digests({KEY: principal})}


BEARER = b"authorization: Bearer " + KEY.encode()


class TestInference:
    async def test_a_stream_becomes_tokens_and_done(self) -> None:
        async with socket(HELLO) as (client, gateway, stub):
            await client.say(**ASK, stream=True)
            *tokens, done = await client.until("done")
            receipt = (await gateway.settled())[0]
        assert tokens == [{"type": "token", "content": "Hel"}, {"type": "token", "content": "lo"}]
        assert (done["model"], done["finish_reason"]) == ("m", "stop")
        assert (done["usage"]["prompt_tokens"], done["usage"]["completion_tokens"]) == (3, 2)
        assert done["request_id"] == receipt.request_id
        assert "response" not in done
        assert (receipt.endpoint, receipt.status, receipt.ending) == ("ws.inference", 200, "done")
        assert (receipt.usage.input, receipt.usage.output, receipt.stream) == (3, 2, True)
        sent = orjson.loads(stub.seen[0].body)
        assert sent.keys() == {"model", "messages", "stream", "stream_options"}

    async def test_a_whole_answer_is_one_token_and_done_with_all_of_it(self) -> None:
        async with socket(whole(WHOLE)) as (client, _, _stub):
            await client.say(**ASK, id="a")
            token, done = await client.until("done")
        assert token == {"type": "token", "id": "a", "content": "Hello"}
        assert done["response"] == orjson.loads(WHOLE)
        assert done["usage"]["total_tokens"] == 5

    async def test_messages_count_among_the_bodies_that_are_held(self) -> None:
        async with socket(HELLO) as (client, _, _stub):
            bodies().most = 1000
            await client.say(**{**ASK, "messages": [{"role": "user", "content": "x" * 2000}]}, id="large")
            assert (await client.until("error"))[0]["status"] == 503
            await client.say(**ASK, id="small", stream=True)
            assert (await client.until("done"))[-1]["id"] == "small"
            await reached(lambda: bodies().held == 0)

    async def test_a_whole_answer_may_be_asked_for_by_name(self) -> None:
        async with socket(whole(WHOLE)) as (client, _, _stub):
            await client.say(**ASK, stream=False)
            assert [one["type"] for one in await client.until("done")] == ["token", "done"]

    async def test_what_is_no_text_stands_beside_the_content(self) -> None:
        async with socket(stream([TOOL, FINISH, b"data: [DONE]\n\n"])) as (client, _, _stub):
            await client.say(**ASK, stream=True)
            token, _done = await client.until("done")
        assert token["content"] == ""
        assert token["tool_calls"][0]["function"]["name"] == "f"

    async def test_usage_is_estimated_where_the_provider_tells_none(self) -> None:
        async with socket(stream([piece("Hello"), FINISH, b"data: [DONE]\n\n"])) as (client, _, _stub):
            await client.say(**ASK, stream=True)
            done = (await client.until("done"))[-1]
        assert done["usage"]["completion_tokens"] > 0

    async def test_keep_alive_bytes_are_no_message(self) -> None:
        slow = stream([piece("a"), piece("b"), FINISH, b"data: [DONE]\n\n"], pause=0.15)
        async with socket(slow, keep_alive=0.05) as (client, _, _stub):
            await client.say(**ASK, stream=True)
            assert [one["type"] for one in await client.until("done")] == ["token", "token", "done"]

    async def test_one_after_the_other(self) -> None:
        async with socket(HELLO) as (client, gateway, _stub):
            for _ in range(3):
                await client.say(**ASK, stream=True)
                assert len(await client.until("done")) == 3
            assert len(await gateway.settled(3)) == 3

    async def test_several_at_once_are_told_apart_by_their_ids(self) -> None:
        async def answer(seen: Seen, reply: Any) -> None:
            name = orjson.loads(seen.body)["messages"][0]["content"]
            pieces = [piece(name + str(i)) for i in range(5)]
            await stream([*pieces, FINISH, b"data: [DONE]\n\n"], pause=0.01)(seen, reply)

        async with socket(answer) as (client, _, _stub):
            for name in ("a", "b", 7):
                asked = {**ASK, "messages": [{"role": "user", "content": f"{name}-"}]}
                await client.say(**asked, id=name, stream=True)
            heard = [await client.hear() for _ in range(18)]
        for name in ("a", "b", 7):
            mine = [one for one in heard if one["id"] == name]
            assert "".join(one.get("content", "") for one in mine) == "".join(f"{name}-{i}" for i in range(5))
            assert mine[-1]["type"] == "done"
        first_done = next(i for i, one in enumerate(heard) if one["type"] == "done")
        assert {one["id"] for one in heard[:first_done]} == {"a", "b", 7}

    async def test_failover_is_as_over_http(self) -> None:
        async with upstream(whole(b"{}", 500)) as bad, upstream(HELLO) as good:
            async with running(world(*channels([bad.url, good.url]))) as gateway, connected(gateway) as client:
                await client.say(**ASK, stream=True)
                assert len(await client.until("done")) == 3
                receipt = (await gateway.settled())[0]
        assert receipt.channel == "spare1"


class TestErrors:
    async def test_a_providers_rejection(self) -> None:
        body = b'{"error":{"message":"too long","type":"invalid_request_error","param":null,"code":"context"}}'
        async with socket(whole(body, 400)) as (client, _, _stub):
            await client.say(**ASK, id=1)
            heard = await client.hear()
        assert (heard["type"], heard["id"], heard["status"]) == ("error", 1, 400)
        assert heard["error"]["message"] == "too long"
        assert heard["request_id"].startswith("req_")

    async def test_a_rejection_in_another_form_is_an_error_object_all_the_same(self) -> None:
        async with socket(whole(b'{"detail":"no"}', 422)) as (client, _, _stub):
            await client.say(**ASK)
            heard = await client.hear()
        assert (heard["type"], heard["error"]["type"]) == ("error", "invalid_request_error")

    async def test_a_stream_that_breaks(self) -> None:
        async with socket(stream([piece("Hel")], cut=True)) as (client, _, _stub):
            await client.say(**ASK, stream=True, id="x")
            token, error = await client.until("error")
            await client.say(type="cancel", id="x")
            gone = await client.hear()
        assert token["content"] == "Hel"
        assert (error["id"], error["error"]["type"]) == ("x", "model_error")
        assert gone["error"]["code"] == "not_found"

    @pytest.mark.parametrize(
        ("message", "param"),
        [
            ("nothing", ""),
            ("[]", ""),
            ("{}", "type"),
            ('{"type":7}', "type"),
            ('{"type":"speak"}', "type"),
            ('{"type":"inference","id":{}}', "id"),
            ('{"type":"inference","id":1.5}', "id"),
            ('{"type":"inference","id":true}', "id"),
            ('{"type":"inference","id":"' + "x" * 129 + '"}', "id"),
            ('{"type":"inference","id":99999999999999999}', "id"),
            ('{"type":"inference"}', "model"),
            ('{"type":"inference","model":"m"}', "messages"),
            ('{"type":"inference","model":"m","messages":"Hi"}', "messages"),
            ('{"type":"auth"}', "api_key"),
            ('{"type":"cancel","id":"none"}', "id"),
        ],
    )
    async def test_a_bad_message_names_its_field_and_costs_nothing_else(self, message: str, param: str) -> None:
        async with socket(HELLO) as (client, _, _stub):
            await client.send(text(message))
            heard = await client.hear()
            assert (heard["type"], heard["error"]["param"] or "") == ("error", param)
            await client.say(**ASK, stream=True)
            assert len(await client.until("done")) == 3

    async def test_an_id_that_is_taken(self) -> None:
        async with socket(silent()) as (client, _, _stub):
            await client.say(**ASK, id="a")
            await client.say(**ASK, id="a")
            heard = await client.hear()
        assert (heard["id"], heard["error"]["param"]) == ("a", "id")

    async def test_too_many_at_once(self) -> None:
        async with socket(silent()) as (client, _, _stub):
            for i in range(33):
                await client.say(**ASK, id=i)
            heard = await client.hear()
        assert (heard["id"], heard["status"], heard["error"]["retry_after"]) == (32, 429, 1)

    async def test_a_binary_message_closes(self) -> None:
        async with socket(HELLO) as (client, _, _stub):
            await client.send(frame(2, b"{}"))
            assert (await client.hear())["code"] == 1003


class TestCancel:
    async def test_ends_one_inference_and_its_upstream(self) -> None:
        endless = stream([piece("tick")] * 10_000, pause=0.01)
        async with socket(in_turn(endless, HELLO)) as (client, gateway, stub):
            await client.say(**ASK, id="long", stream=True)
            await client.until("token")
            await client.say(**ASK, id="short", stream=True)
            await client.until("done")
            await client.say(type="cancel", id="long")
            assert (await client.until("cancelled"))[-1]["id"] == "long"
            receipts = await gateway.settled(2)
            await reached(lambda: stub.left == 1)
            await client.say(**ASK, id="long", stream=True)
            await client.until("done")
        assert receipts[1].ending == "client_gone"
        assert receipts[1].usage.estimated

    @pytest.mark.parametrize("way", ["close", "leave"])
    async def test_closing_or_leaving_cancels_all(self, way: str) -> None:
        async with socket(silent()) as (client, gateway, stub):
            for i in range(3):
                await client.say(**ASK, id=i)
            await reached(lambda: len(stub.seen) == 3)
            if way == "close":
                await client.send(close(1000))
                assert (await client.hear())["code"] == 1000
            else:
                await client.stream.aclose()
            receipts = await gateway.settled(4)
            await reached(lambda: stub.left == 3)
        assert [one.ending for one in receipts[:3]] == ["client_gone"] * 3
        assert (receipts[3].endpoint, receipts[3].status) == ("ws", 101)


class TestAuth:
    async def test_by_the_handshake(self) -> None:
        async with socket(HELLO, BEARER, **keys()) as (client, gateway, _stub):
            await client.say(**ASK, stream=True)
            await client.until("done")
            assert (await gateway.settled())[0].key_id == "k1"

    async def test_by_the_first_message(self) -> None:
        async with socket(HELLO, **keys()) as (client, gateway, _stub):
            await client.say(type="auth", api_key=KEY)
            assert await client.hear() == {"type": "authenticated"}
            await client.say(**ASK, stream=True)
            await client.until("done")
            assert (await gateway.settled())[0].key_id == "k1"

    @pytest.mark.parametrize(
        "field", [b"authorization: Bearer wrong", b"authorization: Basic eDp5", b"x-api-key: wrong"]
    )
    async def test_a_wrong_key_is_refused_before_the_handshake(self, field: bytes) -> None:
        async with upstream(HELLO) as stub, running(world(channel(stub.url), **keys())) as gateway:
            async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as tcp:
                head = await RawSocket(tcp).open(b"/v1/ws", field)
        assert head.startswith(b"HTTP/1.1 401 ")

    @pytest.mark.parametrize(
        "first",
        [{"type": "auth", "api_key": "wrong"}, {"type": "auth", "api_key": "a\r\nb"}, ASK, {"type": "nonsense"}],
    )
    async def test_a_first_message_that_proves_nothing_closes(self, first: dict[str, Any]) -> None:
        async with socket(HELLO, **keys()) as (client, gateway, stub):
            await client.say(**first)
            assert (await client.hear())["type"] == "error"
            assert (await client.hear())["code"] == 4401
            await client.send(close(4401))
            assert not stub.seen
            assert (await gateway.settled())[0].ending in ("invalid_api_key", "invalid_request")

    async def test_a_key_is_never_told_back(self) -> None:
        async with socket(HELLO, **keys()) as (client, gateway, _stub):
            await client.say(type="auth", api_key="canary-7f3a")
            assert "canary" not in str([await client.hear(), await client.hear()])
            await client.send(close())
            assert "canary" not in repr(await gateway.settled())

    async def test_again_with_the_same_key(self) -> None:
        async with socket(HELLO, BEARER, **keys()) as (client, _, _stub):
            await client.say(type="auth", api_key=KEY)
            assert await client.hear() == {"type": "authenticated"}
            await client.say(type="auth", api_key="another")
            assert (await client.hear())["error"]["code"] == "invalid_api_key"

    async def test_scopes_and_models_hold(self) -> None:
        async with socket(HELLO, BEARER, **keys(models=("other",))) as (client, _, _stub):
            await client.say(**ASK)
            assert (await client.hear())["status"] == 403

    async def test_a_key_without_the_scope_is_refused_before_the_handshake(self) -> None:
        async with upstream(HELLO) as stub:
            configured = world(channel(stub.url), **keys(scopes=frozenset({"training"})))
            async with running(configured) as gateway, await trio.open_tcp_stream("127.0.0.1", gateway.port) as tcp:
                assert (await RawSocket(tcp).open(b"/v1/ws", BEARER)).startswith(b"HTTP/1.1 403 ")

    async def test_a_key_that_is_revoked_ends_its_socket(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("fastanchor.engine.sockets.LOOK_EVERY", 0.05)
        async with socket(silent(), BEARER, **keys()) as (client, gateway, stub):
            await client.say(**ASK)
            await reached(lambda: bool(stub.seen))
            gateway.gateway.world = world(*gateway.gateway.world.channels, auth=True)
            assert (await client.hear())["code"] == 4401
            await client.send(close(4401))
            assert (await gateway.settled(2))[0].ending == "client_gone"

    async def test_who_says_nothing_is_closed(self) -> None:
        limits = replace(ServerLimits(), ws=WSLimits(handshake=0.05))
        with Pool() as pool:
            async with served(Gateway(world(auth=True), pool, b"pepper"), limits) as client:
                await client.write(handshake(b"/v1/ws"))
                with trio.fail_after(60):
                    await client.read_until((4408).to_bytes(2, "big") + b"no auth message in time")
                assert limit_hits()["ws_auth"] == 1

    @pytest.mark.parametrize(
        ("origin", "status"), [(b"http://evil.example", 403), (b"http://test", 101), (b"null", 403)]
    )
    async def test_an_open_instance_is_not_for_other_origins(self, origin: bytes, status: int) -> None:
        async with upstream(HELLO) as stub, running(world(channel(stub.url))) as gateway:
            async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as tcp:
                head = await RawSocket(tcp).open(b"/v1/ws", b"origin: " + origin)
        assert head.startswith(b"HTTP/1.1 %d " % status)

    async def test_with_keys_any_origin_may(self) -> None:
        async with socket(HELLO, BEARER, b"origin: https://app.example", **keys()) as (client, _, _stub):
            await client.say(**ASK, stream=True)
            await client.until("done")


class TestUpgrades:
    async def test_without_an_upgrade_one_is_required(self) -> None:
        async with running(world()) as gateway:
            got = await get(gateway.port, "/v1/ws")
            assert (got.status, got.headers["upgrade"]) == (426, "websocket")
            assert (await post(gateway.port, "/v1/ws", {})).status in (404, 405)

    @pytest.mark.parametrize("path", [b"/v1/chat/completions", b"/v1/messages", b"/v1/embeddings", b"/api/v1/chat"])
    async def test_no_other_endpoint_takes_one(self, path: bytes) -> None:
        async with running(world()) as gateway, await trio.open_tcp_stream("127.0.0.1", gateway.port) as tcp:
            assert (await RawSocket(tcp).open(path)).startswith(b"HTTP/1.1 426 ")

    async def test_an_unknown_path_stays_unknown(self) -> None:
        async with running(world()) as gateway, await trio.open_tcp_stream("127.0.0.1", gateway.port) as tcp:
            assert (await RawSocket(tcp).open(b"/v1/nothing")).startswith(b"HTTP/1.1 404 ")

    async def test_a_bad_handshake_is_told_in_the_dialect(self) -> None:
        async with running(world()) as gateway:
            got = await get(gateway.port, "/v1/ws", upgrade="websocket", connection="upgrade, close")
        assert got.status == 426
        assert got.json["error"]


async def test_a_slow_reader_stops_the_upstream() -> None:
    sent = 0

    async def torrent(seen: Seen, reply: Any) -> None:
        nonlocal sent
        await reply.start(200, [(b"content-type", b"text/event-stream")])
        try:
            while True:
                await reply.send(piece("x" * 30_000))
                sent += 1
        except ClientGone:
            return

    async with socket(torrent) as (client, _, _stub):
        await client.say(**ASK, stream=True)
        before = -1
        while before != sent:
            before = sent
            await trio.sleep(0.3)
        assert sent * 30_000 < 40 * 1024 * 1024
        assert limit_hits()["ws_unsent"] >= 1
        await client.until("token")
