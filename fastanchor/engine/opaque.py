"""Endpoints that are passed through to the channel that offers them: see `dialects.opaque` for which.

    whose object, which model → admit → a channel that offers it → bytes through → usage, ownership

Rules:
- A JSON body is read whole (it is bounded like a chat's), because its model may have another name at the channel.
  Every other body is passed on while it comes, and so is every answer that is not JSON.
- Another channel is tried when the first could not be reached, or refused before anything was made of a body that can
  be sent again. What makes an object is only tried again when nobody can have seen it.
- An object is visible to the organisation that made it, and later calls go to its channel and key. A list is made of
  the organisation's own ids, each asked for at its channel: what other organisations have there never gets here.
- To a channel go its credential and the headers on the allow-list; from it come content type and disposition.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from fastanchor._speedups.peek import peek
from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import opaque as language
from fastanchor.dialects.opaque import Opaque
from fastanchor.engine.admit import admit
from fastanchor.engine.attempt import MAX_ANSWER_BODY, MAX_ERROR_BODY, fault_of
from fastanchor.engine.content import content
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.form import Form, form_of
from fastanchor.engine.headers import answer_headers
from fastanchor.engine.objects import Objects, missing
from fastanchor.engine.opaque_ask import JSON, Ask, Target, holder, targets
from fastanchor.engine.permit import permit_endpoint, permit_model
from fastanchor.engine.upstreams import Response
from fastanchor.wire import errors as wire

if TYPE_CHECKING:
    from fastanchor.engine.gateway import Gateway
    from fastanchor.wire.message import Reply

OCTETS = b"application/octet-stream"
BYTES_PER_TOKEN = 4
COUNTED = frozenset(("moderations", "rerank"))
"""Endpoints whose JSON is text that a model reads, so that its size is an estimate of its tokens."""
AT_ONCE = 4
"""Objects of a list that are asked for side by side."""


async def serve(gateway: Gateway, operation: Opaque, exchange: Exchange, reply: Reply) -> None:
    """One request. Raises Fault, and what the wire raises."""
    exchange.endpoint = operation.endpoint
    exchange.principal = gateway.whoever(exchange.request)
    permit_endpoint(exchange.principal, exchange.request.path.decode("latin-1"), operation.scope)
    if operation.kind and gateway.objects is None:
        raise Fault(Kind.NOT_FOUND, "This instance keeps no objects.")
    await _Passing(gateway, operation, exchange, reply).run()


class _Passing:
    """One operation on its way."""

    def __init__(self, gateway: Gateway, operation: Opaque, exchange: Exchange, reply: Reply) -> None:
        self.gateway = gateway
        self.operation = operation
        self.exchange = exchange
        self.reply = reply
        self.body = b""
        self.form: Form | None = None  # a body that is passed on while it comes
        self.span: tuple[int, int] | None = None  # of the model in a JSON body

    @property
    def objects(self) -> Objects:
        if self.gateway.objects is None:
            raise missing(self.operation.object_id)
        return self.gateway.objects

    @property
    def organization(self) -> str:
        return self.exchange.principal.organization

    async def run(self) -> None:
        operation = self.operation
        if operation.role == "list":
            await self._list()
            return
        held = await self._held()
        await self._read()
        held = await self._held_by_files(held)
        self._admit()
        exchange = self.exchange
        if held is None:
            health = self.gateway.traffic.health
            found = targets(exchange.world, operation, exchange.asked.model, health, exchange.now())
        else:
            found = [held]
        asking = Ask(self.gateway, operation, exchange, body=self.body, span=self.span, form=self.form)
        await self._answer(*await asking.first(found))

    # -- what is asked ------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        """The body, as far as it must be known."""
        request, call = self.exchange.request, Call("openai_chat", "", b"", operation="embeddings")
        self.exchange.call = call
        if self.operation.role in ("get", "delete") and request.method != b"POST":
            return
        if (request.get(b"content-type") or JSON).partition(b";")[0].strip().lower() != JSON:
            self.form = await form_of(request, self.gateway.upload_bytes)
            self.form.strict = bool(self.exchange.principal.models or self.exchange.principal.plan.models)
            call.model = self.form.model
        else:
            self.body = await content(request, self.gateway.decoding)
            self._peek(call)
        if self.operation.role in ("plain", "create"):
            permit_model(self.exchange.principal, call.model)

    def _peek(self, call: Call) -> None:
        call.body = self.body
        if self.operation.endpoint in COUNTED:
            call.prompt_tokens = max(1, len(self.body) // BYTES_PER_TOKEN)
        found = peek(self.body, (b"model",)) if self.body else None
        if self.body and found is None:
            raise Fault(Kind.INVALID_REQUEST, "The request body is not a JSON object that can be read.")
        span = found.span(b"model") if found else None
        if found is not None and span is not None:
            call.model = found.string(b"model") or ""
            self.span = (span.start, span.end)

    async def _held(self) -> Target | None:
        """Where the object is that is asked for."""
        if not self.operation.object_id:
            return None
        made = await self.objects.find(self.organization, self.operation.kind, self.operation.object_id)
        return holder(self.exchange.world, made)

    async def _held_by_files(self, held: Target | None) -> Target | None:
        """Where the files are that a new job names: all of them must be the organisation's own, at one channel."""
        if self.operation.role != "create" or self.operation.kind != "fine_tuning.job":
            return held
        for name, file_id in language.file_ids(self.body):
            made = await self.objects.find(self.organization, "file", file_id)
            found = holder(self.exchange.world, made)
            if held is not None and (held.channel.name, held.key) != (found.channel.name, found.key):
                raise Fault(Kind.INVALID_REQUEST, "The files are not at the same provider.", param=name)
            held = found
        if held is None or not self.exchange.asked.model:
            return held
        return Target(held.channel, held.key, held.channel.upstream_model(self.exchange.asked.model) or "")

    def _admit(self) -> None:
        if self.gateway.books is not None:
            admit(self.exchange, self.gateway.books)

    # -- the answer ---------------------------------------------------------------------------------------------------

    async def _answer(self, target: Target, response: Response) -> None:
        exchange = self.exchange
        exchange.channel, exchange.provider = target.channel.name, target.channel.provider
        exchange.served_model, exchange.public_model = target.model, exchange.asked.model
        exchange.status = response.status
        exchange.first_token = exchange.now()
        kind = response.get(b"content-type") or OCTETS
        try:
            if kind.partition(b";")[0].strip().lower() == JSON and not self._is_download():
                await self._whole(target, response, kind)
            else:
                await self._through(response, kind)
        finally:
            response.close()

    def _is_download(self) -> bool:
        return self.operation.tail.endswith("/content")

    async def _whole(self, target: Target, response: Response, kind: bytes) -> None:
        try:
            body = await response.read_all(MAX_ANSWER_BODY)
        except wire.WireError as error:
            raise fault_of(error) from error
        exchange, operation = self.exchange, self.operation
        exchange.usage = language.usage_of(body)
        exchange.price()
        if operation.role == "create" and (object_id := language.read_id(body)):
            name, key = target.channel.name, target.secret
            await self.objects.made(self.organization, operation.kind, object_id, name, key)
        if operation.role == "delete":
            await self.objects.forget(self.organization, operation.kind, operation.object_id)
        exchange.answer_bytes = len(body)
        await self.reply.respond(response.status, answer_headers(exchange, kind), body)

    async def _through(self, response: Response, kind: bytes) -> None:
        """Bytes as they come. What breaks on the way breaks for the client too."""
        fields = answer_headers(self.exchange, kind)
        disposition = response.get(b"content-disposition")
        if disposition is not None:
            fields.append((b"content-disposition", disposition))
        await self.reply.start(response.status, fields)
        try:
            while data := await response.read():
                self.exchange.answer_bytes += len(data)
                await self.reply.send(data)
        except wire.ClientGone:
            raise
        except wire.WireError as error:
            self.exchange.ending = fault_of(error).kind.value
            self.reply.abort()
            return
        await self.reply.finish()

    # -- lists --------------------------------------------------------------------------------------------------------

    async def _list(self) -> None:
        """The organisation's own objects, as their channels tell them now."""
        exchange, operation = self.exchange, self.operation
        after, limit = language.page(exchange.request.query)
        exchange.call = Call("openai_chat", "", b"", operation="embeddings")
        self._admit()
        found = await self.objects.page(self.organization, operation.kind, after, limit + 1)
        told: list[bytes | None] = [None] * len(found[:limit])
        faults: list[Fault] = []
        limiter = trio.CapacityLimiter(AT_ONCE)

        async def ask(at: int, object_id: str, target: Target) -> None:
            async with limiter:
                try:
                    told[at] = await self._told(object_id, target)
                except Fault as fault:
                    faults.append(fault)

        async with trio.open_nursery() as nursery:
            for at, made in enumerate(found[:limit]):
                if any(one.name == made.channel for one in exchange.world.channels):
                    nursery.start_soon(ask, at, made.id, holder(exchange.world, made))
        if faults:
            raise faults[0]
        body = language.listed([one for one in told if one], more=len(found) > limit)
        exchange.status, exchange.answer_bytes = 200, len(body)
        await self.reply.respond(200, answer_headers(exchange, JSON), body)

    async def _told(self, object_id: str, target: Target) -> bytes | None:
        """One object; None when its channel does not have it any more."""
        operation = self.operation
        one = Opaque(
            operation.endpoint, f"{operation.tail}/{object_id}", operation.scope, "get", operation.kind, object_id
        )
        try:
            response = await Ask(self.gateway, one, self.exchange).once(target)
        except Fault as fault:
            if fault.kind is not Kind.NOT_FOUND:
                raise
            await self.objects.forget(self.organization, operation.kind, object_id)
            return None
        try:
            return await response.read_all(MAX_ERROR_BODY)
        except wire.WireError as error:
            raise fault_of(error) from error
        finally:
            response.close()
