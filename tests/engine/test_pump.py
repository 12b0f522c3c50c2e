"""With and without the pump a client gets the same bytes and the books the same figures, wherever reads are cut, the
upstream breaks off, and the client stops reading or leaves.

A few hundred streams in every run; with --slow as many thousands.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

import orjson
import pytest
import trio

from fastanchor._speedups.http1 import chunk
from fastanchor._speedups.pump import Flow
from fastanchor.core.channel import Timeouts
from fastanchor.core.receipt import Receipt
from fastanchor.core.route import Route
from fastanchor.wire import pump
from tests.kit.gateway import Running, channel, running, world
from tests.kit.raw_upstream import RawUpstream, Script, raw_upstream, read_request

pytestmark = pytest.mark.skipif(Flow is None, reason="the pump is not built, or not wanted")

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
MINTED = re.compile(rb"req_\w+|chatcmpl-\w+|msg_\w+|\d+ ms|overhead-ms: [\d.]+|date: [^\r]*|\"created\":\d+")
WORDS = ("anchor", "rope", " ", "naïve", "漢字", "\\n", '"quoted"', "[DONE", "error", "finish_reason", "🚢")


def chat_events(random: Random, count: int) -> list[bytes]:
    def event(delta: dict[str, object], **more: object) -> bytes:
        body = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}]}
        return b"data: " + orjson.dumps(body) + b"\n\n"

    events = [event({"role": "assistant", "content": ""})]
    events += [event({"content": text(random)}) for _ in range(count)]
    events.append(event({}, finish_reason="stop"))
    events.append(b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9,"total_tokens":16}}\n\n')
    return [*events, b"data: [DONE]\n\n"]


def message_events(random: Random, count: int) -> list[bytes]:
    def event(kind: str, **members: object) -> bytes:
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps({"type": kind, **members}))

    begin = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
             "stop_reason": None, "usage": {"input_tokens": 7, "output_tokens": 1}}
    return [
        event("message_start", message=begin),
        event("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(event("content_block_delta", index=0, delta={"type": "text_delta", "text": text(random)})
          for _ in range(count)),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 9}),
        event("message_stop"),
    ]


def text(random: Random) -> str:
    return "".join(random.choices(WORDS, k=random.randint(1, 4)))


ODD = (
    b": a comment\n\n",
    b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n',
    b"data: {broken\n\n",
    b"event: ping\ndata: {\"type\":\"ping\"}\n\n",
)  # fmt: skip


@dataclass(frozen=True)
class Case:
    """What an upstream says, in which writes, and what its client does."""

    seed: int
    provider: str
    client: str

    def writes(self) -> list[bytes]:
        """The answer behind its head, as it is written; an empty write is a pause."""
        random = Random(self.seed)
        make = chat_events if self.provider == "openai" else message_events
        events = make(random, random.choice((3, 10, 40)))
        if random.random() < 0.3:
            events.insert(random.randrange(2, len(events)), random.choice(ODD))
        body = b"".join(events)
        framed = b"".join(map(chunk, pieces(random, body, events))) + b"0\r\n\r\n"
        if random.random() < 0.3:  # it breaks off
            framed = framed[: random.randrange(len(framed))]
        elif random.random() < 0.1:
            at = random.randrange(len(framed))
            framed = framed[:at] + b"\x00" + framed[at + 1 :]
        size = random.choice((1_000_000, 300, 40, 7))
        return [framed[at : at + size] for at in range(0, len(framed), size)]

    @property
    def path(self) -> str:
        return "/v1/chat/completions" if self.client == "openai" else "/v1/messages"


def pieces(random: Random, body: bytes, events: list[bytes]) -> list[bytes]:
    """The chunks of a body: an event each, or cut anywhere."""
    if random.random() < 0.5:
        return events
    cuts = sorted(random.sample(range(1, len(body)), min(len(body) - 1, 20)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


@dataclass(frozen=True)
class Seen:
    """What came of one case: the client's bytes, and the receipt without its times."""

    got: bytes
    receipt: tuple[object, ...]


@asynccontextmanager
async def gateway(case: Case, url: str) -> AsyncIterator[Running]:
    one = channel(
        url, provider=case.provider, base_url=url + ("/v1" if case.provider == "openai" else ""),
        timeouts=Timeouts(connect=2.0, first_token=5.0, idle=5.0, total=60.0),
    )  # fmt: skip
    async with running(world(one, routes=(Route(attempts=1),))) as gate:
        yield gate


def writes(case: Case) -> Callable[[RawUpstream], Script]:
    def bound(_: RawUpstream) -> Script:
        async def script(stream: trio.SocketStream) -> None:
            while await read_request(stream):
                await stream.send_all(HEAD)
                for piece in case.writes():
                    await stream.send_all(piece)
                    await trio.lowlevel.checkpoint()
                return

        return script

    return bound


def request(case: Case) -> bytes:
    body = orjson.dumps(
        {"model": "m", "stream": True, "max_tokens": 99, "messages": [{"role": "user", "content": "Hello"}]}
    )
    return (
        b"POST %b HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n%b" % (case.path.encode(), len(body), body)
    )


async def played(case: Case) -> Seen:
    """One case through a gateway of its own."""
    async with raw_upstream(writes(case)) as up, gateway(case, f"http://127.0.0.1:{up.origin.port}") as gate:
        with trio.fail_after(20):
            stream = await trio.open_tcp_stream("127.0.0.1", gate.port)
            got = b""
            async with stream:
                await stream.send_all(request(case))
                try:
                    async for data in stream:
                        got += data
                except trio.BrokenResourceError:
                    got += b"<reset>"
            (receipt,) = await gate.settled()
            assert gate.pool.counts(up.origin)[0] == 0
        return Seen(unframed(got), figures(receipt))


def unframed(got: bytes) -> bytes:
    """The answer without what differs from run to run: minted ids, times, and where chunks were cut."""
    head, _, body = MINTED.sub(b"<minted>", got).partition(b"\r\n\r\n")
    return head + b"\r\n\r\n" + re.sub(rb"(?:\A|\r\n)[0-9a-f]+\r\n", b"", body)


def figures(receipt: Receipt) -> tuple[object, ...]:
    attempts = tuple((record.outcome, record.usage) for record in receipt.attempts)
    return (receipt.status, receipt.ending, receipt.usage, receipt.bytes_out, receipt.cost, attempts)


class Spy:
    """Counts the flows that were opened, to be sure that something was pumped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = 0
        plain = pump.Pump.run

        async def run(one: pump.Pump, until: float) -> bool:
            self.runs += 1
            return await plain(one, until)

        monkeypatch.setattr(pump.Pump, "run", run)


PAIRS = [("openai", "openai"), ("anthropic", "anthropic"), ("anthropic", "openai"), ("openai", "anthropic")]


async def differ(count: int, start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    for seed in range(start, start + count):
        provider, client = PAIRS[seed % len(PAIRS)]
        case = Case(seed, provider, client)
        with monkeypatch.context() as off:
            off.setattr(pump, "Flow", None)
            plain = await played(case)
        assert await played(case) == plain, case
    assert spy.runs > count / 2


async def test_the_same_bytes_and_figures_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    await differ(100, 0, monkeypatch)


@pytest.mark.slow
async def test_the_same_bytes_and_figures_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    await differ(20_000, 1000, monkeypatch)
