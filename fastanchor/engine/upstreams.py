"""What the engine needs of whoever carries its requests to upstreams: `wire.pool.Pool`, or a script in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from fastanchor.wire.dial import Origin
from fastanchor.wire.message import Header, Headers
from fastanchor.wire.upload import Source


class Response(Protocol):
    """One response: its head whole, its body to be read. Closed in every case. See `wire.client_h1.Response`."""

    status: int
    idle_timeout: float | None
    patience: float | None

    @property
    def headers(self) -> Sequence[Header]:
        """Names in lower case."""

    @property
    def complete(self) -> bool:
        """The body has been read to its end."""

    def get(self, name: bytes) -> bytes | None:
        """The first value of a field."""

    async def read(self) -> bytes:
        """The next bytes, b"" at the complete end. Raises ReadTimeout, Truncated, BadResponse, NothingYet."""

    async def read_all(self, limit: int) -> bytes:
        """The rest of the body."""

    def close(self) -> None:
        """Give the connection back, or close it at once."""


class Upstreams(Protocol):
    """Requests in, responses out."""

    async def request(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: bytes = b"",
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> Response:
        """The response's head. Raises ConnectFailed and its kin, ResetBeforeResponse, ResponseTimeout, Truncated,
        BadResponse."""


@runtime_checkable
class Uploading(Protocol):
    """Upstreams that take a body while it comes."""

    async def upload(
        self,
        origin: Origin,
        method: bytes,
        target: bytes,
        headers: Headers,
        source: Source,
        length: int | None,
        *,
        connect_timeout: float,
        first_byte_timeout: float | None,
    ) -> Response:
        """As `Upstreams.request`; also raises what the source does."""
