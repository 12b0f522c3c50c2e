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

from fastanchor.control.accounts import Accounts
from fastanchor.control.app import Control
from fastanchor.control.keys import Keys
from fastanchor.core.principal import Principal
from fastanchor.settings.compile import Settings
from fastanchor.store import shm
from fastanchor.store.bookkeeper import Bookkeeper
from fastanchor.store.keyring import INTERVAL, Keyring
from fastanchor.store.keys import DATABASE, KeyStore
from fastanchor.store.sqlite import StoreError
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


class Office:
    """The databases of the control process: the one writer of the ledger, and the keys."""

    def __init__(self, state_dir: Path, settings: Settings, pepper: bytes) -> None:
        self.state_dir = state_dir
        self.settings = settings
        self.pepper = pepper
        self.table, _ = shm.open_tables(state_dir)
        self.ring = Keyring(state_dir / DATABASE, settings.snapshot.plans)
        ledger = settings.server.ledger
        self.keeper = Bookkeeper(
            state_dir, self.table, rule=ledger.lost_requests, retention=ledger.retention_days * 86_400
        )
        self._store: KeyStore | None = None
        self.expect()

    def take(self, settings: Settings) -> None:
        """Take over a new configuration."""
        self.settings = settings
        self.ring.replan(settings.snapshot.plans)
        self.expect()

    def expect(self) -> None:
        """See to it that the accounts of all keys are open."""
        try:
            self.ring.refresh()
        except StoreError as error:
            log.error("keys cannot be read: %s", error)
        self.keeper.expect([*self.settings.snapshot.keys.values(), *self.ring.keys.values()])

    async def follow(self) -> None:
        """Learn of keys that another process has changed, until cancelled."""
        seen = self.table.counter(shm.KEYS_CHANGED)
        while True:
            await trio.sleep(INTERVAL)
            now = self.table.counter(shm.KEYS_CHANGED)
            if now != seen:
                seen = now
                await trio.to_thread.run_sync(self.expect)

    def keys(self) -> Keys:
        """Raises StoreError."""
        if self._store is None:
            self._store = KeyStore(self.state_dir / DATABASE, self.pepper, changed=self._changed)
        return Keys(self._store, self._holder)

    def accounts(self) -> Accounts:
        """Raises StoreError."""
        return Accounts(self.keeper.ledger)

    def _changed(self) -> None:
        self.expect()
        self.table.bump(shm.KEYS_CHANGED)

    def _holder(self, key_id: str) -> Principal | None:
        holders = (*self.ring.keys.values(), *self.settings.snapshot.keys.values())
        return next((principal for principal in holders if principal.key_id == key_id), None)


async def _main(
    listener: socket.socket, links: list[str], lifeline: int, state_dir: Path, pepper: bytes,
    load: Callable[[], Settings],
) -> None:
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.include_server_header = False
    config.graceful_timeout = 1.0
    config.loglevel = "WARNING"
    reach = Links(links)
    office = Office(state_dir, load(), pepper)
    app = cast(ASGIFramework, Control(reach.gather, office.keys, office.accounts))
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, app, config)
            nursery.start_soon(office.keeper.run)
            nursery.start_soon(office.follow)

            async def until_gone() -> None:
                await trio.lowlevel.wait_readable(lifeline)
                nursery.cancel_scope.cancel()

            nursery.start_soon(until_gone)
            async for number in signals:
                if number == signal.SIGTERM:
                    nursery.cancel_scope.cancel()
                else:
                    office.take(load())


def run_control(
    listener: socket.socket, links: list[str], lifeline: int, state_dir: Path, pepper: bytes,
    load: Callable[[], Settings],
) -> None:
    """Be the control process until told to stop."""
    trio.run(_main, listener, links, lifeline, state_dir, pepper, load)
