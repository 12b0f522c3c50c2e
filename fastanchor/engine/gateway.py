"""The front of the engine: takes every request that the wire has read, and sees that it ends exactly once.

    identify → read → permit → admit → route → race → relay → settle

Whatever goes wrong on the way is a `Fault`, told in the client's dialect; whatever is not a Fault is a bug of ours and
told as such, without detail. The receipt falls out at the bottom, in every ending.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from random import Random
from typing import cast

import trio

from fastanchor._speedups.express import EXPRESS
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.principal import Principal
from fastanchor.core.receipt import Receipt
from fastanchor.core.route import Route
from fastanchor.core.snapshot import Snapshot
from fastanchor.dialects import registry as dialects
from fastanchor.dialects.contract import CountingDialect
from fastanchor.dialects.opaque import find as find_opaque
from fastanchor.dialects.relay import fault_event
from fastanchor.engine import express, models, stored
from fastanchor.engine.admit import admit
from fastanchor.engine.affinity import conversation
from fastanchor.engine.candidates import Candidates, estimate, stateful
from fastanchor.engine.content import content
from fastanchor.engine.conversations import Conversations
from fastanchor.engine.deliver import Delivery
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.headers import Fields, fault_headers, id_headers
from fastanchor.engine.heard import Heard
from fastanchor.engine.identify import identify
from fastanchor.engine.objects import Objects
from fastanchor.engine.permit import permit_endpoint, permit_model
from fastanchor.engine.settling import Settling
from fastanchor.engine.traffic import Traffic
from fastanchor.engine.upstreams import Upstreams
from fastanchor.policy.asked import Asked, Candidate
from fastanchor.policy.plan import Plan
from fastanchor.store.admission import Admission
from fastanchor.store.bodies import Bodies
from fastanchor.store.keyring import Keyring
from fastanchor.store.limiter import Strangers
from fastanchor.wire import errors as wire
from fastanchor.wire.coding import DecodingLimits
from fastanchor.wire.message import Cancelling, Reply, Request
from fastanchor.wire.pool import Pool

log = logging.getLogger("fastanchor")

KEPT = "openai_responses"
"""The dialect whose answers are kept, for `previous_response_id`."""
STATEFUL = frozenset(("background", "conversation"))
"""Options of a call that only a provider with a state of its own can serve."""

KILLED = "killed"
LEFT = frozenset((Kind.CLIENT_GONE.value, KILLED))

JSON = (b"content-type", b"application/json")

SOCKET = b"/v1/ws"
NO_KEYS: Mapping[bytes, Principal] = {}

Sink = Callable[[Receipt], None]
Elsewhere = Callable[[Request, Reply, str], Awaitable[bool]]


class Gateway:
    """One worker's request handler.

    Args:
        world: the configuration in force; assign a new one to swap it.
        pool: connections to upstreams.
        pepper: the key of the key digests.
        sinks: called with each receipt, in order; must not block.
        elsewhere: answers paths that are not an API endpoint; tells whether it did.
        conversations: what is kept of responses; without it nothing is.
        books: limits and journal; without them nothing is limited or accounted for.
        strangers: counts unknown keys by address.
        objects: who made what at a channel; without it nothing can be made.
        ring: the holders of the store's keys, kept up to date by somebody else.
        bodies: keeps what is asked and answered; without it nothing is.
    """

    def __init__(
        self,
        world: Snapshot,
        pool: Upstreams,
        pepper: bytes,
        *,
        sinks: tuple[Sink, ...] = (),
        elsewhere: Elsewhere | None = None,
        conversations: Conversations | None = None,
        books: Admission | None = None,
        strangers: Strangers | None = None,
        ring: Keyring | None = None,
        objects: Objects | None = None,
        bodies: Bodies | None = None,
        random: Random | None = None,
    ) -> None:
        self.world = world
        self.pool = pool
        self.pepper = pepper
        self.sinks = sinks
        self.elsewhere = elsewhere
        self.conversations = conversations
        self.books = books
        self.strangers = strangers
        self.ring = ring
        self.random = random or Random()  # noqa: S311 - balances load, guards nothing
        self.objects = objects
        self.bodies = bodies
        self.decoding = DecodingLimits()
        self.upload_bytes = 1 << 34  # of a body that is passed on while it comes
        self.traffic = Traffic()
        self.settling = Settling()
        self.candidates = Candidates()
        self.now: Callable[[], float] | None = None  # the run's clock, known from the first request on
        self.in_flight = 0
        self.lanes_over = pool if EXPRESS and isinstance(pool, Pool) and bodies is None else None
        self.running: dict[str, tuple[Exchange, Reply]] = {}  # by request id
        self._prefix = secrets.token_hex(6)
        self._count = 0

    def mint(self) -> str:
        """A request id: unique across workers and restarts, never taken from the client."""
        self._count += 1
        return f"req_{self._prefix}{self._count:010x}"

    def _read_clock(self) -> Callable[[], float]:
        self.now = trio.lowlevel.current_clock().current_time
        return self.now

    async def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request (the wire's handler)."""
        endpoint = dialects.endpoint(request.method, request.path)
        if endpoint is None:
            await self._no_endpoint(request, reply)
            return
        exchange = Exchange(request, self.world, self.mint(), endpoint.name, self.now or self._read_clock())
        exchange.dialect = dialects.dialect(endpoint.dialect)
        await self._accounted(exchange, reply, self._serve)

    def open(self, request: Request, endpoint: str, dialect: str) -> Exchange:
        """The life of a request begins."""
        exchange = Exchange(request, self.world, self.mint(), endpoint, self.now or self._read_clock())
        exchange.dialect = dialects.dialect(dialect)
        return exchange

    async def answer(self, exchange: Exchange, reply: Reply) -> None:
        """An exchange that was opened, from its key to its receipt. Raises ClientGone; faults are told."""
        await self._accounted(exchange, reply, self._serve)

    async def _no_endpoint(self, request: Request, reply: Reply) -> None:
        if await self._socket(request, reply):
            return
        request_id = self.mint()
        if self.elsewhere is not None and await self.elsewhere(request, reply, request_id):
            return
        exchange = Exchange(request, self.world, request_id, "other", self.now or self._read_clock())
        exchange.dialect = dialects.dialect(_language(request.path))
        await self._accounted(exchange, reply, self._serve_plain)

    async def _socket(self, request: Request, reply: Reply) -> bool:
        """Serve a WebSocket; False when nobody asks for one."""
        if request.get(b"upgrade") is None and request.path != SOCKET:
            return False
        from fastanchor.engine import sockets  # loaded with the first socket

        if not sockets.asks_for_socket(request):
            return False
        exchange = self.open(request, "other", _language(request.path))
        await self._accounted(exchange, reply, partial(sockets.serve, self))
        return True

    async def _accounted(
        self, exchange: Exchange, reply: Reply, story: Callable[[Exchange, Reply], Awaitable[None]]
    ) -> None:
        """Run the story, tell its fault, and write the receipt."""
        heard = None if self.bodies is None else Heard(reply, self.bodies.most)
        reply = reply if heard is None else cast(Reply, heard)
        self.in_flight += 1
        self.running[exchange.request_id] = exchange, reply
        try:
            await story(exchange, reply)
        except Fault as fault:
            await self._tell(exchange, reply, fault)
        except wire.BodyTooLarge:
            await self._tell(exchange, reply, Fault(Kind.REQUEST_TOO_LARGE))
        except wire.NoRoomForBody:
            await self._tell(exchange, reply, no_room())
        except (wire.ClientGone, trio.Cancelled):
            if exchange.ending != KILLED:
                exchange.ending = Kind.CLIENT_GONE.value
            raise
        except wire.WireError:  # the client's body is broken: the wire answers and closes
            exchange.ending = Kind.INVALID_REQUEST.value
            raise
        except Exception:
            log.exception("request %s failed", exchange.request_id)
            await self._tell(exchange, reply, Fault(Kind.INTERNAL_ERROR))
        finally:
            self.in_flight -= 1
            del self.running[exchange.request_id]
            if exchange.rest is None:
                self.close(exchange)
            else:
                self.settling.settle(exchange.rest, self.close)
            if self.bodies is not None and heard is not None:
                asked = exchange.call.body if exchange.call else b""
                self.bodies.keep(exchange.request_id, exchange.wall, asked, heard.body)

    def kill(self, request_id: str) -> bool:
        """End a request that is under way, as if its client had left. Tells whether there was one."""
        found = self.running.get(request_id)
        if found is None:
            return False
        exchange, reply = found
        if not isinstance(reply, Cancelling):  # a turn of a WebSocket
            return False
        exchange.ending = KILLED
        reply.cancel()
        return True

    def close(self, exchange: Exchange) -> None:
        """Settle and account, in every ending."""
        if exchange.status == 0:
            exchange.status = 499 if exchange.ending in LEFT else 500
        exchange.settle()
        receipt = exchange.receipt()
        for sink in self.sinks:
            sink(receipt)

    async def _serve(self, exchange: Exchange, reply: Reply) -> None:
        request = exchange.request
        exchange.principal = self.whoever(request, gemini=exchange.spoken.name == "gemini")
        path = request.path.decode("latin-1")
        permit_endpoint(exchange.principal, path, "inference")
        body = await content(request, self.decoding)
        query = request.query.decode("latin-1")
        call = exchange.call = exchange.spoken.read(body, path, query, exchange.headers)
        permit_model(exchange.principal, call.model)
        keeper = self.conversations if call.dialect == KEPT else None
        if keeper is not None:
            await keeper.resume(exchange)
        if self.books is not None:
            admit(exchange, self.books)
        route = exchange.world.route(call.model)
        exchange.deadline = exchange.began + deadline(route, request)
        found = self._found(exchange, route)
        if not found:
            await self._count_tokens(exchange, reply)
            return
        if keeper is not None and not keeper.keeps(exchange):
            keeper = None
        await Delivery(exchange, self._plan(exchange, route, found), self.pool, self.traffic, reply, keeper).run()
        if self.lanes_over is not None:
            express.teach(self, self.lanes_over, exchange, found)

    async def go_on(self, exchange: Exchange, reply: Reply) -> None:
        """End a request that a lane has begun (see `express`)."""
        await self._accounted(exchange, reply, self._go_on)

    async def _go_on(self, exchange: Exchange, reply: Reply) -> None:
        route = exchange.world.route(exchange.asked.model)
        exchange.deadline = exchange.began + route.deadline
        plan = self._plan(exchange, route, self._found(exchange, route))
        await Delivery(exchange, plan, self.pool, self.traffic, reply).run()

    def _found(self, exchange: Exchange, route: Route) -> list[Candidate]:
        """Who can serve the call; nobody when tokens are to be counted by estimate."""
        call = exchange.asked
        found = self.candidates.of(exchange.world, route, call, self.random)
        if call.dialect != KEPT or not (exchange.held_by or STATEFUL & call.options.keys()):
            return found
        held = stateful(found, call, exchange.held_by)
        if not held:
            from fastanchor.dialects.openai_responses import state  # this dialect is loaded when it is first spoken

            raise state.missing(call.options["previous_response_id"])
        return held

    async def _count_tokens(self, exchange: Exchange, reply: Reply) -> None:
        """An estimate, where no provider can be asked."""
        dialect = exchange.spoken
        if not isinstance(dialect, CountingDialect):
            raise Fault(Kind.NOT_FOUND)
        await self._respond(exchange, reply, dialect.count_tokens_answer(exchange.asked))

    async def _respond(self, exchange: Exchange, reply: Reply, body: bytes) -> None:
        """An answer of the gateway's own."""
        exchange.status = 200
        exchange.answer_bytes = len(body)
        limits = exchange.limit_fields or self.limits_of(exchange.principal, exchange.spoken.name)
        await reply.respond(200, [JSON, *id_headers(exchange.request_id), *limits], body)

    def whoever(self, request: Request, *, gemini: bool = False) -> Principal:
        """Who asks. An address that tries many unknown keys is told to wait.

        Raises:
            Fault: INVALID_API_KEY, PERMISSION_DENIED or RATE_LIMIT.
        """
        issued = NO_KEYS if self.ring is None else self.ring.keys
        try:
            return identify(request, self.world, self.pepper, issued, gemini=gemini)
        except Fault as fault:
            too_many = fault.kind is Kind.INVALID_API_KEY and self.strangers and self.strangers.failed(request.peer)
            raise too_many or fault from None

    def limits_of(self, principal: Principal, dialect: str) -> Fields:
        """The limit headers of an answer to a key that nothing was reserved for."""
        books = self.books
        return [] if books is None else books.limiter.headers_of(principal, anthropic=dialect == "anthropic")

    def _plan(self, exchange: Exchange, route: Route, found: list[Candidate]) -> Plan:
        call = exchange.asked
        asked = Asked(
            now=exchange.began,
            deadline=exchange.deadline,
            prompt_tokens=call.prompt_tokens,
            conversation=lambda: conversation(exchange),
            price=lambda candidate: estimate(exchange, candidate),
            hedges=self.traffic.hedges(route),
            organization=exchange.principal.organization,
        )
        return Plan(route, found, self.traffic.health, asked, self.random)

    async def _serve_plain(self, exchange: Exchange, reply: Reply) -> None:
        """Endpoints that need no channel, and paths that are none."""
        request = exchange.request
        if self.conversations is not None and stored.response_id(request.path):
            exchange.endpoint = "responses.stored"
            exchange.principal = self.whoever(request, gemini=exchange.spoken.name == "gemini")
            permit_endpoint(exchange.principal, request.path.decode("latin-1"), "inference")
            await self._respond(exchange, reply, await stored.serve(exchange, self.conversations, self.pool))
            return
        operation = find_opaque(request.method, request.path)
        if operation is not None:
            from fastanchor.engine import opaque  # loaded when it is first asked for

            await opaque.serve(self, operation, exchange, reply)
            return
        if not models.is_listing(request.path):
            if dialects.methods(request.path):
                raise Fault(Kind.METHOD_NOT_ALLOWED)
            raise Fault(Kind.NOT_FOUND, f"There is no {request.method.decode('latin-1')} {_shown(request.path)}.")
        if request.method not in (b"GET", b"HEAD"):
            raise Fault(Kind.METHOD_NOT_ALLOWED)
        exchange.endpoint = "models"
        exchange.principal = self.whoever(request, gemini=exchange.spoken.name == "gemini")
        await self._respond(exchange, reply, models.listing(request, exchange.world, exchange.principal))

    async def _tell(self, exchange: Exchange, reply: Reply, fault: Fault) -> None:
        """The fault in the client's dialect: as an answer, or as the end of a broken stream."""
        exchange.ending = fault.kind.value
        dialect = exchange.spoken
        if reply.started:
            await reply.send(fault_event(exchange.carrier, dialect, fault, exchange.request_id))
            reply.abort()
            return
        exchange.status = (fault.row.anthropic_status if dialect.name == "anthropic" else 0) or fault.status
        if not exchange.limit_fields:  # nothing was reserved
            exchange.limit_fields = self.limits_of(exchange.principal, dialect.name)
        body = dialect.fault(fault, exchange.request_id)
        exchange.answer_bytes = len(body)
        await reply.respond(exchange.status, fault_headers(exchange, fault), body)


def no_room() -> Fault:
    """The worker holds as many bytes of requests as it may."""
    text = "The server holds too many large requests at the moment."
    return Fault(Kind.SERVICE_UNAVAILABLE, text, retry_after=1.0)


def deadline(route: Route, request: Request) -> float:
    """Seconds that a request may take: the route's, or less when the client says so (`x-fastanchor-timeout`).

    Raises:
        Fault: INVALID_REQUEST when the header is no number of seconds.
    """
    asked = request.get(b"x-fastanchor-timeout")
    if asked is None:
        return route.deadline
    digits = asked.replace(b".", b"", 1)
    if not digits.isdigit() or len(digits) > 9:
        raise Fault(Kind.INVALID_REQUEST, "Expected a number of seconds.", param="x-fastanchor-timeout")
    return min(route.deadline, float(asked))


def _language(path: bytes) -> str:
    """The dialect in which a path that is no endpoint is answered."""
    if path.startswith(b"/v1beta/"):
        return "gemini"
    return "anthropic" if path.startswith(b"/v1/messages") else "openai_chat"


def _shown(path: bytes) -> str:
    return path[:200].decode("latin-1")
