"""Objects that clients make at channels, as one worker looks them up: in a thread, one call at a time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import TypeVar

import trio

from fastanchor.core.channel import Secret
from fastanchor.core.faults import Fault, Kind
from fastanchor.store.objects import Made, ObjectStore
from fastanchor.store.sqlite import StoreError

log = logging.getLogger("fastanchor")

_T = TypeVar("_T")


def account(key: Secret | None) -> str:
    """The name under which a channel's key is remembered."""
    return "" if key is None else blake2b(key.encode(), digest_size=8, person=b"account").hexdigest()


class Objects:
    """The organisations' objects. All methods raise Fault(SERVICE_UNAVAILABLE).

    Args:
        path: the database, made with its directory when it is first needed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._store: ObjectStore | None = None
        self._limiter = trio.CapacityLimiter(1)

    async def made(self, organization: str, kind: str, object_id: str, channel: str, key: Secret | None) -> None:
        """An object was made."""
        one = Made(object_id, channel, account(key), time.time())
        await self._run(lambda store: store.save(organization, kind, one))

    async def find(self, organization: str, kind: str, object_id: str) -> Made:
        """The organisation's object. Raises Fault(NOT_FOUND): not there, or not theirs."""
        found = await self._run(lambda store: store.find(organization, kind, object_id))
        if found is None:
            raise missing(object_id)
        return found

    async def page(self, organization: str, kind: str, after: str, limit: int) -> list[Made]:
        """The organisation's objects, the newest first."""
        return await self._run(lambda store: store.page(organization, kind, after, limit))

    async def forget(self, organization: str, kind: str, object_id: str) -> None:
        """The object is gone."""
        await self._run(lambda store: store.forget(organization, kind, object_id))

    async def _run(self, work: Callable[[ObjectStore], _T]) -> _T:
        try:
            return await trio.to_thread.run_sync(lambda: work(self._opened()), limiter=self._limiter)
        except (StoreError, OSError) as error:
            log.error("the objects of organisations cannot be looked up: %s", error)
            raise Fault(Kind.SERVICE_UNAVAILABLE, "Objects cannot be looked up at the moment.") from error

    def _opened(self) -> ObjectStore:
        if self._store is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._store = ObjectStore(self.path)
        return self._store

    def close(self) -> None:
        """Close the database; no call may be under way."""
        if self._store is not None:
            self._store.close()
            self._store = None


def missing(object_id: str) -> Fault:
    """For an object that is not there, or somebody else's."""
    return Fault(Kind.NOT_FOUND, f"No such object: '{object_id[:200]}'.", param="id")
