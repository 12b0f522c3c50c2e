"""Bytes out: a won answer to its client.

After the first byte there is no way back. A stream whose upstream is cut, stalls or turns into an error ends with the
dialect's own in-stream error and an aborted body: never with a clean end.
"""

from __future__ import annotations

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.relay import Relay
from fastanchor.engine.attempt import Answer
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.headers import answer_headers
from fastanchor.wire import errors as wire
from fastanchor.wire.message import Reply

DRAIN_SECONDS = 0.25
"""How long a finished stream waits for its upstream's last chunk, so that the connection can be used again."""


async def relay(exchange: Exchange, answer: Answer, reply: Reply) -> None:
    """Send the answer to the client and note what it used.

    Raises:
        wire.ClientGone: the client left.
    """
    exchange.status = 200
    if answer.relay is None:
        headers = answer_headers(exchange, b"application/json")
        exchange.answer_bytes = len(answer.body)
        await reply.respond(200, headers, answer.body)
        return
    try:
        await _stream(exchange, answer, answer.relay, reply)
    finally:
        call = exchange.asked
        exchange.usage = answer.relay.usage.completed(call.prompt_tokens, answer.relay.output_estimate)


async def _stream(exchange: Exchange, answer: Answer, carrier: Relay, reply: Reply) -> None:
    dialect = exchange.spoken
    await reply.start(200, answer_headers(exchange, dialect.stream_type), answer.body)
    exchange.answer_bytes = len(answer.body)
    fault = await _pump(exchange, answer, carrier, reply)
    if fault is None:
        await reply.finish()
        await _drain(answer)
        return
    exchange.ending = fault.kind.value
    await reply.send(dialect.fault_event(fault, exchange.request_id))
    reply.abort()


async def _pump(exchange: Exchange, answer: Answer, carrier: Relay, reply: Reply) -> Fault | None:
    """Forward until the answer is whole (None) or broken (the fault to tell)."""
    response = answer.response
    limit = min(exchange.deadline, exchange.began + answer.candidate.channel.timeouts.total)
    while not carrier.complete and carrier.fault is None:
        try:
            data = await response.read()
        except wire.ReadTimeout:
            return Fault(Kind.STALLED)
        except (wire.Truncated, wire.BadResponse):
            return carrier.fault or Fault(Kind.TRUNCATED)
        out = carrier.feed(data) if data else carrier.end()
        if out:
            exchange.answer_bytes += len(out)
            await reply.send(out)
        if not data:
            break
        if trio.current_time() > limit:
            return Fault(Kind.DEADLINE)
    return carrier.fault


async def _drain(answer: Answer) -> None:
    """Read the upstream's end of body, which mostly came with its last event, so that the connection is reused."""
    response = answer.response
    if response.complete:
        return
    response.idle_timeout = DRAIN_SECONDS
    try:
        await response.read()
    except wire.WireError:  # the answer is whole; only the connection is lost
        return
