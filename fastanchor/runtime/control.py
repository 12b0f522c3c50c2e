"""The control process: the control plane's app on hypercorn, at a unix socket that only the workers talk to."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import orjson
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework

from fastanchor.control.app import Control
from fastanchor.settings.compile import Settings
from fastanchor.store import shm
from fastanchor.store.bookkeeper import Bookkeeper
from fastanchor.wire import errors as wire
from fastanchor.wire.dial import Origin
from fastanchor.wire.pool import Pool

log = logging.getLogger("fastanchor")

ASK_SECONDS = 2.0
MAX_STATE = 16 * 1024 * 1024


class Links:
    """The way to the workers. One that does not answer in time is left out."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.pool = Pool()

    async def gather(self) -> list[dict[str, Any]]:
        """The state of every worker that answers."""
        states: list[dict[str, Any]] = []
        async with trio.open_nursery() as nursery:
            for path in self.paths:
                nursery.start_soon(self._ask, path, states)
        return states

    async def _ask(self, path: str, states: list[dict[str, Any]]) -> None:
        origin = Origin("http", path, 0)
        try:
            response = await self.pool.request(
                origin, b"GET", b"/state", [], connect_timeout=ASK_SECONDS, first_byte_timeout=ASK_SECONDS
            )
            body = await response.read_all(MAX_STATE)
            response.close()
        except wire.WireError as error:
            log.warning("a worker did not tell its state: %r", error)
            return
        states.append(orjson.loads(body))


def bookkeeper(state_dir: Path, settings: Settings) -> Bookkeeper:
    """The one writer of the ledger, with the accounts of the configured keys wanted."""
    table, _ = shm.open_tables(state_dir)
    ledger = settings.server.ledger
    keeper = Bookkeeper(state_dir, table, rule=ledger.lost_requests, retention=ledger.retention_days * 86_400)
    keeper.expect(settings.snapshot.keys.values())
    return keeper


async def _main(
    listener: socket.socket, links: list[str], lifeline: int, state_dir: Path, load: Callable[[], Settings]
) -> None:
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.include_server_header = False
    config.graceful_timeout = 1.0
    config.loglevel = "WARNING"
    reach = Links(links)
    settings = load()
    keeper = bookkeeper(state_dir, settings)
    app = cast(ASGIFramework, Control(reach.gather))
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, app, config)
            nursery.start_soon(keeper.run)

            async def until_gone() -> None:
                await trio.lowlevel.wait_readable(lifeline)
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_gone)
            async for number in signals:
                if number == signal.SIGTERM:
                    nursery.cancel_scope.cancel()
                else:
                    keeper.expect(load().snapshot.keys.values())


def run_control(
    listener: socket.socket, links: list[str], lifeline: int, state_dir: Path, load: Callable[[], Settings]
) -> None:
    """Be the control process until told to stop."""
    trio.run(_main, listener, links, lifeline, state_dir, load)
