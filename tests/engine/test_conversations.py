"""Conversations by `previous_response_id`: kept, gone on with, fetched, deleted, and never anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from fastanchor.core.principal import Principal
from fastanchor.engine.conversations import Conversations
from tests.kit.gateway import channel, digests, running, world
from tests.kit.http import Got, fetch, get, post
from tests.kit.upstream import Answer, Reply, Seen, stream, upstream, whole

DAY = 86_400.0
PATH = "/v1/responses"
ASK = {"model": "m", "input": "Who are you?"}
NATIVE = {"dialects": "openai_responses,openai_chat"}


def chat(text: str) -> Answer:
    """A chat upstream that says one thing, streamed or not, as it is asked."""
    usage = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    message = {"role": "assistant", "content": text}
    answer = {"id": "x", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage}
    chunks: list[dict[str, Any]] = [
        {"id": "x", "choices": [{"index": 0, "delta": message, "finish_reason": None}]},
        {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"id": "x", "choices": [], "usage": usage},
    ]
    frames = [b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]

    async def say(seen: Seen, reply: Reply) -> None:
        asked = orjson.loads(seen.body)
        await (stream(frames) if asked.get("stream") else whole(orjson.dumps(answer)))(seen, reply)

    return say


def native(response_id: str) -> Answer:
    """An upstream of this API, with its own state."""
    response = {"id": response_id, "object": "response", "status": "completed", "model": "m", "output": [],
                "usage": {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}}  # fmt: skip
    events = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {"type": "response.output_text.delta", "delta": "x", "output_index": 0, "content_index": 0, "item_id": "i"},
        {"type": "response.completed", "response": response},
    ]
    frames = [b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), orjson.dumps(e)) for e in events]

    async def say(seen: Seen, reply: Reply) -> None:
        streamed = seen.method == b"POST" and orjson.loads(seen.body).get("stream")
        await (stream(frames) if streamed else whole(orjson.dumps(response)))(seen, reply)

    return say


def said(got: Got) -> dict[str, Any]:
    """The response object of an answer, streamed or not."""
    if not got.headers["content-type"].startswith("text/event-stream"):
        return got.json  # type: ignore[return-value]
    last = got.body.split(b"\n\n")[-2]
    document: dict[str, Any] = orjson.loads(last.split(b"data: ", 1)[1])["response"]
    return document


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Conversations]:
    conversations = Conversations(tmp_path / "not" / "there" / "yet" / "responses.sqlite", 30 * DAY)
    yield conversations
    conversations.close()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_chain_carries_everything_said_before_to_a_channel_without_state(
    kept: Conversations, streamed: bool
) -> None:
    async with upstream(chat("I am the first answer.")) as stub, running(world(channel(stub.url)), kept) as gateway:
        ask = {**ASK, "stream": streamed}
        first = said(await post(gateway.port, PATH, ask))
        second = said(await post(gateway.port, PATH, {**ask, "input": "Go on", "previous_response_id": first["id"]}))
        third = await post(gateway.port, PATH, {**ask, "input": "And?", "previous_response_id": second["id"]})
    assert third.status == 200
    assert second["previous_response_id"] == first["id"]
    turns = [(m["role"], m["content"]) for m in orjson.loads(stub.seen[2].body)["messages"]]
    answer = ("assistant", "I am the first answer.")
    assert turns == [("user", "Who are you?"), answer, ("user", "Go on"), answer, ("user", "And?")]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_kept_response_is_fetched_as_it_was_told_and_deleted(kept: Conversations, streamed: bool) -> None:
    async with upstream(chat("Hello.")) as stub, running(world(channel(stub.url)), kept) as gateway:
        told = said(await post(gateway.port, PATH, {**ASK, "stream": streamed}))
        path = f"{PATH}/{told['id']}"
        assert (await get(gateway.port, path)).json == told
        gone = await fetch(gateway.port, "DELETE", path)
        assert gone.json == {"id": told["id"], "object": "response", "deleted": True}
        assert (await get(gateway.port, path)).status == 404
        assert (await fetch(gateway.port, "DELETE", path)).status == 404
        after = await post(gateway.port, PATH, {**ASK, "previous_response_id": told["id"]})
    assert (after.status, after.json["error"]["param"]) == (400, "previous_response_id")  # type: ignore[index]
    assert len(stub.seen) == 1


async def test_a_kept_response_cannot_be_asked_for_as_a_stream(kept: Conversations) -> None:
    async with upstream(chat("Hello.")) as stub, running(world(channel(stub.url)), kept) as gateway:
        told = said(await post(gateway.port, PATH, ASK))
        refused = await get(gateway.port, f"{PATH}/{told['id']}?stream=true&starting_after=3")
    assert (refused.status, refused.json["error"]["param"]) == (400, "stream")  # type: ignore[index]


async def test_what_the_client_does_not_want_stored_is_not(kept: Conversations) -> None:
    async with upstream(chat("Hello.")) as stub, running(world(channel(stub.url)), kept) as gateway:
        told = said(await post(gateway.port, PATH, {**ASK, "store": False}))
        assert not kept.path.exists()
        assert (await get(gateway.port, f"{PATH}/{told['id']}")).status == 404


async def test_a_chat_call_never_touches_the_database(kept: Conversations) -> None:
    async with upstream(chat("Hello.")) as stub, running(world(channel(stub.url)), kept) as gateway:
        await post(gateway.port, "/v1/chat/completions", {"model": "m", "messages": [{"role": "user", "content": "a"}]})
    assert not kept.path.exists()


async def test_a_response_belongs_to_the_key_that_asked(kept: Conversations) -> None:
    keys = digests({"sk-a": Principal("a", "a", "org"), "sk-b": Principal("b", "b", "org")})
    async with upstream(chat("Hello.")) as stub, running(world(channel(stub.url), auth=True, keys=keys), kept) as gw:
        told = said(await post(gw.port, PATH, ASK, key="sk-a"))
        path = f"{PATH}/{told['id']}"
        assert (await get(gw.port, path, key="sk-b")).status == 404
        assert (await fetch(gw.port, "DELETE", path, headers={"authorization": "Bearer sk-b"})).status == 404
        stolen = await post(gw.port, PATH, {**ASK, "previous_response_id": told["id"]}, key="sk-b")
        assert stolen.status == 400
        assert (await get(gw.port, path)).status == 401
        assert (await get(gw.port, path, key="sk-a")).status == 200


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_native_chain_goes_to_the_channel_that_has_its_state(kept: Conversations, streamed: bool) -> None:
    async with upstream(native("resp_a")) as a, upstream(native("resp_b")) as b:
        one = channel(a.url, name="one", options=NATIVE)
        other = channel(b.url, name="other", options=NATIVE, tier=1)
        ask = {**ASK, "stream": streamed}
        async with running(world(one, other), kept) as gateway:
            assert said(await post(gateway.port, PATH, ask))["id"] == "resp_a"
            gateway.gateway.world = world(channel(b.url, name="other", options=NATIVE), one)
            for _ in range(4):
                again = {**ask, "previous_response_id": "resp_a"}
                assert said(await post(gateway.port, PATH, again))["id"] == "resp_a"
            assert orjson.loads(a.seen[-1].body)["previous_response_id"] == "resp_a"
            fetched = await get(gateway.port, f"{PATH}/resp_a")
    assert fetched.json["id"] == "resp_a"
    assert (a.seen[-1].method, a.seen[-1].target) == (b"GET", b"/v1/responses/resp_a")
    assert not b.seen


async def test_a_native_chain_whose_channel_is_gone_is_a_400(kept: Conversations) -> None:
    async with upstream(native("resp_a")) as a, upstream(native("resp_b")) as b:
        async with running(world(channel(a.url, name="one", options=NATIVE)), kept) as gateway:
            await post(gateway.port, PATH, ASK)
            gateway.gateway.world = world(channel(b.url, name="other", options=NATIVE))
            got = await post(gateway.port, PATH, {**ASK, "previous_response_id": "resp_a"})
            assert (await get(gateway.port, f"{PATH}/resp_a")).status == 404
    assert got.status == 400
    assert not b.seen


async def test_deleting_a_native_response_deletes_it_there_too(kept: Conversations) -> None:
    async with upstream(native("resp_a")) as stub, running(world(channel(stub.url, options=NATIVE)), kept) as gateway:
        await post(gateway.port, PATH, ASK)
        assert (await fetch(gateway.port, "DELETE", f"{PATH}/resp_a")).json["deleted"] is True
        assert (await get(gateway.port, f"{PATH}/resp_a")).status == 404
    assert [seen.method for seen in stub.seen] == [b"POST", b"DELETE"]


@pytest.mark.parametrize("field", [{"background": True}, {"conversation": "conv_1"}])
async def test_what_only_a_provider_with_state_can_do_goes_to_one_or_is_refused(
    kept: Conversations, field: dict[str, Any]
) -> None:
    async with upstream(chat("no")) as plain, upstream(native("resp_b")) as able:
        first = channel(plain.url, name="plain")
        second = channel(able.url, name="able", options=NATIVE, tier=1)
        async with running(world(first, second), kept) as gateway:
            assert said(await post(gateway.port, PATH, {**ASK, **field}))["id"] == "resp_b"
        async with running(world(first), kept) as gateway:
            refused = await post(gateway.port, PATH, {**ASK, **field})
    assert refused.status == 400
    assert refused.json["error"]["param"] == next(iter(field))  # type: ignore[index]
    assert not plain.seen


async def test_without_retention_nothing_is_kept_and_the_channel_is_asked(tmp_path: Path) -> None:
    off = Conversations(tmp_path / "responses.sqlite", 0)
    async with upstream(native("resp_a")) as stub, running(world(channel(stub.url, options=NATIVE)), off) as gateway:
        got = await post(gateway.port, PATH, {**ASK, "previous_response_id": "resp_elsewhere"})
    assert got.status == 200
    assert not off.path.exists()


async def test_a_database_that_cannot_be_opened_fails_no_answer(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    broken = Conversations(tmp_path / "file" / "responses.sqlite", DAY)
    async with upstream(chat("Hello.")) as stub, running(world(channel(stub.url)), broken) as gateway:
        assert (await post(gateway.port, PATH, ASK)).status == 200
        assert (await post(gateway.port, PATH, {**ASK, "previous_response_id": "resp_x"})).status == 503


async def test_a_broken_translated_stream_ends_in_the_numbers_that_it_began_with(kept: Conversations) -> None:
    chunk = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}\n\n'
    async with upstream(stream([chunk], cut=True)) as stub, running(world(channel(stub.url)), kept) as gateway:
        got = await post(gateway.port, PATH, {**ASK, "stream": True})
    told = [orjson.loads(part.split(b"data: ", 1)[1]) for part in got.body.split(b"\n\n") if part]
    assert [event["type"] for event in told[-2:]] == ["error", "response.failed"]
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    assert told[-1]["response"]["id"] == told[0]["response"]["id"]
    assert told[-1]["response"]["output"][0]["content"][0]["text"] == "Hel"
    assert not kept.path.exists()


@pytest.mark.parametrize("method", ["PUT", "POST", "PATCH"])
async def test_other_methods_on_a_stored_response(kept: Conversations, method: str) -> None:
    async with running(world(), kept) as gateway:
        assert (await fetch(gateway.port, method, f"{PATH}/resp_1")).status == 405
