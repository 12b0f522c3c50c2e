"""Coded request bodies are read as plain ones, by every endpoint, or refused in its dialect."""

from __future__ import annotations

import gzip
import zlib

import orjson
import pytest

from fastanchor.wire.bodies import bodies
from tests.kit.gateway import channel, running, world
from tests.kit.http import fetch, post
from tests.kit.upstream import upstream, whole

CHAT = orjson.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}]})
ANSWER = b'{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}'


@pytest.mark.parametrize(
    ("coding", "body"), [("gzip", gzip.compress(CHAT)), ("deflate", zlib.compress(CHAT))], ids=["gzip", "deflate"]
)
async def test_is_decoded_and_goes_on_plain(coding: str, body: bytes) -> None:
    async with upstream(whole(ANSWER)) as stub, running(world(channel(stub.url))) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", body, content_encoding=coding)
    assert got.status == 200
    assert stub.seen[0].body == CHAT
    assert stub.seen[0].get(b"content-encoding") is None


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"])
async def test_what_is_not_spoken_is_415_in_the_dialect(path: str) -> None:
    async with running(world()) as gateway:
        got = await post(gateway.port, path, CHAT, content_encoding="compress")
    assert got.status == 415
    assert got.headers["accept-encoding"].startswith("gzip, deflate")
    assert got.json["error"]


@pytest.mark.parametrize(
    "body",
    [CHAT, gzip.compress(CHAT)[:-1], gzip.compress(CHAT) + b"x", gzip.compress(bytes(2**24))],
    ids=["plain", "cut", "more", "bomb"],
)
async def test_broken_bodies_and_bombs_are_400(body: bytes) -> None:
    async with running(world()) as gateway:
        got = await post(gateway.port, "/v1/chat/completions", body, content_encoding="gzip")
    assert (got.status, got.json["error"]["code"]) == (400, "invalid_request")  # type: ignore[index]


async def test_the_decoded_size_is_bounded() -> None:
    text = bytes(i % 251 for i in range(1000)) * 40_000
    async with running(world()) as gateway:
        gateway.gateway.decoding = type(gateway.gateway.decoding)(ratio=10**6)
        fields = {"content-type": "application/json", "content-encoding": "gzip"}
        got = await fetch(gateway.port, "POST", "/v1/chat/completions", headers=fields, body=gzip.compress(text, 1))
    assert got.status == 413


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"])
async def test_a_body_that_nobody_has_room_for_is_503_in_the_dialect(path: str) -> None:
    async with running(world()) as gateway:
        bodies().most = 80_000
        got = await post(gateway.port, path, CHAT + b" " * 90_000)
    assert (got.status, got.headers["retry-after"]) == (503, "1")
    assert got.json["error"]["type"] in ("server_error", "overloaded_error")  # type: ignore[index]
    assert bodies().held == 0
