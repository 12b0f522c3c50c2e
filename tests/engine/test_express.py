"""Requests that are served without a task: the same for client, provider, log and books as those that have one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields, replace

import orjson
import pytest
import trio

from fastanchor._speedups.express import EXPRESS
from fastanchor.core.principal import Principal
from fastanchor.core.receipt import Receipt
from fastanchor.core.route import Hedge, Route
from fastanchor.engine import express
from fastanchor.wire.message import Reply
from tests.kit.gateway import Running, channel, digests, running, world
from tests.kit.raw_upstream import RawUpstream, raw_upstream, read_request, says
from tests.kit.upstream import Seen, in_turn, upstream, whole

pytestmark = pytest.mark.skipif(not EXPRESS, reason="the compiled half is not in use")

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello there"}]}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
ANSWER = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": USAGE,
}  # fmt: skip
GOOD = orjson.dumps(ANSWER)
VARY = ("x-request-id", "request-id", "x-fastanchor-attempts", "x-fastanchor-overhead-ms", "date")


@dataclass
class Got:
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    def told(self) -> tuple[int, dict[str, str], bytes]:
        """What does not change from request to request."""
        return self.status, {name: value for name, value in self.headers.items() if name not in VARY}, self.body


class Client:
    """One connection that is kept."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def ask(self, document: object = CHAT, *, key: str = "", fields: bytes = b"", pieces: int = 1) -> Got:
        await self.send(document, key=key, fields=fields, pieces=pieces)
        return await self.answer()

    async def send(self, document: object = CHAT, *, key: str = "", fields: bytes = b"", pieces: int = 1) -> None:
        data = request(document, key, fields)
        step = -(-len(data) // pieces)
        for at in range(0, len(data), step):
            await self.stream.send_all(data[at : at + step])
            await trio.sleep(0.01 if pieces > 1 else 0)

    async def answer(self) -> Got:
        with trio.fail_after(10):
            while b"\r\n\r\n" not in self.buffer:
                self.buffer += await self._more()
            head, _, rest = self.buffer.partition(b"\r\n\r\n")
            status, *lines = head.decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in lines)
            size = int(headers["content-length"])
            while len(rest) < size:
                rest += await self._more()
        self.buffer = rest[size:]
        return Got(int(status.split()[1]), headers, rest[:size])

    async def _more(self) -> bytes:
        data = bytes(await self.stream.receive_some())
        assert data, "the connection ended"
        return data


def request(document: object, key: str = "", fields: bytes = b"") -> bytes:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    carried = f"authorization: Bearer {key}\r\n".encode() if key else b""
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    return head + carried + fields + b"Content-Length: %d\r\n\r\n" % len(body) + body


@asynccontextmanager
async def client(port: int) -> AsyncIterator[Client]:
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        yield Client(stream)


@asynccontextmanager
async def taught(gateway: Running, *, key: str = "", document: object = CHAT) -> AsyncIterator[Client]:
    """A client whose connection has learnt its requests."""
    async with client(gateway.port) as one:
        for _ in range(2):
            assert (await one.ask(document, key=key)).status == 200
        yield one


class Rides:
    """How many requests have gone on lanes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = self.ended = self.handed_on = 0
        for name, count in (("begin", "begun"), ("end", "ended"), ("go_on", "handed_on")):
            self._watch(monkeypatch, name, count)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str, count: str) -> None:
        original = getattr(express.Lane, name)

        def watched(lane: express.Lane, *args: object) -> object:
            done = original(lane, *args)
            setattr(self, count, getattr(self, count) + bool(done))
            return done

        monkeypatch.setattr(express.Lane, name, watched)


@pytest.fixture
def rides(monkeypatch: pytest.MonkeyPatch) -> Rides:
    return Rides(monkeypatch)


def at_rest(gateway: Running) -> bool:
    """Whether no request and no place is taken."""
    channels = gateway.gateway.traffic.health.channels.values()
    return gateway.gateway.in_flight == 0 and all(state.concurrency.in_flight == 0 for state in channels)


def accounted(receipt: Receipt) -> dict[str, object]:
    """A receipt but for what time and chance have put in it."""
    vary = {"request_id", "started", "seconds", "first_token", "overhead", "client"}
    told = {f.name: getattr(receipt, f.name) for f in fields(receipt) if f.name not in vary}
    told["attempts"] = [replace(a, started=0.0, seconds=0.0, first_token=0.0) for a in receipt.attempts]
    return told


async def test_a_third_request_like_the_others_needs_no_task(rides: Rides) -> None:
    async with upstream(whole(GOOD)) as up, running(world(channel(up.url))) as gateway, taught(gateway) as one:
        await one.ask()
        await one.ask()
    assert (rides.begun, rides.ended) == (2, 2)


@pytest.mark.parametrize("changes", [{}, {"models": {"gpt-4o": "gpt-4o-2024"}, "any_model": False}], ids=str)
async def test_client_provider_and_log_see_the_same(changes: dict[str, object], rides: Rides) -> None:
    async with (
        upstream(whole(GOOD)) as up,
        running(world(channel(up.url, **changes))) as gateway,
        taught(gateway) as one,
    ):
        async with client(gateway.port) as other:
            ordinary = await other.ask()
        on_lane = await one.ask()
        receipts = await gateway.settled(4)
    assert rides.ended == 1
    assert on_lane.told() == ordinary.told()
    assert accounted(receipts[-1]) == accounted(receipts[-2])
    assert up.seen[-1] == up.seen[-2]
    assert on_lane.headers.keys() == ordinary.headers.keys()


USAGES: list[dict[str, object]] = [
    USAGE,
    {**USAGE, "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0}},
    {**USAGE, "prompt_tokens_details": None, "completion_tokens_details": {"reasoning_tokens": 0}},
    {**USAGE, "completion_tokens_details": {"reasoning_tokens": 2}},
    {**USAGE, "cost": 0.25},
    {**USAGE, "total_tokens": None},
    {**USAGE, "prompt_tokens": 7.0},
    {**USAGE, "prompt_cache_hit_tokens": 5},
    {"prompt_tokens": 7},
    {},
]


@pytest.mark.parametrize("usage", USAGES, ids=str)
async def test_usage_is_read_alike(usage: dict[str, object]) -> None:
    body = orjson.dumps({**ANSWER, "usage": usage})
    async with upstream(whole(body)) as up, running(world(channel(up.url))) as gateway, taught(gateway) as one:
        assert (await one.ask()).body == body
        ordinary, _, on_lane = await gateway.settled(3)
    assert on_lane.usage == ordinary.usage


ORDINARY = [
    ("stream", {**CHAT, "stream": True}, b""),
    ("another model", {**CHAT, "model": "gpt-4o-mini"}, b""),
    ("two answers", {**CHAT, "n": 2}, b""),
    ("no messages", {**CHAT, "messages": []}, b""),
    ("no JSON", b'{"model": "gpt-4o", "messages": [', b""),
    ("a member twice", b'{"model": "gpt-4o", "model": "gpt-4o", "messages": [{"role": "user", "content": "x"}]}', b""),
    ("a wrong bound", {**CHAT, "max_tokens": "many"}, b""),
    ("a negative bound", {**CHAT, "max_tokens": -1}, b""),
    ("another field", CHAT, b"X-Other: 1\r\n"),
    ("close", CHAT, b"Connection: close\r\n"),
]


@pytest.mark.parametrize(("document", "fields"), [case[1:] for case in ORDINARY], ids=[case[0] for case in ORDINARY])
async def test_what_is_unlike_has_its_task(document: object, fields: bytes, rides: Rides) -> None:
    async with upstream(whole(GOOD)) as up, running(world(channel(up.url))) as gateway, taught(gateway) as one:
        await one.send(document, fields=fields)
        await one.stream.receive_some()
    assert rides.begun == 0


async def test_a_request_in_pieces_has_its_task(rides: Rides) -> None:
    async with upstream(whole(GOOD)) as up, running(world(channel(up.url))) as gateway, taught(gateway) as one:
        assert (await one.ask(pieces=3)).body == GOOD
    assert rides.begun == 0


async def test_what_is_sent_ahead_is_answered_in_order(rides: Rides) -> None:
    answers = [orjson.dumps({**ANSWER, "id": f"chatcmpl-{n}"}) for n in range(6)]
    async with (
        upstream(in_turn(*map(whole, answers))) as up,
        running(world(channel(up.url))) as gateway,
        taught(gateway) as one,
    ):
        for _ in range(4):
            await one.send()
        assert [(await one.answer()).body for _ in range(4)] == answers[2:]
    assert rides.begun >= 1


Odd = Callable[[Seen, Reply], Awaitable[None]]


async def _chunked(seen: Seen, reply: Reply) -> None:
    await reply.start(200, [(b"content-type", b"application/json")], GOOD[:20])
    await reply.finish(GOOD[20:])


def _error(message: str) -> bytes:
    return orjson.dumps({"error": {"message": message, "type": "server_error"}})


ODD_ANSWERS: dict[str, Odd] = {
    "500": whole(_error("no"), 500),
    "429": whole(_error("slow down"), 429),
    "chunked": _chunked,
    "no JSON": whole(b"<html>"),
    "empty": whole(b""),
    "no choices": whole(orjson.dumps({**ANSWER, "choices": []})),
    "an error in a 200": whole(_error("overloaded")),
    "no usage": whole(orjson.dumps({k: v for k, v in ANSWER.items() if k != "usage"})),
    "one field twice": whole(b'{"choices": [{}], "choices": [{}], "usage": {"prompt_tokens": 1}}'),
}


@pytest.mark.parametrize("odd", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
async def test_an_odd_answer_comes_to_the_same(odd: Odd, rides: Rides) -> None:
    """With another channel to go to, and without."""
    for spare in (True, False):
        outcomes = []
        for lane in (True, False):
            rides.begun = 0
            outcomes.append(await _third_answer(odd, rides, spare=spare, lane=lane))
        assert outcomes[0] == outcomes[1]


async def _third_answer(odd: Odd, rides: Rides, *, spare: bool, lane: bool) -> object:
    """What client and log get of a request whose first provider answers oddly."""
    good = whole(GOOD)
    async with upstream(in_turn(good, good, odd, good)) as up, upstream(good) as other:
        channels = [channel(up.url)] + [channel(other.url, name="spare", tier=1)] * spare
        route = Route(attempts=1 + spare)
        async with running(world(*channels, routes=(route,))) as gateway, taught(gateway) as one:
            got = await one.ask(fields=b"" if lane else b"X-Other: 1\r\n")
            receipt = (await gateway.settled(3))[-1]
            assert at_rest(gateway)
            assert rides.begun == lane
            assert (await one.ask()).status == 200
    return got.told(), accounted(receipt)



async def test_a_connection_that_was_closed_meanwhile_is_made_anew(rides: Rides) -> None:
    plain = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(GOOD) + GOOD

    def closing(up: RawUpstream) -> Callable[[trio.SocketStream], Awaitable[None]]:
        async def script(stream: trio.SocketStream) -> None:
            for _ in range(2):
                await read_request(stream)
                await stream.send_all(plain)
            await read_request(stream)  # and is gone with the third

        return script

    async with raw_upstream(closing, says(plain, hold=True)) as up:
        url = f"http://127.0.0.1:{up.origin.port}"
        async with running(world(channel(url))) as gateway, taught(gateway) as one:
            assert (await one.ask()).body == GOOD
            assert at_rest(gateway)
    assert up.connections == 2
    assert (rides.begun, rides.handed_on) == (1, 1)


async def test_an_answer_in_pieces_is_put_together(rides: Rides) -> None:
    plain = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(GOOD) + GOOD
    async with raw_upstream(says(plain, plain, plain, step=100)) as up:
        url = f"http://127.0.0.1:{up.origin.port}"
        async with running(world(channel(url))) as gateway, taught(gateway) as one:
            assert (await one.ask()).body == GOOD


async def test_a_late_answer_goes_on_in_the_task(rides: Rides, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(express, "PATIENCE", 0.05)

    async def late(seen: Seen, reply: Reply) -> None:
        await trio.sleep(0.6)
        await whole(GOOD)(seen, reply)

    good = whole(GOOD)
    async with (
        upstream(in_turn(good, good, late, good)) as up,
        running(world(channel(up.url))) as gateway,
        taught(gateway) as one,
    ):
        assert (await one.ask()).body == GOOD
        assert len((await gateway.settled(3))[-1].attempts) == 1
        assert at_rest(gateway)
    assert (rides.begun, rides.ended, rides.handed_on, len(up.seen)) == (1, 0, 1, 3)


async def test_a_late_answer_is_hedged(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(seen: Seen, reply: Reply) -> None:
        await trio.sleep_forever()

    good = whole(GOOD)
    route = Route(hedge=Hedge(after=0.3))
    async with upstream(in_turn(good, good, never)) as up, upstream(good) as other:
        channels = channel(up.url), channel(other.url, name="spare", tier=1)
        async with running(world(*channels, routes=(route,))) as gateway, taught(gateway) as one:
            assert (await one.ask()).headers["x-fastanchor-channel"] == "spare"
            with trio.fail_after(5):
                while not at_rest(gateway):  # noqa: ASYNC110 - plain numbers
                    await trio.sleep(0.01)


async def test_a_client_that_leaves_takes_its_upstream_along(rides: Rides) -> None:
    asked = trio.Event()

    async def never(seen: Seen, reply: Reply) -> None:
        asked.set()
        await trio.sleep_forever()

    good = whole(GOOD)
    async with upstream(in_turn(good, good, never)) as up, running(world(channel(up.url))) as gateway:
        async with taught(gateway) as one:
            await one.send()
            await asked.wait()
        receipt = (await gateway.settled(3))[-1]
        with trio.fail_after(5):
            while not up.left:  # noqa: ASYNC110 - a plain number
                await trio.sleep(0.001)
        assert at_rest(gateway)
    assert receipt.ending == "client_gone"
    assert [attempt.outcome for attempt in receipt.attempts] == ["cancelled"]
    assert rides.begun == 1


async def test_who_reads_slowly_gets_it_all(rides: Rides) -> None:
    text = "x" * 60_000
    body = orjson.dumps({**ANSWER, "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})
    async with upstream(whole(body)) as up, running(world(channel(up.url))) as gateway, taught(gateway) as one:
        for _ in range(60):
            await one.send()
            await trio.sleep(0.001)
        for _ in range(60):
            assert (await one.answer()).body == body
        assert at_rest(gateway)
    assert rides.begun > 0


async def test_a_new_configuration_holds_for_the_next_request(rides: Rides) -> None:
    async with upstream(whole(GOOD)) as up, upstream(whole(GOOD)) as new, running(world(channel(up.url))) as gateway:
        async with taught(gateway) as one:
            gateway.gateway.world = world(channel(new.url))
            await one.ask()
    assert (len(up.seen), len(new.seen), rides.begun) == (2, 1, 0)


async def test_a_key_that_has_expired_opens_nothing(monkeypatch: pytest.MonkeyPatch, rides: Rides) -> None:
    holder = Principal("k1", "k1", "acme", expires=2e9)
    keys = digests({"sk-1": holder})
    async with upstream(whole(GOOD)) as up, running(world(channel(up.url), auth=True, keys=keys)) as gateway:
        async with taught(gateway, key="sk-1") as one:
            assert (await one.ask(key="sk-1")).status == 200
            monkeypatch.setattr("time.time", lambda: 3e9)
            assert (await one.ask(key="sk-1")).status == 401
    assert rides.ended == 1


async def test_another_key_is_another_request(rides: Rides) -> None:
    keys = digests({"sk-1": Principal("k1", "k1", "acme")})
    async with upstream(whole(GOOD)) as up, running(world(channel(up.url), auth=True, keys=keys)) as gateway:
        async with taught(gateway, key="sk-1") as one:
            assert (await one.ask(key="sk-2")).status == 401
    assert rides.begun == 0


async def test_a_drain_answers_what_is_under_way_and_closes(rides: Rides) -> None:
    asked, go = trio.Event(), trio.Event()

    async def held(seen: Seen, reply: Reply) -> None:
        asked.set()
        await go.wait()
        await whole(GOOD)(seen, reply)

    good = whole(GOOD)
    async with upstream(in_turn(good, good, held)) as up, running(world(channel(up.url))) as gateway:
        async with taught(gateway) as one:
            await one.send()
            await asked.wait()
            gateway.drain.start()
            go.set()
            got = await one.answer()
            assert (got.body, got.headers["connection"]) == (GOOD, "close")
            assert await one.stream.receive_some() == b""
    assert rides.begun == 1


async def test_a_channel_that_is_full_is_waited_for(rides: Rides) -> None:
    async with upstream(whole(GOOD)) as up, running(world(channel(up.url, max_concurrency=1))) as gateway:
        async with taught(gateway) as one:
            state = gateway.gateway.traffic.health.channels["main"]
            state.concurrency.in_flight += 1
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.ask)
                await trio.sleep(0.05)
                assert rides.begun == 0
                gateway.gateway.traffic.ended(gateway.gateway.world.channels[0], 0)


async def test_a_worker_that_is_cut_off_accounts_for_what_was_under_way() -> None:
    asked = trio.Event()

    async def never(seen: Seen, reply: Reply) -> None:
        asked.set()
        await trio.sleep_forever()

    good = whole(GOOD)
    async with upstream(in_turn(good, good, never)) as up:
        async with running(world(channel(up.url))) as gateway, client(gateway.port) as one:
            for _ in range(2):
                await one.ask()
            await one.send()
            await asked.wait()
        assert [receipt.ending for receipt in gateway.receipts] == ["done", "done", "client_gone"]
        assert at_rest(gateway)


