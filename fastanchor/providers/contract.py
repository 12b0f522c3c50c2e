"""What a provider is: a company that speaks a dialect, at an address, with quirks. No I/O.

A provider decides which dialect a call is sent in, the path, and the authentication headers. Failures are judged in one
place, `classify`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret


@dataclass(frozen=True, slots=True)
class Upstream:
    """One HTTP request to an upstream. `headers` hold credentials: never log them."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"Upstream({self.method.decode()} {self.target.decode()})"


class Provider(Protocol):
    name: str

    def dialect(self, channel: Channel, call: Call) -> str:
        """The dialect this call is sent in: the client's own where the provider speaks it, else its main one.
        Raises Fault when the provider cannot do the operation at all."""

    def quirks(self, channel: Channel, model: str) -> frozenset[str]:
        """Words that writers and decoders test for."""

    def upstream(
        self, channel: Channel, key: Secret | None, dialect: str, call: Call, model: str, body: bytes,
        extra: Mapping[str, str],
    ) -> Upstream:
        """The request: path, authentication, forwarded headers (an allow-list), body."""
