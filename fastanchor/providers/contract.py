"""What a provider is: a company that speaks a dialect, at an address, with quirks. No I/O.

A provider decides which dialect a call is sent in, the path, the authentication headers, and the framing of what comes
back. Failures are judged in one place, `classify`.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault, Kind
from fastanchor.providers import quirks as words


@dataclass(frozen=True, slots=True)
class Upstream:
    """One HTTP request to an upstream. `headers` hold credentials: never log them."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def __repr__(self) -> str:
        return f"Upstream({self.method.decode()} {self.target.decode()})"


class Unframer(Protocol):
    """Takes the framing of one streamed answer off, so that a stream of its dialect is left."""

    def feed(self, data: bytes) -> bytes:
        """The dialect's own bytes that are complete now."""


class Provider(Protocol):
    """Subclasses inherit what most providers have in common."""

    name: str

    @abstractmethod
    def dialect(self, channel: Channel, call: Call) -> str:
        """The dialect this call is sent in: the client's own where the provider speaks it, else its main one.
        Raises Fault when the provider cannot do the operation at all."""

    def quirks(self, channel: Channel, model: str) -> frozenset[str]:
        """Words that writers and decoders test for."""
        return words.quirks(channel)

    @abstractmethod
    def upstream(
        self, channel: Channel, key: Secret | None, dialect: str, call: Call, model: str, body: bytes,
        extra: Mapping[str, str],
    ) -> Upstream:
        """The request: path, authentication, forwarded headers (an allow-list), body."""

    def signed(self, channel: Channel, key: Secret | None, upstream: Upstream, now: float) -> Upstream:
        """The request as it may be sent, for providers whose authentication needs the time (unix seconds)."""
        return upstream

    def unframer(self) -> Unframer | None:
        """For one streamed answer; None where streams come in their dialect's own framing."""
        return None

    def below(
        self, channel: Channel, key: Secret | None, method: bytes, path: str, extra: Mapping[str, str]
    ) -> Upstream:
        """The head of a request that is passed through to a path below the base URL. Raises Fault where nothing is."""
        raise Fault(Kind.NOT_FOUND, "This channel's provider has no such endpoint.")

    def stored(self, channel: Channel, key: Secret | None, method: bytes, response_id: str) -> Upstream:
        """The request that gets or deletes a stored response. Raises Fault where responses are not stored."""
        raise Fault(Kind.NOT_FOUND, "This model's provider keeps no responses.")
