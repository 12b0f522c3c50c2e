"""WebSockets of the API: who may open one, and how long they may keep it. What is said on it is its session's.

Rules:
- The key is checked before the handshake is answered. Only `/v1/ws` takes a client without one, which then has to say
  it in its first message, within seconds.
- The key is looked up again every few seconds: one that was revoked or has expired ends its socket with 4401, and what
  is under way on it.
- On an open instance (`auth = false`) a page of another origin is refused: its visitor's browser would be used to spend
  the operator's money. With keys an origin says nothing, since no key comes by itself as a cookie would.
- Close codes beside those of the wire: 4401 (no valid key), 4408 (no `auth` message in time).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import registry as dialects
from fastanchor.dialects import socket as language
from fastanchor.engine.exchange import Exchange
from fastanchor.engine.identify import credential
from fastanchor.engine.permit import permit_endpoint
from fastanchor.engine.socket_chat import chat
from fastanchor.engine.socket_reply import Asked, Desk, Opened, headers_of
from fastanchor.engine.socket_responses import responses
from fastanchor.wire.hits import hit
from fastanchor.wire.message import Header, Reply, Request
from fastanchor.wire.server_ws import BadHandshake, WebSocket, websocket
from fastanchor.wire.ws_handshake import wants_websocket

log = logging.getLogger("fastanchor")

LOOK_EVERY = 4.0
"""Seconds between two looks at a key."""
NO_KEY = 4401
NO_AUTH = 4408


WS = b"/v1/ws"

Session = Callable[[Opened], Awaitable[None]]
"""Reads messages until there are no more, and answers them."""

SESSIONS: dict[bytes, tuple[str, Session]] = {WS: ("ws", chat), b"/v1/responses": ("responses.ws", responses)}
"""By path: the endpoint's name, and what is said there."""


def asks_for_socket(request: Request) -> bool:
    """Whether a request is the sockets' affair: an upgrade on a path that is an endpoint, or the path of `/v1/ws`."""
    known = request.path == WS or (wants_websocket(request) and bool(dialects.methods(request.path)))
    return known and request.method == b"GET"


async def serve(desk: Desk, exchange: Exchange, reply: Reply) -> None:
    """One socket, from its handshake to its end.

    Raises:
        Fault: before the handshake was answered: UPGRADE_REQUIRED, or why the client may not.
    """
    request = exchange.request
    if request.path not in SESSIONS or not wants_websocket(request):
        raise Fault(Kind.UPGRADE_REQUIRED)
    exchange.endpoint, session = SESSIONS[request.path]
    headers = headers_of(request)
    named = not exchange.world.auth or request.path != WS or credential(request, gemini=False) is not None
    if named:
        exchange.principal = desk.whoever(request)
        permit_endpoint(exchange.principal, request.path.decode("latin-1"), "inference")
    if not exchange.world.auth:
        _check_origin(request)
    try:
        async with websocket(request, reply) as socket:
            exchange.status = 101
            if not named and not await _authenticated(desk, exchange, socket, headers):
                return
            await _watched(Opened(socket, desk, request, headers), session)
    except BadHandshake as bad:
        raise Fault(Kind.UPGRADE_REQUIRED if bad.status == 426 else Kind.INVALID_REQUEST, bad.reason) from None
    except Exception:
        if exchange.status != 101:
            raise
        log.exception("socket %s failed", exchange.request_id)  # its client has been told 1011
        exchange.ending = Kind.INTERNAL_ERROR.value


def _check_origin(request: Request) -> None:
    origin = request.get(b"origin")
    if origin is not None and origin.partition(b"://")[2] != request.get(b"host"):
        raise Fault(Kind.PERMISSION_DENIED, "Pages of other origins may not use this instance.")


async def _authenticated(desk: Desk, exchange: Exchange, socket: WebSocket, headers: list[Header]) -> bool:
    """Wait for the `auth` message, and put its key where a request has it."""
    with trio.move_on_after(socket.limits.handshake) as waiting:
        text = await socket.receive()
    if waiting.cancelled_caught:
        hit("ws_auth")
        socket.close(NO_AUTH, "no auth message in time")
    if waiting.cancelled_caught or text is None:
        return False
    try:
        first = language.read(text)
        if not isinstance(first, language.Auth):
            raise Fault(Kind.INVALID_API_KEY, "The first message must be of type 'auth'.")
        headers.append((b"authorization", b"Bearer " + first.api_key.encode()))
        exchange.principal = desk.whoever(Asked(exchange.request, headers))
        permit_endpoint(exchange.principal, exchange.request.path.decode("latin-1"), "inference")
    except Fault as fault:
        exchange.ending = fault.kind.value
        await socket.send(language.fault_message(fault, language.id_of(text)))
        socket.close(NO_KEY, fault.kind.value)
        return False
    await socket.send(language.AUTHENTICATED)
    return True


async def _watched(opened: Opened, session: Session) -> None:
    """Run the session for as long as the key is good."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, opened, nursery.cancel_scope, name="socket.watch")
        await session(opened)
        nursery.cancel_scope.cancel()


async def _watch(opened: Opened, scope: trio.CancelScope) -> None:
    while True:
        await trio.sleep(LOOK_EVERY)
        try:
            opened.desk.whoever(opened.asked(b""))
        except Fault as fault:
            opened.socket.close(NO_KEY, fault.kind.value)
            scope.cancel()
            return

