"""The control process: the control plane's app on hypercorn, at a unix socket that only the workers talk to."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from typing import Any, cast

import orjson
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from hypercorn.typing import ASGIFramework

from fastanchor.control.app import Control
from fastanchor.runtime.children import KILL, listen
from fastanchor.runtime.office import Office
from fastanchor.settings.compile import Settings
from fastanchor.settings.problem import SettingsError
from fastanchor.wire import errors as wire
from fastanchor.wire.dial import Origin
from fastanchor.wire.pool import Pool

log = logging.getLogger("fastanchor")

ASK_SECONDS = 2.0
TELL_SECONDS = 1.0
MAX_STATE = 16 * 1024 * 1024


class Links:
    """The way to the workers. One that does not answer in time is left out."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths
        self.pool = Pool()

    async def gather(self) -> list[dict[str, Any]]:
        """The state of every worker that answers."""
        return await self._each(b"GET", b"")

    async def tell(self, trouble: str) -> None:
        """Tell every worker what is wrong with the ledger, or that nothing is."""
        await self._each(b"POST", orjson.dumps({"trouble": trouble}))

    async def kill(self, request_id: str) -> bool:
        """End a request wherever it runs. Tells whether it ran anywhere."""
        return any(answer["killed"] for answer in await self._each(b"POST", request_id.encode(), KILL))

    async def _each(self, method: bytes, body: bytes, path: bytes = b"/state") -> list[dict[str, Any]]:
        states: list[dict[str, Any]] = []
        async with trio.open_nursery() as nursery:
            for worker in self.paths:
                nursery.start_soon(self._ask, worker, method, path, body, states)
        return states

    async def _ask(
        self, worker: str, method: bytes, path: bytes, body: bytes, states: list[dict[str, Any]]
    ) -> None:
        origin = Origin("http", worker, 0)
        try:
            response = await self.pool.request(
                origin, method, path, [], body, connect_timeout=ASK_SECONDS, first_byte_timeout=ASK_SECONDS
            )
            answer = await response.read_all(MAX_STATE)
            response.close()
        except wire.WireError as error:
            log.warning("a worker did not tell its state: %r", error)
            return
        states.append(orjson.loads(answer))


class Process:
    """What runs in the control process beside the app."""

    def __init__(
        self, office: Office, links: Links, load: Callable[[], Settings], announce: Callable[[], None]
    ) -> None:
        self.office = office
        self.links = links
        self.load = load
        self.announce = announce

    async def run(self, app: ASGIFramework, config: Config, lifeline: int) -> None:
        """Serve until told to stop, or until the supervisor is gone."""
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            listen()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(serve, app, config)
                nursery.start_soon(self.office.keeper.run)
                nursery.start_soon(self.office.follow)
                nursery.start_soon(self._tell)
                nursery.start_soon(_until_gone, lifeline, nursery.cancel_scope)
                self.announce()
                async for number in signals:
                    if number == signal.SIGTERM:
                        nursery.cancel_scope.cancel()
                    else:
                        await self._reload()
        self.office.close()

    async def _tell(self) -> None:
        """Tell the workers how the ledger is, so that their probes can."""
        while True:
            await self.links.tell(self.office.keeper.trouble)
            await trio.sleep(TELL_SECONDS)

    async def _reload(self) -> None:
        try:
            settings = await trio.to_thread.run_sync(self.load)
        except SettingsError as error:
            log.error("the control process keeps its configuration: %s", error)
            return
        await trio.to_thread.run_sync(self.office.take, settings)


async def _until_gone(lifeline: int, scope: trio.CancelScope) -> None:
    await trio.lowlevel.wait_readable(lifeline)
    scope.cancel()


async def _main(
    listener: socket.socket, paths: list[str], lifeline: int, office: Office, load: Callable[[], Settings],
    announce: Callable[[], None],
) -> None:
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.include_server_header = False
    config.graceful_timeout = 1.0
    config.loglevel = "WARNING"
    links = Links(paths)
    app = Control(links.gather, office.keys, office.accounts, office.credits, office.standing, office.lives, links.kill)
    await Process(office, links, load, announce).run(cast(ASGIFramework, app), config, lifeline)


def run_control(
    listener: socket.socket, paths: list[str], lifeline: int, office: Office, load: Callable[[], Settings],
    announce: Callable[[], None],
) -> None:
    """Be the control process until told to stop; `announce` is called when it runs."""
    trio.run(_main, listener, paths, lifeline, office, load, announce)
