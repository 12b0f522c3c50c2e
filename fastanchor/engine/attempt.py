"""One try at one channel: from a candidate to an answer whose first content has been seen, or a Fault.

An attempt touches nothing of the client: until it returns, status, failover and retry are free. The answer it returns
holds the bytes that are already decoded; whoever wins sends them, whoever loses closes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

import orjson

from fastanchor._speedups.peek import peek
from fastanchor.core.call import Call
from fastanchor.core.channel import Http2, base
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.receipt import AttemptRecord
from fastanchor.core.usage import Usage
from fastanchor.dialects import registry as dialects
from fastanchor.dialects import relay as relays
from fastanchor.dialects.contract import Answering, Dialect, Target
from fastanchor.dialects.prefill import Continuation
from fastanchor.dialects.splice import Splice
from fastanchor.engine.admit import attempted
from fastanchor.engine.begun import continued
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.traffic import Traffic
from fastanchor.engine.upstreams import Response, Upstreams
from fastanchor.policy.asked import Candidate, Start
from fastanchor.policy.pricing import cost
from fastanchor.providers import catalogue, classify
from fastanchor.providers.registry import provider
from fastanchor.wire import errors as wire
from fastanchor.wire.dial import Origin

if TYPE_CHECKING:
    from fastanchor.dialects.relay import Relay
    from fastanchor.providers.contract import Provider

MAX_ERROR_BODY = 64 * 1024
MAX_ANSWER_BODY = 64 * 1024 * 1024
ERROR_BODY_SECONDS = 2.0
"""How long the body of an error may stand still; its status says most."""
WHOLE_TIMES = 4.0
CLOCK_SLACK = 0.01
"""Seconds by which two ways to the same deadline may differ."""

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


@cache
def origin(url: str, http2: Http2 = "auto", verify_tls: bool = True) -> Origin:
    """The origin of a channel's base URL. Cached: only the operator names URLs."""
    return Origin(*base(url)[:3], http2, verify_tls)


class Answer:
    """An upstream's reply whose first content has been seen.

    `relay` is None for a whole answer, which is in `body` then, with its `usage`; of a stream, `body` is what is ready
    to be sent.
    """

    __slots__ = ("attempt", "body", "relay", "response", "usage")

    def __init__(self, attempt: Attempt, response: Response, relay: Relay | None, body: bytes, usage: Usage) -> None:
        self.attempt = attempt
        self.response = response
        self.relay = relay
        self.body = body
        self.usage = usage

    @property
    def candidate(self) -> Candidate:
        return self.attempt.candidate

    def close(self) -> None:
        """Close the upstream at once, or give its connection back when the answer was read to its end."""
        self.response.close()
        self.attempt.leave()


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
    """Executes one `Start` of the plan. Its place at the channel was taken by the plan; it is given back once."""

    __slots__ = (
        "began",
        "candidate",
        "dropped",
        "ended",
        "exchange",
        "limit",
        "pool",
        "record",
        "renamed",
        "sent",
        "speaker",
        "spoken",
        "start",
        "stops",
        "traffic",
        "underway",
    )

    def __init__(self, exchange: Exchange, pool: Upstreams, traffic: Traffic, start: Start) -> None:
        self.exchange = exchange
        self.pool = pool
        self.traffic = traffic
        self.start = start
        self.candidate = start.candidate
        self.speaker: Provider = provider(start.candidate.channel.provider)
        self.spoken = start.candidate.dialect
        self.renamed: Mapping[str, str] = {}
        self.dropped: tuple[str, ...] = ()
        self.stops: tuple[str, ...] = ()
        self.sent = False
        self.ended = False
        self.underway, exchange.underway = exchange.underway, None
        self.began = exchange.now() if self.underway is None else exchange.began
        self.limit = min(self.began + self._allowed(), exchange.deadline)
        self.record = AttemptRecord(
            channel=start.candidate.channel.name,
            model=start.candidate.model,
            key=start.candidate.key,
            why=start.why,
            outcome="",
            started=self.began - exchange.began,
        )
        exchange.attempts.append(self.record)

    async def run(self) -> Answer:
        """Ask the channel and wait for its first content.

        Raises:
            Fault: the attempt failed; its record is complete.
        """
        try:
            answer = await self._ask()
        except Fault as fault:
            self.traffic.health.failed(self.candidate.channel, self.candidate.key, fault, self.exchange.now())
            self._over(fault.kind.value, status=fault.own_status)
            if fault.kind is Kind.DEADLINE:
                self._given_up()
            raise
        except BaseException:
            self.traffic.health.abandoned(self.candidate.channel)
            self._over("cancelled")
            self._given_up()
            raise
        now = self.exchange.now()
        replayed = self.exchange.half is not None  # what a rescue took to repeat says nothing of the channel
        health = self.traffic.health
        health.answered(
            self.candidate.channel, self.candidate.key, None if replayed else now - self.began, now
        )
        self.record.outcome = "won"
        self.record.seconds = self.record.first_token = now - self.began
        return answer

    def leave(self) -> None:
        """Give the place at the channel back."""
        if not self.ended:
            self.ended = True
            self.traffic.ended(self.candidate.channel, self.candidate.key)

    def lost(self) -> None:
        """Another attempt won; one that has spoken in the same moment is charged what it was asked to read."""
        if self.sent and self.record.outcome == "cancelled":
            self.record.outcome = "lost"
        elif self.record.outcome == "won":
            self.account(self._prompt(), outcome="lost")

    def account(self, usage: Usage, *, outcome: str | None = None) -> None:
        """Complete the record with what the attempt used and, if it changed, what became of it."""
        exchange, record = self.exchange, self.record
        if outcome is not None:
            record.outcome = outcome
        record.seconds = exchange.now() - self.began
        record.usage = usage
        record.cost = cost(exchange.card(self.candidate.public_model, self.candidate.model, record.channel), usage)

    def _given_up(self) -> None:
        """Cut off before its first content: what the provider charges all the same, by the channel's `on_cancel`."""
        if self.sent:
            void = self.candidate.channel.on_cancel == "void"
            self.account(Usage(input=0, output=0) if void else self._prompt())

    def _prompt(self) -> Usage:
        return Usage(input=self.exchange.asked.prompt_tokens, output=0, estimated=True)

    def _over(self, outcome: str, status: int = 0) -> None:
        self.leave()
        self.record.outcome = outcome
        self.record.status = status
        self.record.seconds = self.exchange.now() - self.began

    async def _ask(self) -> Answer:
        body, relay = self._prepare()
        response: Response | None = None
        try:
            response = await self._send(body)
            if response.status != 200:
                raise await self._refusal(response)
            if relay is None:
                return await self._whole(response)
            return await self._first_content(response, relay)
        except BaseException as error:
            if response is not None:
                response.close()
            if isinstance(error, wire.WireError):
                raise self._fault_of(error) from error
            raise

    def _fault_of(self, error: wire.WireError) -> Fault:
        """A wire error's meaning; what only the request's own deadline cut short is not the channel's fault."""
        late = isinstance(error, (wire.ConnectTimeout, wire.ResponseTimeout, wire.ReadTimeout))
        if late and self.limit >= self.exchange.deadline <= self.exchange.now() + CLOCK_SLACK:
            return Fault(Kind.DEADLINE)
        return fault_of(error)

    def _prepare(self) -> tuple[bytes, Relay | None]:
        """The request body in the channel's language, and what will carry a streamed answer back."""
        exchange, call, model = self.exchange, self._call(), self.candidate.model
        if self.spoken == call.dialect:
            body = exchange.spoken.edit(call, model, self.speaker.quirks(self.candidate.channel, model))
            return body, self._carrier(exchange.spoken) if call.stream else None
        target = dialects.dialect(self.spoken)
        written = relays.request(exchange.spoken, target, call, self._target())
        self.dropped = written.dropped
        self.renamed = written.renamed
        self.stops = written.stops
        if not call.stream:
            return written.body, None
        return written.body, self._carrier(target)

    def _call(self) -> Call:
        """What is asked of this channel: the client's call, or to go on with the answer that another has begun."""
        if self.start.why == "continue":
            return continued(self.exchange, self.spoken)
        return self.exchange.asked

    def _carrier(self, source: Dialect) -> Relay:
        """What brings a stream in `source` to the client."""
        relay, unframer = self._relay(source), self.speaker.unframer()
        return relay if unframer is None else relays.Unframed(relay, unframer)

    def _relay(self, source: Dialect) -> Relay:
        """On from where the client's stream stands, when it has a half answer."""
        exchange = self.exchange
        call, client = exchange.asked, exchange.spoken
        if exchange.half is not None and self.start.why == "continue":
            return Continuation(source, client, call, self._answering(), exchange.half)
        if exchange.half is not None:
            self.limit = exchange.deadline  # saying again what was said may take as long as it took
            return Splice(source, client, call, self._answering(), exchange.half)
        if source is client:
            if exchange.world.anthropic_done:
                call.options["anthropic_done"] = "1"
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
            stops=self.stops,
            options={"anthropic_done": "1" if exchange.world.anthropic_done else "0"},
        )

    async def _send(self, body: bytes) -> Response:
        channel, exchange = self.candidate.channel, self.exchange
        key = channel.keys[self.candidate.key] if self.candidate.key >= 0 else None
        upstream = self.speaker.upstream(
            channel, key, self.spoken, exchange.asked, self.candidate.model, body, exchange.headers
        )
        upstream = self.speaker.signed(channel, key, upstream, exchange.wall + exchange.now() - exchange.began)
        self.sent = True
        if self.underway is None:
            await attempted(exchange, channel.name, self.candidate.model)
        patience = self._patience()
        if exchange.sent_upstream is None:
            exchange.sent_upstream = exchange.now()
        return await (self.underway or self.pool.request)(
            origin(channel.base_url, channel.http2, channel.verify_tls),
            upstream.method,
            upstream.target,
            upstream.headers,
            upstream.body,
            connect_timeout=min(channel.timeouts.connect, patience),
            first_byte_timeout=patience,
        )

    async def _refusal(self, response: Response) -> Fault:
        """The fault of an answer that is not a 200; a status whose body does not come is told without it."""
        response.idle_timeout = min(ERROR_BODY_SECONDS, self._patience())
        try:
            body = await response.read_all(MAX_ERROR_BODY)
        except wire.WireError:
            body = b""
        response.close()
        now = self.exchange.wall + self.exchange.now() - self.exchange.began
        return classify.from_answer(response.status, response.get, body, self.spoken, now)

    async def _whole(self, response: Response) -> Answer:
        response.idle_timeout = self._patience()
        body = await response.read_all(MAX_ANSWER_BODY)
        check_whole(body)
        source = dialects.dialect(self.spoken)
        usage = self._counted(source, body)
        if self.spoken != self.exchange.asked.dialect:
            body = relays.whole(source, self.exchange.spoken, body, self._answering())
        return Answer(self, response, None, body, usage)

    def _counted(self, source: Dialect, body: bytes) -> Usage:
        """The usage of a whole answer; what the provider does not say is estimated. Counting tokens uses none."""
        call = self.exchange.asked
        if call.operation == "count_tokens":
            return Usage(input=0, output=0)
        usage = source.usage_of(body)
        if usage.known:
            return usage
        output = 0 if call.operation == "embeddings" else relays.output_estimate(source, body)
        return usage.completed(call.prompt_tokens, output)

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
        response.idle_timeout = self.candidate.channel.timeouts.idle
        return Answer(self, response, relay, ready, relay.usage)

    def _allowed(self) -> float:
        """Seconds for the first content. A whole answer shows nothing until its end: it gets several times as long."""
        timeouts = self.candidate.channel.timeouts
        times = 1.0 if self.exchange.asked.stream else WHOLE_TIMES
        return min(timeouts.first_token * times, timeouts.total)

    def _patience(self) -> float:
        """Seconds left until the first content must have come."""
        left = self.limit - self.exchange.now()
        if left <= 0:
            raise Fault(Kind.DEADLINE if self.limit >= self.exchange.deadline else Kind.SILENT)
        return min(left, self._allowed())
