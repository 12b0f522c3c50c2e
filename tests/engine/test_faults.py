"""Every fault has one status, code and type, in the dialect of the endpoint, and the next request does not notice."""

from __future__ import annotations

import pytest

from fastanchor.core.principal import Principal
from tests.kit.gateway import channel, channels, digests, running, world
from tests.kit.http import fetch, get, post
from tests.kit.upstream import JSON, in_turn, silent, stream, upstream, whole

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}
GOOD = whole(b'{"id":"x","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant",'
             b'"content":"Hi"},"finish_reason":"stop"}]}')
FIRST = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":"Hel"}}]}\n\n'
ROLE = b'data: {"id":"x","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
LAST = b'data: {"id":"x","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
KEYS = {
    "good": Principal("k1", "good", "acme"),
    "narrow": Principal("k2", "narrow", "acme", models=("gpt-4*",)),
    "trainer": Principal("k3", "trainer", "acme", scopes=frozenset({"training"})),
    "old": Principal("k4", "old", "acme", expires=1.0),
    "elsewhere": Principal("k5", "elsewhere", "acme", addresses=("10.0.0.0/8",)),
}

BAD_BODIES = [
    (b"{", 400, "invalid_request"),
    (b"[]", 400, "invalid_request"),
    (b'{"messages":[]}', 400, "invalid_request"),
    (b'{"model":7,"messages":[]}', 400, "invalid_request"),
    (b'{"model":"gpt-4o"}', 400, "invalid_request"),
    (b'{"model":"gpt-4o","messages":"hi"}', 400, "invalid_request"),
    (b'{"model":"gpt-4o","messages":[],"stream":"yes"}', 400, "invalid_request"),
]


@pytest.mark.parametrize(("body", "status", "code"), BAD_BODIES)
async def test_bad_bodies_are_told_and_do_not_reach_the_upstream(body: bytes, status: int, code: str) -> None:
    async with upstream(GOOD) as stub, running(world(channel(stub.url))) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", body)
        again = await post(gateway.port, "/v1/chat/completions", CHAT)
    error = got.json["error"]
    assert isinstance(error, dict)
    assert (got.status, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert again.status == 200
    assert len(stub.seen) == 1


@pytest.mark.parametrize(
    ("key", "status", "code", "kind"),
    [
        ("", 401, "invalid_api_key", "authentication_error"),
        ("wrong", 401, "invalid_api_key", "authentication_error"),
        ("old", 401, "invalid_api_key", "authentication_error"),
        ("trainer", 403, "permission_denied", "authorization_error"),
        ("elsewhere", 403, "permission_denied", "authorization_error"),
        ("narrow", 403, "permission_denied", "authorization_error"),
    ],
)
async def test_keys_that_may_not(key: str, status: int, code: str, kind: str) -> None:
    async with upstream(GOOD) as stub:
        async with running(world(channel(stub.url), auth=True, keys=digests(KEYS))) as gateway:
            got = await post(gateway.port, "/v1/chat/completions", {**CHAT, "model": "o3"}, key=key)
    error = got.json["error"]
    assert isinstance(error, dict)
    assert (got.status, error["code"], error["type"]) == (status, code, kind)
    assert not stub.seen


@pytest.mark.parametrize("header", ["authorization", "x_api_key"])
async def test_key_is_taken_from_either_header(header: str) -> None:
    async with upstream(GOOD) as stub:
        async with running(world(channel(stub.url), auth=True, keys=digests(KEYS))) as gateway:
            value = "Bearer good" if header == "authorization" else "good"
            got = await post(gateway.port, "/v1/chat/completions", CHAT, **{header: value})
    assert got.status == 200


async def test_two_different_keys_are_refused() -> None:
    async with running(world(auth=True, keys=digests(KEYS))) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", CHAT, key="good", x_api_key="narrow")
    assert got.status == 401


async def test_unknown_model_is_404() -> None:
    async with running(world()) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", CHAT)
    error = got.json["error"]
    assert isinstance(error, dict)
    assert (got.status, error["code"], error["param"]) == (404, "model_not_found", "model")


async def test_unknown_path_is_404_and_wrong_method_405() -> None:
    async with running(world()) as gateway:
        assert (await get(gateway.port, "/nowhere")).status == 404
        assert (await get(gateway.port, "/v1/chat/completions")).status == 405
        assert (await fetch(gateway.port, "PUT", "/v1/models")).status == 405


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (whole(b"<html>", 500, [JSON]), 500, "upstream_error"),
        (whole(b"{}", 502, [JSON]), 500, "upstream_error"),
        (whole(b'{"error":{"message":"key sk-secret is wrong"}}', 401), 502, "model_unavailable"),
        (whole(b"", 429, [JSON, (b"retry-after", b"1")]), 429, "rate_limit"),
        (whole(b"", 503, [JSON]), 503, "service_unavailable"),
        (whole(b"not json"), 500, "upstream_error"),
        (whole(b""), 500, "upstream_error"),
    ],
)
async def test_failed_upstream_without_a_fallback(answer: object, status: int, code: str) -> None:
    async with upstream(answer) as stub, running(world(channel(stub.url))) as gateway:  # type: ignore[arg-type]
        got = await post(gateway.port, "/v1/chat/completions", CHAT)
    error = got.json["error"]
    assert isinstance(error, dict)
    assert (got.status, error["code"]) == (status, code)
    assert b"sk-secret" not in got.body
    assert got.headers["x-should-retry"] == "false"
    assert got.headers["x-request-id"] == got.headers["request-id"]


@pytest.mark.parametrize(
    "answer",
    [
        whole(b"{}", 500),
        whole(b"{}", 429),
        whole(b"{}", 401),
        whole(b"not json"),
        stream([ROLE], cut=True),
        stream([ROLE, b'data: {"error":{"message":"boom"}}\n\n']),
        stream([]),
        stream([b"data: [DONE]\n\n"]),
    ],
)
async def test_failure_before_content_is_hidden_by_the_next_channel(answer: object) -> None:
    async with upstream(answer) as bad, upstream(stream([ROLE, FIRST, LAST])) as good:  # type: ignore[arg-type]
        async with running(world(*channels([bad.url, good.url]))) as gateway:
            got = await post(gateway.port, "/v1/chat/completions", {**CHAT, "stream": True})
    assert (got.status, got.whole, got.body) == (200, True, ROLE + FIRST + LAST)
    assert got.headers["x-fastanchor-channel"] == "spare1"
    assert got.headers["x-fastanchor-attempts"].startswith("2; main=")


async def test_unreachable_channel_is_hidden_by_the_next() -> None:
    async with upstream(GOOD) as good:
        async with running(world(*channels(["http://127.0.0.1:1", good.url]))) as gateway:
            got = await post(gateway.port, "/v1/chat/completions", CHAT)
    assert got.status == 200


async def test_the_clients_own_mistake_is_not_tried_elsewhere() -> None:
    refusal = whole(b'{"error":{"message":"bad","type":"invalid_request_error"}}', 400)
    async with upstream(refusal) as first, upstream(GOOD) as second:
        async with running(world(*channels([first.url, second.url]))) as gateway:
            got = await post(gateway.port, "/v1/chat/completions", CHAT)
    assert got.status == 400
    assert not second.seen


@pytest.mark.parametrize(
    "answer",
    [
        stream([FIRST], cut=True),
        stream([FIRST]),
        stream([FIRST, b'data: {"error":{"message":"boom"}}\n\n'], pause=0.05),
        stream([FIRST, FIRST[:20]], pause=0.05),
    ],
)
async def test_broken_stream_never_ends_like_a_whole_one(answer: object) -> None:
    async with upstream(answer) as stub, running(world(channel(stub.url))) as gateway:  # type: ignore[arg-type]
        got = await post(gateway.port, "/v1/chat/completions", {**CHAT, "stream": True})
        receipt = (await gateway.settled())[0]
    assert got.status == 200
    assert not got.whole
    assert got.body.startswith(FIRST)
    assert b"[DONE]" not in got.body
    assert b'data: {"error":{' in got.body
    assert receipt.ending != "done"
    assert receipt.usage.estimated


async def test_finish_without_done_is_whole() -> None:
    finish = LAST.split(b"data: [DONE]")[0]
    async with upstream(stream([FIRST, finish])) as stub, running(world(channel(stub.url))) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", {**CHAT, "stream": True})
    assert got.whole
    assert got.body.startswith(FIRST + finish)


async def test_first_channel_is_asked_again_by_the_next_request() -> None:
    flaky = in_turn(whole(b"{}", 500), GOOD)
    async with upstream(flaky) as first, upstream(GOOD) as second:
        async with running(world(*channels([first.url, second.url]))) as gateway:
            await post(gateway.port, "/v1/chat/completions", CHAT)
            got = await post(gateway.port, "/v1/chat/completions", CHAT)
    assert got.headers["x-fastanchor-channel"] == "main"


async def test_no_secret_in_any_answer() -> None:
    async with upstream(silent()) as stub:
        impatient = channel(stub.url)
        async with running(world(impatient)) as gateway:
            got = await get(gateway.port, "/v1/models")
    assert b"upstream-secret" not in got.body
