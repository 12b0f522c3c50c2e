"""One try at one channel: from a candidate to an answer whose first content has been seen, or a Fault.

An attempt touches nothing of the client: until it returns, status, failover and retry are free. The answer it returns
holds the bytes that are already decoded; whoever wins sends them, whoever loses closes them.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import orjson
import trio

from fastanchor._speedups.peek import peek
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.receipt import AttemptRecord
from fastanchor.core.usage import Usage
from fastanchor.dialects import registry as dialects
from fastanchor.dialects import relay as relays
from fastanchor.dialects.contract import Answering, Dialect, Target
from fastanchor.dialects.splice import Splice
from fastanchor.engine.exchange import Exchange, HeaderView
from fastanchor.engine.traffic import Traffic
from fastanchor.policy.plan import Candidate, Start
from fastanchor.providers import catalogue, classify
from fastanchor.providers.registry import provider
from fastanchor.wire import errors as wire
from fastanchor.wire.dial import Origin
from fastanchor.wire.pool import Pool

if TYPE_CHECKING:
    from fastanchor.dialects.relay import Relay
    from fastanchor.providers.contract import Provider
    from fastanchor.wire.client_h1 import Response

MAX_ERROR_BODY = 64 * 1024
MAX_ANSWER_BODY = 64 * 1024 * 1024

FAULTS: tuple[tuple[type[wire.WireError], Kind], ...] = (
    # what the wire reports before any content, most special first
    (wire.ConnectTimeout, Kind.CONNECT_TIMEOUT),
    (wire.TLSFailed, Kind.TLS_FAILED),
    (wire.ConnectFailed, Kind.CONNECT_FAILED),
    (wire.ResetBeforeResponse, Kind.RESET),
    (wire.ResponseTimeout, Kind.SILENT),
    (wire.ReadTimeout, Kind.SILENT),
    (wire.Truncated, Kind.TRUNCATED),
    (wire.BadResponse, Kind.MALFORMED_ANSWER),
)


class Answer:
    """An upstream's reply whose first content has been seen.

    `relay` is None for a whole answer, which is in `body` then; of a stream, `body` is what is ready to be sent.
    """

    __slots__ = ("body", "candidate", "relay", "response", "traffic")

    def __init__(
        self, candidate: Candidate, response: Response, relay: Relay | None, body: bytes, traffic: Traffic
    ) -> None:
        self.candidate = candidate
        self.response = response
        self.relay = relay
        self.body = body
        self.traffic: Traffic | None = traffic

    def close(self) -> None:
        """Close the upstream at once, or give its connection back when the answer was read to its end."""
        self.response.close()
        if self.traffic is not None:
            self.traffic.ended(self.candidate.channel)
            self.traffic = None


def fault_of(error: wire.WireError) -> Fault:
    """What a wire error before any content means."""
    return Fault(next((kind for cls, kind in FAULTS if isinstance(error, cls)), Kind.UPSTREAM_ERROR))


def check_whole(body: bytes) -> None:
    """Raises Fault for a 200 whose body is empty, no JSON object, or an error in disguise."""
    if not body.strip():
        raise Fault(Kind.EMPTY_ANSWER)
    top = peek(body, (b"error", b"choices"))
    if top is None:
        error, choices = _odd(body)
    else:
        error, choices = top.raw(b"error"), top.raw(b"choices")
    if error not in (None, b"null"):
        raise classify.from_event(body)
    if choices == b"[]":
        raise Fault(Kind.EMPTY_ANSWER)


def _odd(body: bytes) -> tuple[bytes | None, bytes | None]:
    """The fields of a body that `peek` leaves to a full parser."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Fault(Kind.MALFORMED_ANSWER) from None
    if not isinstance(document, dict):
        raise Fault(Kind.MALFORMED_ANSWER)
    error, choices = (orjson.dumps(document[name]) if name in document else None for name in ("error", "choices"))
    return error, choices


class Attempt:
    """Executes one `Start` of the plan."""

    __slots__ = (
        "began",
        "candidate",
        "exchange",
        "limit",
        "pool",
        "renamed",
        "sent",
        "speaker",
        "spoken",
        "start",
        "traffic",
    )

    def __init__(self, exchange: Exchange, pool: Pool, traffic: Traffic, start: Start) -> None:
        self.exchange = exchange
        self.pool = pool
        self.traffic = traffic
        self.start = start
        self.candidate = start.candidate
        self.speaker: Provider = provider(start.candidate.channel.provider)
        self.spoken = self.speaker.dialect(start.candidate.channel, exchange.asked)
        self.renamed: Mapping[str, str] = {}
        self.sent = False
        self.began = trio.current_time()
        self.limit = min(self.began + start.candidate.channel.timeouts.first_token, exchange.deadline)
        traffic.health.started(start.candidate.channel, self.began)

    async def run(self) -> Answer:
        """Ask the channel and wait for its first content.

        Raises:
            Fault: the attempt failed; its record is already written.
        """
        channel, key, health = self.candidate.channel, self.candidate.key, self.traffic.health
        try:
            answer = await self._ask()
        except Fault as fault:
            health.failed(channel, key, fault, trio.current_time())
            self._ended(fault.kind.value)
            raise
        except BaseException:
            health.abandoned(channel)
            self._ended("lost" if self.sent else "cancelled")
            raise
        now = trio.current_time()
        health.answered(channel, key, now - self.began, now)
        self._record("won")
        return answer

    def _ended(self, outcome: str) -> None:
        self.traffic.ended(self.candidate.channel)
        self._record(outcome)

    async def _ask(self) -> Answer:
        body, relay = self._prepare()
        try:
            response = await self._send(body)
        except wire.WireError as error:
            raise fault_of(error) from error
        try:
            if response.status != 200:
                raise await self._refusal(response)
            if relay is None:
                return await self._whole(response)
            return await self._first_content(response, relay)
        except wire.WireError as error:
            response.close()
            raise fault_of(error) from error
        except BaseException:
            response.close()
            raise

    def _prepare(self) -> tuple[bytes, Relay | None]:
        """The request body in the channel's language, and what will carry a streamed answer back."""
        exchange, call, model = self.exchange, self.exchange.asked, self.candidate.model
        if self.spoken == call.dialect:
            return exchange.spoken.edit(call, model), self._carrier(exchange.spoken) if call.stream else None
        target = dialects.dialect(self.spoken)
        if call.prompt is None:
            call.prompt = exchange.spoken.parse(call)
        written = target.write(call.prompt, self._target())
        exchange.dropped = written.dropped
        self.renamed = written.renamed
        if not call.stream:
            return written.body, None
        return written.body, self._carrier(target)

    def _carrier(self, source: Dialect) -> Relay:
        """What brings a stream in `source` to the client: on from where it stands, when it has a half answer."""
        exchange = self.exchange
        call, client = exchange.asked, exchange.spoken
        if exchange.half is not None:
            self.limit = exchange.deadline  # saying again what was said may take as long as it took
            return Splice(source, client, call, self._answering(), exchange.half)
        if source is client:
            return relays.passthrough(client, call)
        return relays.translate(source, client, call, self._answering())

    def _target(self) -> Target:
        channel, call = self.candidate.channel, self.exchange.asked
        return Target(
            model=self.candidate.model,
            card=catalogue.card(self.candidate.model),
            quirks=self.speaker.quirks(channel, self.candidate.model),
            options=channel.options,
            stream=call.stream,
            strict=channel.options.get("strict", "1") != "0",
        )

    def _answering(self) -> Answering:
        exchange = self.exchange
        return Answering(
            call=exchange.asked,
            model=self.candidate.public_model,
            request_id=exchange.request_id,
            created=int(exchange.wall),
            renamed=self.renamed,
            options={"anthropic_done": "1" if exchange.world.anthropic_done else "0"},
        )

    async def _send(self, body: bytes) -> Response:
        channel, exchange = self.candidate.channel, self.exchange
        key = channel.keys[self.candidate.key] if self.candidate.key >= 0 else None
        upstream = self.speaker.upstream(
            channel, key, self.spoken, exchange.asked, self.candidate.model, body, HeaderView(exchange.request)
        )
        self.sent = True
        if exchange.sent_upstream is None:
            exchange.sent_upstream = trio.current_time()
        return await self.pool.request(
            Origin(channel.scheme, channel.host, channel.port),
            upstream.method,
            upstream.target,
            upstream.headers,
            upstream.body,
            connect_timeout=min(channel.timeouts.connect, self._patience()),
            first_byte_timeout=self._patience(),
        )

    async def _refusal(self, response: Response) -> Fault:
        response.idle_timeout = self.candidate.channel.timeouts.idle
        body = await response.read_all(MAX_ERROR_BODY)
        response.close()
        return classify.from_answer(response.status, response.get, body, self.spoken, time.time())

    async def _whole(self, response: Response) -> Answer:
        response.idle_timeout = self._patience()
        body = await response.read_all(MAX_ANSWER_BODY)
        check_whole(body)
        source = dialects.dialect(self.spoken)
        usage = source.usage_of(body)
        if self.spoken != self.exchange.asked.dialect:
            body = relays.whole(source, self.exchange.spoken, body, self._answering())
        self.exchange.usage = usage
        self.exchange.first_token = trio.current_time()
        return Answer(self.candidate, response, None, body, self.traffic)

    async def _first_content(self, response: Response, relay: Relay) -> Answer:
        """Read until the first content has been decoded: the commit point."""
        ready = b""
        while not relay.started:
            response.idle_timeout = self._patience()
            data = await response.read()
            ready += relay.feed(data) if data else relay.end()
            if relay.fault is not None:
                raise relay.fault
            if not data:
                break
        if not relay.started and not relay.complete:
            raise Fault(Kind.EMPTY_ANSWER)
        self.exchange.first_token = trio.current_time()
        response.idle_timeout = self.candidate.channel.timeouts.idle
        return Answer(self.candidate, response, relay, ready, self.traffic)

    def _patience(self) -> float:
        """Seconds left until the first content must have come."""
        left = self.limit - trio.current_time()
        if left <= 0:
            raise Fault(Kind.SILENT)
        return min(left, self.candidate.channel.timeouts.first_token)

    def _wasted(self) -> Usage:
        """What a loser was asked to read: its provider charges that, whoever won."""
        return Usage(input=self.exchange.asked.prompt_tokens, output=0, estimated=True)

    def _record(self, outcome: str) -> None:
        exchange, now = self.exchange, trio.current_time()
        exchange.attempts.append(
            AttemptRecord(
                channel=self.candidate.channel.name,
                model=self.candidate.model,
                key=self.candidate.key,
                why=self.start.why,
                outcome=outcome,
                started=self.began - exchange.began,
                seconds=now - self.began,
                first_token=now - self.began if outcome == "won" else None,
                usage=self._wasted() if outcome == "lost" else None,
            )
        )
