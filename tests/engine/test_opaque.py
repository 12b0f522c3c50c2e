"""Endpoints that are passed through: to the channel that offers them, in both directions as it comes, and to nobody
else's objects."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
import trio

from fastanchor.core.channel import Channel, Secret
from fastanchor.core.principal import Principal
from fastanchor.engine.objects import Objects
from tests.kit.gateway import Running, channel, digests, running, world
from tests.kit.http import Got, fetch, get, post
from tests.kit.raw_upstream import raw_upstream
from tests.kit.upstream import JSON, Answer, Seen, Upstream, upstream, whole

ALL = ("moderations", "images", "audio", "rerank", "files", "fine_tuning", "models")
KEYS = {
    "sk-acme": Principal("k1", "a", "acme", frozenset({"training", "inference", "models"})),
    "sk-acme-2": Principal("k2", "a2", "acme", frozenset({"training"})),
    "sk-evil": Principal("k3", "e", "evil", frozenset({"training", "inference"})),
    "sk-plain": Principal("k4", "p", "acme"),
    "sk-held": Principal("k5", "h", "acme", frozenset({"inference"}), models=("whisper-*",)),
}
ACME = "sk-acme"


class Host:
    """An upstream that keeps files and jobs, whoever asks: the isolation is the gateway's."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.requests: list[tuple[bytes, bytes]] = []

    async def __call__(self, seen: Seen, reply: Any) -> None:
        self.requests.append((seen.method, seen.target))
        path = seen.target.partition(b"?")[0].decode()
        collection, _, name = path.removeprefix("/v1/").removeprefix("fine_tuning/").partition("/")
        if seen.method == b"POST" and not name:
            made = {"id": f"{collection}-{len(self.objects)}", "object": collection}
            self.objects[made["id"]] = made
            await reply.respond(200, [JSON], orjson.dumps(made))
        elif name.partition("/")[0] not in self.objects:
            await reply.respond(404, [JSON], b'{"error":{"message":"secret of the upstream"}}')
        elif seen.method == b"DELETE":
            await reply.respond(200, [JSON], orjson.dumps({**self.objects.pop(name), "deleted": True}))
        elif name.endswith("/content"):
            await reply.respond(200, [(b"content-type", b"application/jsonl")], b'{"a":1}\n' * 10)
        else:
            await reply.respond(200, [JSON], orjson.dumps(self.objects[name.partition("/")[0]]))


@asynccontextmanager
async def serving(tmp_path: Path, *channels: Channel, **options: Any) -> AsyncIterator[Running]:
    configured = world(*channels, **{"auth": True, "keys": digests(dict(KEYS)), **options})
    async with running(configured) as gateway:
        objects = gateway.gateway.objects = Objects(tmp_path / "state" / "objects.sqlite")
        yield gateway
        objects.close()


@asynccontextmanager
async def one(tmp_path: Path, answer: Answer, **changes: Any) -> AsyncIterator[tuple[Running, Upstream]]:
    async with upstream(answer) as stub:
        async with serving(tmp_path, channel(stub.url, **{"endpoints": ALL, **changes})) as gateway:
            yield gateway, stub


def form(*parts: tuple[str, bytes], boundary: str = "b0undary") -> tuple[dict[str, str], bytes]:
    """(headers, body) of a multipart form; a name with a dot is a file."""
    body = b""
    for name, value in parts:
        disposition = f'form-data; name="{name}"' + ('; filename="f.bin"' if name == "file" else "")
        body += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + value + b"\r\n"
    return {"content-type": f"multipart/form-data; boundary={boundary}"}, body + f"--{boundary}--\r\n".encode()


async def send(gateway: Running, path: str, *parts: tuple[str, bytes], key: str = ACME) -> Got:
    headers, body = form(*parts)
    return await fetch(
        gateway.port, "POST", path, headers={**headers, "authorization": f"Bearer {key}"}, body=body
    )


async def delete(gateway: Running, path: str, key: str = ACME) -> Got:
    return await fetch(gateway.port, "DELETE", path, headers={"authorization": f"Bearer {key}"})


class TestPlain:
    async def test_json_goes_to_the_model_under_its_name_there_and_usage_is_counted(self, tmp_path: Path) -> None:
        answer = whole(b'{"id":"modr","usage":{"total_tokens":7},"new":[1]}')
        async with one(tmp_path, answer, models={"mod": "mod-2024"}, any_model=False) as (gateway, stub):
            got = await post(gateway.port, "/v1/moderations", {"model": "mod", "input": "x", "odd": [1]}, key=ACME)
            receipt = (await gateway.settled())[0]
        assert (got.status, got.body) == (200, b'{"id":"modr","usage":{"total_tokens":7},"new":[1]}')
        assert (stub.seen[0].target, orjson.loads(stub.seen[0].body)) == (
            b"/v1/moderations", {"model": "mod-2024", "input": "x", "odd": [1]},
        )  # fmt: skip
        assert stub.seen[0].get(b"authorization") == b"Bearer upstream-secret"
        assert (receipt.endpoint, receipt.channel, receipt.usage.input) == ("moderations", "main", 7)
        assert (receipt.model, receipt.served_model) == ("mod", "mod-2024")

    @pytest.mark.parametrize(
        ("path", "usage"),
        [
            ("/v1/rerank", b'{"usage":{"total_tokens":12}}'),
            ("/v1/images/generations", b'{"data":[],"usage":{"input_tokens":10,"output_tokens":2}}'),
        ],
    )
    async def test_usage_in_all_its_words(self, tmp_path: Path, path: str, usage: bytes) -> None:
        async with one(tmp_path, whole(usage)) as (gateway, _):
            assert (await post(gateway.port, path, {"model": "m"}, key=ACME)).status == 200
            assert (await gateway.settled())[0].usage.total == 12

    async def test_other_answers_come_through_as_they_are(self, tmp_path: Path) -> None:
        sound = bytes(range(256)) * 1000
        audio = [(b"content-type", b"audio/mpeg"), (b"x-secret", b"1"), (b"set-cookie", b"a=b")]
        async with one(tmp_path, whole(sound, 200, audio)) as (gateway, _):
            got = await post(gateway.port, "/v1/audio/speech", {"model": "tts-1", "input": "x"}, key=ACME)
        assert (got.body, got.headers["content-type"], got.whole) == (sound, "audio/mpeg", True)
        assert not got.headers.keys() & {"x-secret", "set-cookie"}

    async def test_an_answer_that_breaks_breaks_for_the_client(self, tmp_path: Path) -> None:
        async def broken(seen: Seen, reply: Any) -> None:
            await reply.start(200, [(b"content-type", b"audio/mpeg")])
            await reply.send(b"half")
            reply.abort()

        async with one(tmp_path, broken) as (gateway, _):
            got = await post(gateway.port, "/v1/audio/speech", {"model": "tts-1"}, key=ACME)
            assert (got.body, got.whole) == (b"half", False)
            assert (await gateway.settled())[0].ending == "truncated"

    async def test_headers_are_allowed_by_name(self, tmp_path: Path) -> None:
        sent: dict[str, Any] = {f"x-custom-{i}": "1" for i in range(30)}
        sent |= {"cookie": "a=b", "x_forwarded_for": "1.2.3.4", "openai_organization": "org", "x_api_base": "http://x"}
        async with one(tmp_path, whole(b"{}")) as (gateway, stub):
            await post(gateway.port, "/v1/moderations?api_base=http://x", {"model": "m"}, key=ACME, **sent)
        assert {name for name, _ in stub.seen[0].headers} <= {
            b"host", b"authorization", b"content-type", b"content-length", b"openai-organization", b"accept",
        }  # fmt: skip
        assert stub.seen[0].target == b"/v1/moderations"

    async def test_a_channel_that_does_not_offer_it_is_not_asked(self, tmp_path: Path) -> None:
        async with upstream(whole(b"{}")) as no, upstream(whole(b"{}")) as yes:
            channels = (channel(no.url), channel(yes.url, name="b", tier=1, endpoints=("images",)))
            async with serving(tmp_path, *channels) as gateway:
                assert (await post(gateway.port, "/v1/images/edits", {"model": "m"}, key=ACME)).status == 200
                missing = await post(gateway.port, "/v1/rerank", {"model": "m"}, key=ACME)
        assert (len(no.seen), len(yes.seen)) == (0, 1)
        assert (missing.status, missing.json["error"]["code"]) == (404, "not_found")  # type: ignore[index]

    async def test_another_channel_is_tried(self, tmp_path: Path) -> None:
        async with upstream(whole(b"{}", 500)) as bad, upstream(whole(b'{"ok":1}')) as good:
            channels = (channel(bad.url, endpoints=ALL), channel(good.url, name="b", tier=1, endpoints=ALL))
            async with serving(tmp_path, *channels) as gateway:
                got = await post(gateway.port, "/v1/moderations", {"model": "m"}, key=ACME)
                receipt = (await gateway.settled())[0]
        assert got.json == {"ok": 1}
        assert [attempt.outcome for attempt in receipt.attempts] == ["upstream_error", "won"]

    @pytest.mark.parametrize(
        ("status", "told"), [(400, 400), (401, 502), (404, 502), (429, 429), (500, 500), (302, 500), (503, 503)]
    )
    async def test_refusals(self, tmp_path: Path, status: int, told: int) -> None:
        body = b'{"error":{"message":"upstream-secret","type":"t","code":"c"}}'
        async with one(tmp_path, whole(body, status)) as (gateway, _):
            got = await post(gateway.port, "/v1/moderations", {"model": "m"}, key=ACME)
        assert got.status == told
        assert (b"upstream-secret" in got.body) == (status == 400)

    async def test_codings_are_taken_off(self, tmp_path: Path) -> None:
        async with one(tmp_path, whole(b"{}")) as (gateway, stub):
            packed = gzip.compress(b'{"model":"m","input":"x"}')
            got = await post(gateway.port, "/v1/moderations", packed, key=ACME, content_encoding="gzip")
        assert got.status == 200
        assert orjson.loads(stub.seen[0].body)["input"] == "x"

    @pytest.mark.parametrize(
        ("method", "path"), [("GET", "/v1/moderations"), ("PUT", "/v1/files"), ("POST", "/v1/files/f")]
    )
    async def test_other_methods_are_405(self, tmp_path: Path, method: str, path: str) -> None:
        async with one(tmp_path, whole(b"{}")) as (gateway, _):
            got = await fetch(gateway.port, method, path, headers={"authorization": f"Bearer {ACME}"})
        assert got.status == 405

    @pytest.mark.parametrize(
        ("path", "key", "status"),
        [
            ("/v1/moderations", "", 401),
            ("/v1/files", "", 401),
            ("/v1/files", "sk-plain", 403),
            ("/v1/fine-tuning/jobs", "sk-plain", 403),
            ("/v1/models", "sk-evil", 403),
            ("/v1/moderations", "sk-acme-2", 403),
            ("/v1/moderations", "sk-held", 403),
            ("/v1/images/generations", "sk-held", 403),
        ],
    )
    async def test_scopes(self, tmp_path: Path, path: str, key: str, status: int) -> None:
        async with one(tmp_path, whole(b"{}")) as (gateway, stub):
            got = await post(gateway.port, path, {"model": "m"}, key=key)
        assert (got.status, stub.seen) == (status, [])


async def test_a_channel_at_capacity_is_not_asked(tmp_path: Path) -> None:
    async with one(tmp_path, whole(b"{}"), max_concurrency=1) as (gateway, stub):
        gateway.gateway.traffic.health.started(gateway.gateway.world.channels[0], 0.0)
        got = await post(gateway.port, "/v1/moderations", {"model": "m"}, key=ACME)
    assert (got.status, got.headers["retry-after"], stub.seen) == (503, "1", [])


class TestForms:
    async def test_a_form_goes_through_with_its_model_renamed(self, tmp_path: Path) -> None:
        async with one(tmp_path, whole(b'{"text":"hi"}'), models={"w": "whisper-1-long"}, any_model=False) as (
            gateway, stub,
        ):  # fmt: skip
            got = await send(gateway, "/v1/audio/transcriptions", ("model", b"w"), ("file", bytes(200_000)))
            receipt = (await gateway.settled())[0]
        assert got.json == {"text": "hi"}
        assert stub.seen[0].body == form(("model", b"whisper-1-long"), ("file", bytes(200_000)))[1]
        assert stub.seen[0].get(b"content-type") == b"multipart/form-data; boundary=b0undary"
        assert (receipt.model, receipt.served_model) == ("w", "whisper-1-long")

    async def test_a_key_held_to_models(self, tmp_path: Path) -> None:
        async with one(tmp_path, whole(b"{}")) as (gateway, stub):
            path, good, bad = "/v1/audio/transcriptions", ("model", b"whisper-1"), ("model", b"other")
            assert (await send(gateway, path, good, ("file", b"x"), key="sk-held")).status == 200
            assert (await send(gateway, path, bad, ("file", b"x"), key="sk-held")).status == 403
            assert (await send(gateway, path, ("file", b"x"), key="sk-held")).status == 403
            assert (await send(gateway, path, ("file", bytes(200_000)), good, key="sk-held")).status == 403
            twice = await send(gateway, path, good, ("file", bytes(300_000)), bad, key="sk-held")
            assert (twice.status, twice.json["error"]["param"]) == (400, "model")  # type: ignore[index]
        assert len(stub.seen) == 1

    async def test_nothing_is_gathered_on_the_way_up(self, tmp_path: Path) -> None:
        seen: list[bytes] = []

        async def script(stream: trio.SocketStream) -> None:
            while b"first" not in b"".join(seen):
                seen.append(await stream.receive_some())
            arrived.set()
            while b"0\r\n\r\n" not in b"".join(seen)[-10:]:
                seen.append(await stream.receive_some())
            head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n"
            await stream.send_all(head + b'{"id":"m"}')

        arrived = trio.Event()
        async with raw_upstream(lambda _: script) as up:
            url = f"http://127.0.0.1:{up.origin.port}"
            async with serving(tmp_path, channel(url, endpoints=ALL)) as gateway:
                async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as client:
                    head = b"POST /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-acme\r\n"
                    head += b"content-type: application/octet-stream\r\ntransfer-encoding: chunked\r\n\r\n"
                    await client.send_all(head + b"5\r\nfirst\r\n")
                    with trio.fail_after(60):
                        await arrived.wait()  # before the client has said all
                    for _ in range(64):
                        await client.send_all(b"10000\r\n" + bytes(65_536) + b"\r\n")
                    await client.send_all(b"0\r\n\r\n")
                    with trio.fail_after(60):
                        assert b" 200 " in await client.receive_some()
        assert b"transfer-encoding: chunked" in b"".join(seen)
        assert sum(map(len, seen)) > 64 * 65_536

    async def test_an_early_refusal_is_told_before_the_body_is_sent(self, tmp_path: Path) -> None:
        async def early(stream: trio.SocketStream) -> None:
            await stream.receive_some()
            body = b'{"error":{"message":"no room","type":"t","code":"c"}}'
            await stream.send_all(b"HTTP/1.1 413 No\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            await trio.sleep(0.2)

        async with raw_upstream(lambda _: early) as up:
            async with serving(tmp_path, channel(f"http://127.0.0.1:{up.origin.port}", endpoints=ALL)) as gateway:
                got = await send(gateway, "/v1/files", ("purpose", b"x"), ("file", bytes(200_000)))
        assert (got.status, b"no room" in got.body) == (413, True)

    async def test_an_upload_over_the_limit_is_413(self, tmp_path: Path) -> None:
        async with one(tmp_path, whole(b"{}")) as (gateway, _):
            gateway.gateway.upload_bytes = 1000
            assert (await send(gateway, "/v1/files", ("file", bytes(2000)))).status == 413

    async def test_an_upload_is_sent_once(self, tmp_path: Path) -> None:
        async with upstream(whole(b"{}", 500)) as bad, upstream(whole(b"{}")) as good:
            channels = (channel(bad.url, endpoints=ALL), channel(good.url, name="b", tier=1, endpoints=ALL))
            async with serving(tmp_path, *channels) as gateway:
                assert (await send(gateway, "/v1/files", ("file", b"x"))).status == 500
        assert not good.seen

    async def test_a_channel_that_cannot_be_reached_costs_nothing(self, tmp_path: Path) -> None:
        async with upstream(whole(b'{"id":"f"}')) as good:
            dead = channel("http://127.0.0.1:9", endpoints=ALL)
            async with serving(tmp_path, dead, channel(good.url, name="b", tier=1, endpoints=ALL)) as gateway:
                assert (await send(gateway, "/v1/files", ("file", b"x"))).status == 200


class TestOwnership:
    async def test_a_file_is_its_organisations_own(self, tmp_path: Path) -> None:
        async with one(tmp_path, Host()) as (gateway, _):
            made = (await send(gateway, "/v1/files", ("purpose", b"fine-tune"), ("file", b"{}"))).json["id"]
            path = f"/v1/files/{made}"
            for key in (ACME, "sk-acme-2"):
                assert (await get(gateway.port, path, key=key)).json["id"] == made
                assert (await get(gateway.port, f"{path}/content", key=key)).body.startswith(b'{"a":1}')
            foreign = await get(gateway.port, path, key="sk-evil")
            unknown = await get(gateway.port, "/v1/files/files-9", key="sk-evil")
            assert foreign.status == unknown.status == 404
            assert foreign.body.replace(str(made).encode(), b"") == unknown.body.replace(b"files-9", b"")
            assert (await get(gateway.port, f"{path}/content", key="sk-evil")).status == 404
            assert (await delete(gateway, path, "sk-evil")).status == 404
            assert (await delete(gateway, path)).json["deleted"] is True
            assert (await get(gateway.port, path, key=ACME)).status == 404

    async def test_lists_hold_the_organisations_own(self, tmp_path: Path) -> None:
        host = Host()
        async with one(tmp_path, host) as (gateway, _):
            ids = [(await send(gateway, "/v1/files", ("file", b"x"))).json["id"] for _ in range(3)]
            theirs = (await send(gateway, "/v1/files", ("file", b"x"), key="sk-evil")).json["id"]
            listed = (await get(gateway.port, "/v1/files", key=ACME)).json
            assert [one["id"] for one in listed["data"]] == ids[::-1]  # type: ignore[attr-defined]
            page = (await get(gateway.port, f"/v1/files?limit=1&after={ids[2]}", key=ACME)).json
            assert ([one["id"] for one in page["data"]], page["has_more"]) == ([ids[1]], True)  # type: ignore[attr-defined]
            del host.objects[ids[0]]  # type: ignore[arg-type]
            listed = (await get(gateway.port, "/v1/files", key=ACME)).json
            assert [one["id"] for one in listed["data"]] == [ids[2], ids[1]]  # type: ignore[attr-defined]
            assert (await get(gateway.port, "/v1/files", key="sk-evil")).json["first_id"] == theirs
            assert (await get(gateway.port, "/v1/files?limit=x", key=ACME)).status == 400
            assert (await get(gateway.port, "/v1/fine_tuning/jobs", key=ACME)).json["data"] == []
        assert (b"GET", b"/v1/files") not in host.requests

    @pytest.mark.parametrize("root", ["/v1/fine_tuning/jobs", "/v1/fine-tuning/jobs"])
    async def test_jobs(self, tmp_path: Path, root: str) -> None:
        host = Host()
        async with one(tmp_path, host) as (gateway, _):
            file_id = (await send(gateway, "/v1/files", ("file", b"x"))).json["id"]
            asked = {"model": "m", "training_file": file_id}
            job = (await post(gateway.port, root, asked, key=ACME)).json["id"]
            assert (await get(gateway.port, f"{root}/{job}", key=ACME)).status == 200
            assert (await get(gateway.port, f"{root}/{job}/events?limit=5&x=y", key=ACME)).status == 200
            assert (await post(gateway.port, f"{root}/{job}/cancel", {}, key=ACME)).status == 200
            for path in (f"{root}/{job}", f"{root}/{job}/events"):
                assert (await get(gateway.port, path, key="sk-evil")).status == 404
            assert (await post(gateway.port, f"{root}/{job}/cancel", {}, key="sk-evil")).status == 404
            refused = await post(gateway.port, root, asked, key="sk-evil")
            assert refused.status == 404  # another organisation's file
        assert host.requests[1:] == [
            (b"POST", b"/v1/fine_tuning/jobs"),
            (b"GET", f"/v1/fine_tuning/jobs/{job}".encode()),
            (b"GET", f"/v1/fine_tuning/jobs/{job}/events?limit=5".encode()),
            (b"POST", f"/v1/fine_tuning/jobs/{job}/cancel".encode()),
        ]

    async def test_the_channels_own_spelling_is_used(self, tmp_path: Path) -> None:
        async with one(tmp_path, whole(b'{"id":"j"}'), endpoints=("fine-tuning",)) as (gateway, stub):
            assert (await post(gateway.port, "/v1/fine_tuning/jobs", {"model": "m"}, key=ACME)).status == 200
        assert stub.seen[0].target == b"/v1/fine-tuning/jobs"

    async def test_later_calls_go_to_the_channel_and_the_key_that_have_it(self, tmp_path: Path) -> None:
        first, second = Host(), Host()
        async with upstream(first) as a, upstream(second) as b:
            one_ = channel(a.url, endpoints=ALL, keys=(Secret("a1"),))
            other = channel(b.url, name="other", endpoints=ALL, keys=(Secret("b1"), Secret("b2")))
            async with serving(tmp_path, other) as gateway:
                made = (await send(gateway, "/v1/files", ("file", b"x"))).json["id"]
                moved = channel(b.url, name="other", endpoints=ALL, keys=(Secret("b3"), Secret("b1")))
                gateway.gateway.world = world(one_, moved, auth=True, keys=digests(dict(KEYS)))
                assert (await get(gateway.port, f"/v1/files/{made}", key=ACME)).status == 200
                job = {"model": "m", "training_file": made}
                assert (await post(gateway.port, "/v1/fine_tuning/jobs", job, key=ACME)).status == 200
        assert not a.seen
        assert {one.get(b"authorization") for one in b.seen} == {b"Bearer b1"}

    @pytest.mark.parametrize(
        "given",
        ["..%2fx", "%2e%2e", "..", ".", "a%2fb", "a%3fb", "a%23b", "%00", "a;b", "a%0d%0ab", "../x", "a//b", "x" * 999],
    )
    async def test_ids_are_one_segment(self, tmp_path: Path, given: str) -> None:
        async with one(tmp_path, Host()) as (gateway, stub):
            line = f"GET /v1/files/{given} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk-acme\r\n\r\n"
            async with await trio.open_tcp_stream("127.0.0.1", gateway.port) as client:
                await client.send_all(line.encode())
                answer = await client.receive_some()
        assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 404"))
        assert not stub.seen

    async def test_without_a_store_nothing_is_made(self) -> None:
        async with upstream(Host()) as stub:
            async with running(world(channel(stub.url, endpoints=ALL))) as gateway:
                assert (await post(gateway.port, "/v1/files", {})).status == 404
        assert not stub.seen


class TestModels:
    async def test_an_upload_streams_to_the_channel_that_hosts_models(self, tmp_path: Path) -> None:
        async with one(tmp_path, whole(b'{"model_id":"custom","status":"uploading"}', 201)) as (gateway, stub):
            got = await send(
                gateway, "/v1/models", ("file", bytes(300_000)), ("config", b"{}"), ("model_id", b"custom-model")
            )
            assert (await get(gateway.port, "/v1/models", key=ACME)).status == 200
        assert (got.status, stub.seen[0].target, len(stub.seen[0].body) > 300_000) == (201, b"/v1/models", True)


async def test_the_official_client(tmp_path: Path) -> None:
    async with one(tmp_path, Host()) as (gateway, _):
        async with openai.AsyncOpenAI(api_key=ACME, base_url=f"{gateway.url}/v1", max_retries=0) as client:
            made = await client.files.create(file=("a.jsonl", b"{}"), purpose="fine-tune")
            job = await client.fine_tuning.jobs.create(model="m", training_file=made.id)
            found = [one.id async for one in client.files.list()]
            await client.files.delete(made.id)
    assert found == [made.id]
    assert job.id
