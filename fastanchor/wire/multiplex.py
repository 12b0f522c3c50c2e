"""The HTTP/2 connections of a pool: who has room for another request, and when to open one more.

Connections to an origin are opened one at a time, and only while none has room; so the first requests to an origin that
nobody knows yet wait for one handshake, and learn from it which version of HTTP is spoken there.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from .client_h2 import H2Client
from .dial import Dialer, Origin
from .errors import ConnectFailed, ConnectTimeout
from .link import Link
from .message import Headers
from .response_h2 import H2Response, NotProcessed
from .tls import TLSLink

logger = logging.getLogger(__name__)

EITHER = ("h2", "http/1.1")
ONLY = ("h2",)
TRIES = 3
"""How often a request is sent that servers say they have not looked at."""


class Place:
    """One origin."""

    __slots__ = ("clients", "http1", "opening")

    def __init__(self) -> None:
        self.clients: list[H2Client] = []
        self.opening = trio.Lock()
        self.http1 = False
        """ALPN has said that nothing newer is spoken there."""

    def with_room(self) -> H2Client | None:
        return next((client for client in self.clients if client.room > 0), None)


class Multiplexer:
    """The connections of all origins; they run in `nursery`."""

    def __init__(self, dialer: Dialer, nursery: trio.Nursery, most: int, idle_seconds: float) -> None:
        self._dialer = dialer
        self._nursery = nursery
        self._most = most
        self._idle_seconds = idle_seconds
        self._places: dict[Origin, Place] = {}

    def may_serve(self, origin: Origin) -> bool:
        """Whether requests to `origin` may go over HTTP/2."""
        if origin.http2 == "on":
            return True
        if origin.http2 == "off" or origin.scheme != "https":
            return False
        place = self._places.get(origin)
        return place is None or not place.http1

    async def request(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes,
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> H2Response | Link:
        """The response, its head read; or a link to an origin that turned out to speak HTTP/1.1 only."""
        for attempt in range(TRIES):
            client = await self._client(origin, connect_timeout)
            if isinstance(client, Link):
                return client
            try:
                return await client.request(method, target, headers, body, within=first_byte_timeout)
            except NotProcessed:
                if attempt == TRIES - 1:
                    raise
        raise AssertionError("unreachable")

    async def _client(self, origin: Origin, within: float) -> H2Client | Link:
        """A connection with room, within so many seconds. Raises ConnectTimeout, ConnectFailed."""
        place = self._places.setdefault(origin, Place())
        client = place.with_room()
        if client is not None:
            return client
        deadline = trio.current_time() + within
        with trio.move_on_at(deadline):
            async with place.opening:
                while (client := place.with_room()) is None:
                    if len(place.clients) < self._most:
                        return await self._open(origin, place, deadline - trio.current_time())
                    await place.clients[0].room_made.park()
                return client
        raise ConnectTimeout(f"no free connection to {origin.host} within {within:g} s")

    async def _open(self, origin: Origin, place: Place, within: float) -> H2Client | Link:
        offer: Sequence[str] = ONLY if origin.http2 == "on" else EITHER
        link = await self._dialer.dial(origin, within, offer)
        if isinstance(link, TLSLink) and link.sock.selected_alpn_protocol() != "h2":
            if origin.http2 == "on":
                link.close()
                raise ConnectFailed(f"{origin.host} does not speak HTTP/2")
            place.http1 = True
            return link
        client = H2Client(origin, link, self._idle_seconds)
        place.clients.append(client)
        self._nursery.start_soon(self._run, place, client, name="wire.h2_client")
        return client

    async def _run(self, place: Place, client: H2Client) -> None:
        try:
            await client.run()
        except Exception:
            logger.exception("connection to %s failed", client.origin.host)
        finally:
            place.clients.remove(client)

    def counts(self, origin: Origin) -> tuple[int, int]:
        """(connections, streams) to one origin."""
        clients = self._places[origin].clients if origin in self._places else []
        return len(clients), sum(len(client.streams) for client in clients)

    def close(self) -> None:
        """Connections end with their last responses."""
        for place in self._places.values():
            for client in list(place.clients):
                client.close()
