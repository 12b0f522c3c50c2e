"""The keys as a worker holds them: digests in a dictionary, kept up to date without a database query per request.

A change is in force as soon as `follow` has seen it: it looks at one shared word every INTERVAL, which costs nothing,
and reads only the keys that changed.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec
import trio

from fastanchor._speedups.bucket import Table
from fastanchor.core.principal import UNLIMITED, Plan, Principal
from fastanchor.store.keys import limits_of
from fastanchor.store.shm import KEYS_CHANGED
from fastanchor.store.sqlite import Busy, StoreError, Unusable

log = logging.getLogger("fastanchor")

INTERVAL: Final = 0.05
RETRY: Final = 0.5

_CHANGED: Final = """
SELECT id, organization, name, scopes, models, endpoints, addresses, plan, limits, expires, revoked, version
FROM key WHERE version > ? ORDER BY version
"""


class Keyring:
    """The holders of all keys, by digest.

    Args:
        path: the database of `keys.KeyStore`; one that is not there yet has no keys.
        plans: the configured plans. A key whose plan is not among them is not let in.
        organizations: what organisations are held to as a whole.
    """

    def __init__(self, path: Path, plans: Mapping[str, Plan], organizations: Mapping[str, Plan] | None = None) -> None:
        self._path = path
        self._plans = plans
        self._organizations = organizations or {}
        self._digests: dict[str, tuple[bytes, ...]] = {}  # key id → digests of its secrets
        self._shared: dict[str, Any] = {}  # lists that many keys have in common, by their JSON
        self._version = 0
        self._lock = threading.Lock()  # one refresh at a time, from whatever thread
        self.keys: dict[bytes, Principal] = {}
        self.trouble = ""

    def replan(self, plans: Mapping[str, Plan], organizations: Mapping[str, Plan] | None = None) -> None:
        """Take over other plans, with the next `refresh`; it reads every key again, but only if something changed."""
        shared = organizations or {}
        if (dict(plans), dict(shared)) != (dict(self._plans), dict(self._organizations)):
            self._plans, self._organizations = plans, shared
            self._version = 0

    def refresh(self) -> list[Principal]:
        """Take over what has changed. Returns the keys that are new or different.

        Raises:
            StoreError: the database cannot be read (see `trouble`); the keys are those that were known before.
        """
        if not self._path.exists():
            self.trouble = ""
            return []
        try:
            with self._lock:
                found = self._take_over()
        except (apsw.BusyError, apsw.LockedError) as error:
            self.trouble = f"{self._path} is locked by another process"
            raise Busy(self.trouble) from error
        except apsw.Error as error:
            self.trouble = f"{self._path} cannot be read: {error}"
            raise Unusable(self.trouble) from error
        self.trouble = ""
        return found

    def _take_over(self) -> list[Principal]:
        database = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            database.set_busy_timeout(1_000)
            database.execute("BEGIN")
            rows: list[Any] = database.execute(_CHANGED, (self._version,)).fetchall()
            all_of_them = self._version == 0
            secrets = self._secrets(database, None if all_of_them else [row[0] for row in rows])
        finally:
            database.close()
        if not rows:
            return []
        keys, digests = self._holders(rows, secrets)
        if all_of_them:
            self.keys, self._digests = keys, digests
        else:
            self.keys.update(keys)  # first what is new, so that no key is missing for a moment
            for id, now in digests.items():
                for digest in self._digests.get(id, ()):
                    if digest not in keys:
                        self.keys.pop(digest, None)
                self._digests[id] = now
        self._version = rows[-1][-1]
        return list(keys.values())

    def _holders(
        self, rows: list[Any], secrets: dict[str, list[tuple[bytes, float | None]]]
    ) -> tuple[dict[bytes, Principal], dict[str, tuple[bytes, ...]]]:
        """Principals by digest, and digests by key."""
        keys: dict[bytes, Principal] = {}
        digests: dict[str, tuple[bytes, ...]] = {}
        for row in rows:
            mine = secrets.get(row[0], ())
            digests[row[0]] = tuple(digest for digest, _ in mine)
            for digest, expires in mine:
                principal = self._principal(row, expires)
                if principal is not None:
                    keys[digest] = principal
        return keys, digests

    def _secrets(self, database: apsw.Connection, ids: list[str] | None) -> dict[str, list[tuple[bytes, float | None]]]:
        """Digests and ends of the secrets of these keys, or of all."""
        query = "SELECT key, digest, expires FROM secret"
        found: dict[str, list[tuple[bytes, float | None]]] = {}
        parts: list[tuple[str, tuple[str, ...]]] = [(query, ())]
        if ids is not None:
            parts = [(f"{query} WHERE key = ?", (id,)) for id in ids]
        for text, values in parts:
            rows: Any = database.execute(text, values)
            for key, digest, expires in rows:
                found.setdefault(key, []).append((digest, expires))
        return found

    def _principal(self, row: Any, secret_expires: float | None) -> Principal | None:
        """The holder, or None for a key that nobody may use."""
        id, organization, name, scopes, models, endpoints, addresses, plan, limits, expires, revoked, _ = row
        if revoked is not None:
            return None
        held_to = UNLIMITED if plan == "" else self._plans.get(plan)
        if held_to is None:
            log.error("key %s is not let in: there is no plan %r", id, plan)
            return None
        ends = [end for end in (expires, secret_expires) if end is not None]
        return Principal(
            key_id=id,
            name=name,
            organization=sys.intern(organization),
            scopes=self._list(scopes, frozenset),
            models=self._list(models, tuple),
            endpoints=self._list(endpoints, tuple),
            plan=held_to,
            limits=limits_of(limits, name),
            expires=min(ends, default=None),
            addresses=self._list(addresses, tuple),
            shared=self._organizations.get(organization),
        )

    def _list(self, text: str, kind: type) -> Any:
        found = self._shared.get(text)
        if not isinstance(found, kind):
            if len(self._shared) > 10_000:
                self._shared.clear()
            found = self._shared[text] = kind(msgspec.json.decode(text))
        return found

    async def follow(self, table: Table) -> None:
        """Refresh whenever the table's counter of changes moves, until cancelled. Each trouble is told once."""
        seen, told = -1, ""
        while True:
            now = table.counter(KEYS_CHANGED)
            if now != seen:
                try:
                    await trio.to_thread.run_sync(self.refresh)
                    seen = now
                except StoreError as error:
                    if str(error) != told:
                        log.error("changed keys are not in force yet: %s", error)
                    await trio.sleep(RETRY)
                told = self.trouble
            await trio.sleep(INTERVAL)
