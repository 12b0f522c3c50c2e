"""One operation asked of the channels that can serve it, in turn, until one gives a good answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastanchor._speedups.peek import splice
from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault, Kind, Retry
from fastanchor.core.receipt import AttemptRecord
from fastanchor.core.snapshot import Snapshot
from fastanchor.dialects import opaque as language
from fastanchor.dialects.opaque import Opaque
from fastanchor.engine.admit import attempted
from fastanchor.engine.attempt import ERROR_BODY_SECONDS, MAX_ERROR_BODY, fault_of, origin
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.form import Form, SecondModel
from fastanchor.engine.objects import account, missing
from fastanchor.engine.upstreams import Response, Uploading
from fastanchor.policy.health import Health
from fastanchor.providers import classify
from fastanchor.providers.registry import provider
from fastanchor.store.objects import Made
from fastanchor.wire import errors as wire

if TYPE_CHECKING:
    from fastanchor.engine.gateway import Gateway

JSON = b"application/json"
UNSEEN = frozenset((Kind.CONNECT_FAILED, Kind.CONNECT_TIMEOUT, Kind.TLS_FAILED))
"""Faults after which nobody can have seen the request."""


@dataclass(frozen=True, slots=True)
class Target:
    """A channel with one of its keys, and the model's name there."""

    channel: Channel
    key: int
    model: str = ""

    @property
    def secret(self) -> Secret | None:
        return self.channel.keys[self.key] if self.key >= 0 else None


def holder(world: Snapshot, made: Made) -> Target:
    """Where an object is. Raises Fault(NOT_FOUND) when its channel is gone."""
    for one in world.channels:
        if one.name == made.channel:
            keys = [i for i, key in enumerate(one.keys) if account(key) == made.account]
            return Target(one, keys[0] if keys else len(one.keys[:1]) - 1)
    raise missing(made.id)


def targets(world: Snapshot, operation: Opaque, model: str, health: Health, now: float) -> list[Target]:
    """Who offers the endpoint and has the model, lower tiers first; those that rest, last. Raises Fault."""
    offering = [one for one in world.channels if offered(one, operation.endpoint)]
    if not offering:
        raise Fault(Kind.NOT_FOUND, f"No channel offers {operation.endpoint}.")
    found = []
    for channel in sorted(offering, key=lambda one: one.tier):
        upstream = channel.upstream_model(model) if model else ""
        if upstream is None and operation.kind:  # what is trained or uploaded need not be served
            upstream = model
        if upstream is not None:
            found += [Target(channel, key, upstream) for key in range(len(channel.keys)) or (-1,)]
    if not found:
        raise Fault(Kind.MODEL_NOT_FOUND, f"The model '{model[:200]}' does not exist.", param="model")
    free = [one for one in found if not health.of(one.channel).full(one.key)]
    if not free:
        raise Fault(Kind.SERVICE_UNAVAILABLE, retry_after=1.0)
    return sorted(free, key=lambda one: health.of(one.channel).usable_at(one.key, now) > now)


def offered(channel: Channel, endpoint: str) -> bool:
    """Whether a channel has the endpoint, in either spelling."""
    return endpoint in channel.endpoints or endpoint.replace("_", "-") in channel.endpoints


class Ask:
    """One operation, with its body: JSON, a form that is passed on while it comes, or none.

    Args:
        span: where the model's name stands in a JSON body.
    """

    def __init__(
        self, gateway: Gateway, operation: Opaque, exchange: Exchange, *, body: bytes = b"",
        span: tuple[int, int] | None = None, form: Form | None = None,
    ) -> None:
        self.gateway = gateway
        self.operation = operation
        self.exchange = exchange
        self.body = body
        self.span = span
        self.form = form

    async def first(self, targets: list[Target]) -> tuple[Target, Response]:
        """The first good answer. Raises Fault."""
        for target in targets[:-1]:
            try:
                return target, await self.once(target)
            except Fault as fault:
                if not self._may_retry(fault):
                    raise
        return targets[-1], await self.once(targets[-1])

    def _may_retry(self, fault: Fault) -> bool:
        if self.form is not None and self.form.begun:
            return False
        return fault.kind in UNSEEN or (self.operation.role == "plain" and fault.retry is not Retry.NO)

    async def once(self, target: Target) -> Response:
        """One channel's answer, whose status is good. Raises Fault."""
        exchange, health = self.exchange, self.gateway.traffic.health
        began = exchange.now()
        health.started(target.channel, began, target.key)
        outcome = "cancelled"
        try:
            response = await self._send(target)
            outcome = "won"
            health.answered(target.channel, target.key, None, exchange.now())
            return response
        except Fault as fault:
            outcome = fault.kind.value
            health.failed(target.channel, target.key, fault, exchange.now())
            raise
        finally:
            if outcome == "cancelled":
                health.abandoned(target.channel)
            self.gateway.traffic.ended(target.channel, target.key)
            now = exchange.now()
            why = "next_channel" if exchange.attempts else "first"
            exchange.attempts.append(
                AttemptRecord(
                    target.channel.name, target.model, target.key, why, outcome,
                    started=began - exchange.began, seconds=now - began,
                )
            )  # fmt: skip

    async def _send(self, target: Target) -> Response:
        exchange, channel = self.exchange, target.channel
        upstream = provider(channel.provider).below(
            channel, target.secret, exchange.request.method, self._path(channel), exchange.headers
        )
        await attempted(exchange, channel.name, target.model)
        exchange.sent_upstream = exchange.sent_upstream or exchange.now()
        where, seconds = origin(channel.base_url, channel.http2, channel.verify_tls), channel.timeouts.total
        connect = channel.timeouts.connect
        try:
            if self.form is not None:
                fields = (*upstream.headers, (b"content-type", self.form.content_type))
                self.form.rename(target.model)
                pool = self.gateway.pool
                if not isinstance(pool, Uploading):
                    raise Fault(Kind.SERVICE_UNAVAILABLE)
                response: Response = await pool.upload(
                    where, upstream.method, upstream.target, fields, self.form, self.form.length,
                    connect_timeout=connect, first_byte_timeout=seconds,
                )  # fmt: skip
            else:
                fields = (*upstream.headers, (b"content-type", JSON)) if self.body else upstream.headers
                response = await self.gateway.pool.request(
                    where, upstream.method, upstream.target, fields, self._renamed(target.model),
                    connect_timeout=connect, first_byte_timeout=seconds,
                )  # fmt: skip
        except SecondModel as bad:
            raise Fault(Kind.INVALID_REQUEST, f"Invalid request: {bad.reason}.", param="model") from None
        except (wire.BadRequest, wire.ClientGone):  # the client's own body
            raise
        except wire.WireError as error:
            raise fault_of(error) from error
        response.idle_timeout = channel.timeouts.idle
        if not 200 <= response.status < 300:
            raise await self._refusal(response)
        return response

    def _path(self, channel: Channel) -> str:
        """Below the channel's base URL; fine-tuning is spelled as the channel is configured."""
        name = self.operation.endpoint
        spelled = name.replace("_", "-")
        chosen = spelled if name not in channel.endpoints and spelled in channel.endpoints else name
        paged = self.operation.tail.endswith(language.PAGED)
        query = language.passed_query(self.exchange.request.query) if paged else ""
        return f"/{chosen}{self.operation.tail}" + (f"?{query}" if query else "")

    def _renamed(self, model: str) -> bytes:
        if self.span is None or not model or model == self.exchange.asked.model:
            return self.body
        return splice(self.body, [(*self.span, b'"' + model.encode() + b'"')])

    async def _refusal(self, response: Response) -> Fault:
        response.idle_timeout = ERROR_BODY_SECONDS
        try:
            body = await response.read_all(MAX_ERROR_BODY)
        except wire.WireError:
            body = b""
        response.close()
        if response.status == 404 and self.operation.object_id:
            return missing(self.operation.object_id)
        return classify.from_answer(response.status, response.get, body, "openai_chat", self.exchange.wall)
