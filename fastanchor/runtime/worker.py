"""One data process: serves its listeners until it is told to drain, or its supervisor is gone.

SIGTERM: accept nobody any more, let answers end (up to the drain deadline), leave; a second one: cut them, account for
them, leave. SIGHUP: load the configuration again and swap it in whole; a bad one changes nothing.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson
import trio

from fastanchor._speedups.http1 import HeadLimits
from fastanchor.core.receipt import Receipt
from fastanchor.engine.conversations import Conversations
from fastanchor.engine.gateway import Gateway
from fastanchor.engine.meters import Meters
from fastanchor.engine.objects import Objects
from fastanchor.policy.health import Health
from fastanchor.runtime import probes
from fastanchor.runtime.books import Books
from fastanchor.runtime.children import KILL, listen, tell_ready
from fastanchor.runtime.forward import METRICS, forward
from fastanchor.runtime.log import AccessLog
from fastanchor.runtime.memory import give_memory_back, settle_memory
from fastanchor.runtime.phase import Phase
from fastanchor.settings.compile import Settings
from fastanchor.settings.problem import SettingsError
from fastanchor.settings.schema import Limits
from fastanchor.settings.server import ServerSettings
from fastanchor.settings.tls import KeyPair, TlsSettings
from fastanchor.store.bodies import FOLDER, Bodies
from fastanchor.store.keyring import Keyring
from fastanchor.wire.bodies import bodies
from fastanchor.wire.coding import DecodingLimits
from fastanchor.wire.dial import Origin
from fastanchor.wire.hits import limit_hits
from fastanchor.wire.limits import H2Limits, ServerLimits, WSLimits, default_connections, most_connections
from fastanchor.wire.listen import serve
from fastanchor.wire.message import Reply, Request
from fastanchor.wire.occupancy import Floor, Occupancy
from fastanchor.wire.pool import Pool
from fastanchor.wire.server_h1 import Drain
from fastanchor.wire.tls_server import CertificateFiles, ServerTLS, TLSFiles

log = logging.getLogger("fastanchor")

MAX_UPSTREAM_CONNECTIONS = 65_536
"""Per origin. Channels have caps of their own; this one only bounds a mistake."""


@dataclass(frozen=True, slots=True)
class Post:
    """Where a worker stands in the instance.

    `listeners` are those of all workers, and `floor` shows what each of these has open; `link` is the unix socket on
    which the control process asks it, `ring` the keys that are known already, `supervisor` the process that is told
    when the worker serves.
    """

    slot: int
    listeners: Sequence[socket.socket]
    link: socket.socket
    control: Origin
    pepper: bytes
    state_dir: Path
    ring: Keyring
    supervisor: int
    floor: Floor


def wire_limits(server: ServerSettings) -> ServerLimits:
    """The wire's bounds from the configuration's."""
    limits = server.limits
    return ServerLimits(
        head=HeadLimits(
            line=limits.request_line_bytes, field=limits.field_bytes, head=limits.head_bytes, fields=limits.fields
        ),
        head_deadline=limits.head_seconds,
        body=limits.body_bytes,
        body_stall=limits.body_seconds,
        body_rate=limits.body_bytes_per_second,
        body_grace=limits.body_grace_seconds,
        linger_bytes=limits.linger_bytes,
        linger=limits.linger_seconds,
        idle=limits.keep_alive_seconds,
        pressed_idle=limits.keep_alive_pressed_seconds,
        requests=limits.requests_per_connection,
        write_stall=limits.write_stall_seconds,
        connections=min(limits.max_connections or default_connections(), most_connections()),
        connections_per_address=limits.connections_per_address,
        connections_per_address_per_second=limits.connections_per_address_per_second,
        half_close_aborts=server.half_close_aborts,
        handshake=limits.tls_handshake_seconds,
        h2=h2_limits(limits),
        ws=ws_limits(limits),
    )


def decoding_limits(limits: Limits) -> DecodingLimits:
    """Those of request bodies with a content coding."""
    return DecodingLimits(ratio=limits.decoded_ratio, grace=limits.decoded_grace_bytes)


def h2_limits(limits: Limits) -> H2Limits:
    """Those of HTTP/2."""
    return H2Limits(
        streams=limits.h2_streams,
        stream_window=limits.h2_stream_window_bytes,
        connection_window=limits.h2_connection_window_bytes,
        continuations=limits.h2_continuations,
        resets=limits.h2_resets,
        pings=limits.h2_pings,
        settings=limits.h2_settings,
        glitches=limits.h2_glitches,
        unsent=limits.h2_unsent_bytes,
        preface=limits.h2_preface_seconds,
        header_block=limits.h2_header_seconds,
        window_stall=limits.h2_window_seconds,
    )


def ws_limits(limits: Limits) -> WSLimits:
    """Those of WebSocket."""
    return WSLimits(
        message=limits.ws_message_bytes,
        frame=limits.ws_frame_bytes,
        fragments=limits.ws_fragments,
        control_frames=limits.ws_control_frames,
        unsent=limits.ws_unsent_bytes,
        ping_every=limits.ws_ping_seconds,
        pong_within=limits.ws_pong_seconds,
        idle=limits.ws_idle_seconds,
        handshake=limits.ws_auth_seconds,
        close=limits.ws_close_seconds,
    )


def tls_files(tls: TlsSettings) -> TLSFiles:
    """The wire's certificates from the configuration's."""

    def files(pair: KeyPair) -> CertificateFiles:
        return CertificateFiles(pair.certificate, pair.key)

    by_name = {name: files(pair) for name, pair in tls.by_name.items()}
    return TLSFiles(files(tls.default), by_name, tls.client_ca, tls.client_required)


class Worker:
    """Puts a gateway on listeners.

    Args:
        seat: the process's column of the shared tables.
        load: reads and compiles the configuration again (for SIGHUP).
    """

    def __init__(self, settings: Settings, post: Post, seat: int, load: Callable[[], Settings]) -> None:
        self.settings = settings
        self.post = post
        self.load = load
        self.phase = Phase()
        self.pool = Pool(max_per_origin=MAX_UPSTREAM_CONNECTIONS)
        self.meters = Meters(frozenset(settings.snapshot.models()))
        self.access = None if settings.server.access_log == "off" else AccessLog(settings.server.access_log)
        sinks: tuple[Callable[[Receipt], None], ...] = (self.meters.count,)
        if self.access is not None:
            sinks += (self.access,)
        self.books = Books(post.state_dir, seat, settings, post.ring)
        self.conversations = Conversations(
            post.state_dir / "responses.sqlite", settings.server.responses_retention
        )
        self.gateway = Gateway(
            settings.snapshot,
            self.pool,
            post.pepper,
            sinks=sinks,
            elsewhere=self._elsewhere,
            conversations=self.conversations,
            books=self.books.admission,
            strangers=self.books.strangers,
            ring=self.books.ring,
            objects=Objects(post.state_dir / "objects.sqlite"),
            bodies=Bodies(post.state_dir / FOLDER) if settings.server.ledger.bodies else None,
        )
        self.gateway.upload_bytes = settings.server.limits.upload_bytes
        self.gateway.decoding = decoding_limits(settings.server.limits)
        self.drains: list[Drain] = []
        self.linked = Drain()
        self.occupancy = Occupancy(post.floor, seat)
        self.tls = None if settings.server.tls is None else ServerTLS(tls_files(settings.server.tls))

    async def run(self, lifeline: int) -> None:
        """Serve until drained."""
        bodies().most = self.settings.server.limits.bodies_bytes
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            listen()
            async with trio.open_nursery() as background:
                background.start_soon(self._obey, signals, background.cancel_scope)
                background.start_soon(self._watch, lifeline, background.cancel_scope)
                background.start_soon(self.pool.run)
                background.start_soon(self.books.run, self.phase)
                background.start_soon(self.gateway.settling.run)
                background.start_soon(give_memory_back)
                if self.access is not None:
                    background.start_soon(self.access.run)
                background.start_soon(partial(serve, self.post.link, self._linked, drain=self.linked))
                await self._serve()
                background.cancel_scope.cancel()
        self.books.close()
        self.conversations.close()

    async def _serve(self) -> None:
        limits = wire_limits(self.settings.server)
        async with trio.open_nursery() as nursery:
            for listener in self.post.listeners:
                drain = Drain(self.occupancy)
                self.drains.append(drain)

                async def accept(listener: socket.socket = listener, drain: Drain = drain) -> None:
                    tls = None if listener.family == socket.AF_UNIX else self.tls
                    await serve(listener, self.gateway, limits=limits, drain=drain, tls=tls)

                nursery.start_soon(accept)
            settle_memory()
            self.occupancy.enter()
            self.phase.ready = True
            tell_ready(self.post.supervisor)

    async def _obey(self, signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                await self.reload()
            elif self.phase.draining:
                scope.cancel()
            else:
                self.drain(scope)

    async def _watch(self, lifeline: int, scope: trio.CancelScope) -> None:
        """Drain when the supervisor is gone."""
        await trio.lowlevel.wait_readable(lifeline)
        log.error("the supervisor is gone; worker %d drains", self.post.slot)
        self.drain(scope)

    def drain(self, scope: trio.CancelScope) -> None:
        """Accept nobody any more; open answers go on to their end, or to the deadline."""
        self.phase.draining = True
        scope.deadline = trio.current_time() + self.settings.server.drain_seconds
        for drain in (*self.drains, self.linked):
            drain.start()

    async def reload(self) -> None:
        """Swap in the configuration as it now is; a bad one changes nothing."""
        try:
            settings = await trio.to_thread.run_sync(self.load)  # a long file takes a while: streams go on meanwhile
            if self.tls is not None and settings.server.tls is not None:  # which addresses have TLS needs a restart
                self.tls.load(tls_files(settings.server.tls))
        except (SettingsError, OSError) as error:
            log.error("worker %d keeps its configuration: %s", self.post.slot, error)
            return
        self.settings = settings
        bodies().most = settings.server.limits.bodies_bytes
        self.gateway.world = settings.snapshot
        await self.books.replan(settings)
        self.conversations.retention = settings.server.responses_retention
        self.meters.models = frozenset(settings.snapshot.models())

    async def _elsewhere(self, request: Request, reply: Reply, request_id: str) -> bool:
        if await probes.answer(self.phase, request, reply, request_id):
            return True
        if request.path == METRICS and not self.settings.server.metrics:
            return False
        return await forward(self.gateway, self.post.control, request, reply, request_id)

    async def _linked(self, request: Request, reply: Reply) -> None:
        """What the control process asks of this worker, and what it tells it."""
        if request.path == KILL:
            killed = self.gateway.kill((await request.body()).decode("latin-1"))
            await reply.respond(200, [probes.JSON], orjson.dumps({"killed": killed}))
            return
        if request.method == b"POST":
            self.books.heard(orjson.loads(await request.body())["trouble"])
        self.meters.in_flight = self.gateway.in_flight
        state = {
            "slot": self.post.slot,
            "epoch": self.books.journal.epoch,
            "status": self.phase.status,
            "meters": self.meters.dump(),
            "limit_hits": dict(limit_hits()),
            "body_bytes": bodies().held,
            "journal": self.books.state(),
            "channels": channel_rows(self.gateway.traffic.health, trio.current_time()),
        }
        if self.access is not None:
            state["log_dropped"] = self.access.dropped
        await reply.respond(200, [probes.JSON], orjson.dumps(state))


def channel_rows(health: Health, now: float) -> list[dict[str, object]]:
    """What this worker knows of each channel that it has used."""
    return [
        {
            "channel": name,
            "breaker": state.breaker.state(now).value,
            "in_flight": state.concurrency.in_flight,
            "limit": int(state.concurrency.limit),
            "first_token": round(state.latency.average(now), 4),
            "keys_parked": {str(key): round(k.until - now, 1) for key, k in state.keys.items() if k.until > now},
        }
        for name, state in health.channels.items()
    ]


async def _main(settings: Settings, post: Post, seat: int, load: Callable[[], Settings], lifeline: int) -> None:
    await Worker(settings, post, seat, load).run(lifeline)


def run_worker(settings: Settings, post: Post, seat: int, load: Callable[[], Settings], lifeline: int) -> None:
    """Be a worker (in a forked child) until drained."""
    trio.run(_main, settings, post, seat, load, lifeline, restrict_keyboard_interrupt_to_checkpoints=True)
