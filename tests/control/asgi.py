"""The control plane's app over real databases in a folder, asked without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from fastanchor._speedups.bucket import Table
from fastanchor.control.accounts import Accounts
from fastanchor.control.app import Control
from fastanchor.control.credits import Credits
from fastanchor.control.keys import Keys
from fastanchor.control.request import PRINCIPAL
from fastanchor.core.principal import Plan, Principal
from fastanchor.store import shm
from fastanchor.store.bookkeeper import Bookkeeper
from fastanchor.store.keyring import Keyring
from fastanchor.store.keys import DATABASE, KeyStore

RUNNING = "req_running"
"""The one request that is under way."""
PLANS = {"paid": Plan("paid", requests_per_minute=100, credits=5_000_000)}
OPERATOR = ["admin", "", ["inference", "training", "models", "admin"]]


@dataclass
class Desk:
    """`holders` are the keys of the configuration."""

    app: Control
    store: KeyStore
    keeper: Bookkeeper
    table: Table
    ring: Keyring
    holders: list[Principal] = field(default_factory=list)

    async def ask(
        self, method: str, target: str, caller: list[Any] | None = None, body: object = None
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer. `caller` is [key id, organisation, scopes]."""
        status, raw = await self.raw(method, target, caller, b"" if body is None else orjson.dumps(body))
        return status, orjson.loads(raw)

    async def raw(self, method: str, target: str, caller: list[Any] | None, body: bytes) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        headers = [] if caller is None else [(PRINCIPAL, orjson.dumps(caller))]
        scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(),
                 "query_string": query.encode(), "headers": headers}
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        return sent[0]["status"], sent[1]["body"]

    def find(self, key_id: str) -> Principal | None:
        self.ring.refresh()
        return next((p for p in (*self.ring.keys.values(), *self.holders) if p.key_id == key_id), None)


@contextmanager
def desk(folder: Path, states: list[dict[str, Any]] | None = None) -> Iterator[Desk]:
    shm.prepare(folder, owners=10, workers=2)
    table, addresses = shm.open_tables(folder)
    store = KeyStore(folder / DATABASE, b"pepper")
    keeper = Bookkeeper(folder, table, retention=1e10)
    found = Desk(Control.__new__(Control), store, keeper, table, Keyring(folder / DATABASE, PLANS))

    async def gather() -> list[dict[str, Any]]:
        return states or []

    async def kill(request_id: str) -> bool:
        return request_id == RUNNING

    found.app = Control(
        gather,
        lambda: Keys(store, found.find, PLANS),
        lambda: Accounts(keeper.ledger),
        lambda: Credits(keeper),
        lambda: {**keeper.standing(), **dict.fromkeys(shm.NOTED, 0)},
        lambda epoch: True,
        kill,
    )
    try:
        yield found
    finally:
        store.close()
        keeper.close()
        table.close()
        addresses.close()


def as_caller(principal: Principal) -> list[Any]:
    return [principal.key_id, principal.organization, sorted(principal.scopes)]
