"""`GET` and `DELETE /v1/responses/{id}`: a response that was kept, here or at the channel that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import trio

from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.registry import STORED
from fastanchor.engine.attempt import MAX_ANSWER_BODY, fault_of, origin
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.upstreams import Upstreams
from fastanchor.providers import classify
from fastanchor.providers.registry import provider
from fastanchor.wire import errors as wire

if TYPE_CHECKING:
    from fastanchor.engine.conversations import Conversations



def response_id(path: bytes) -> str:
    """The id in the path, "" when the path is no stored response's."""
    name = path[len(STORED) :] if path.startswith(STORED) else b""
    return "" if b"/" in name else unquote(name.decode("latin-1"))


async def serve(exchange: Exchange, conversations: Conversations, pool: Upstreams) -> bytes:
    """The answer's body.

    Raises:
        Fault: NOT_FOUND for what is not kept, or not for this key; what the channel that has it says.
    """
    method, wanted = exchange.request.method, response_id(exchange.request.path)
    if method not in (b"GET", b"DELETE"):
        raise Fault(Kind.METHOD_NOT_ALLOWED)
    if b"stream=true" in exchange.request.query.lower():
        raise Fault(Kind.INVALID_REQUEST, "A stored response is told whole, not as a stream.", param="stream")
    stored = await conversations.find(exchange, wanted)
    if stored is None:
        raise Fault(Kind.NOT_FOUND, f"Response with id '{wanted[:200]}' not found.", param="response_id")
    body = stored.response or await _from_channel(exchange, stored.channel, pool, wanted)
    if method == b"GET":
        return body
    await conversations.forget(exchange, wanted)
    from fastanchor.dialects.openai_responses import state  # this dialect is loaded when it is first spoken

    return state.deleted(wanted)


async def _from_channel(exchange: Exchange, name: str, pool: Upstreams, wanted: str) -> bytes:
    """What the channel answers; with several keys, what it answers to the first that may ask."""
    channel = next((one for one in exchange.world.channels if one.name == name), None)
    if channel is None:
        raise Fault(Kind.NOT_FOUND, f"Response with id '{wanted[:200]}' is at a channel that is gone.")
    exchange.channel, exchange.provider = channel.name, channel.provider
    refusal = Fault(Kind.NOT_FOUND)
    for key in channel.keys or (None,):
        try:
            return await _asked(exchange, channel, key, pool, wanted)
        except Fault as fault:
            refusal = fault
    raise refusal


async def _asked(exchange: Exchange, channel: Channel, key: Secret | None, pool: Upstreams, wanted: str) -> bytes:
    speaker = provider(channel.provider)
    upstream = speaker.stored(channel, key, exchange.request.method, wanted)
    seconds = channel.timeouts.first_token
    try:
        with trio.fail_after(seconds):
            response = await pool.request(
                origin(channel.base_url, channel.http2, channel.verify_tls),
                upstream.method, upstream.target, upstream.headers,
                connect_timeout=channel.timeouts.connect, first_byte_timeout=seconds,
            )  # fmt: skip
            try:
                response.idle_timeout = seconds
                body = await response.read_all(MAX_ANSWER_BODY)
            finally:
                response.close()
    except trio.TooSlowError:
        raise Fault(Kind.SILENT) from None
    except wire.WireError as error:
        raise fault_of(error) from error
    if response.status != 200:
        raise classify.from_answer(response.status, response.get, body, "openai_responses", exchange.wall)
    return body
