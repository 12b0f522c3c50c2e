"""Anthropic, and the origins that serve its Messages API.

The base URL may end in `/v1` or not. Options of a channel: `anthropic_version` pins the API version, `auth = "bearer"`
sends the key as `Authorization: Bearer` (OAuth tokens, some compatible origins), `quirks` as everywhere.
Source: "API overview" and "Versioning" of the Claude API documentation.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.anthropic.versions import needed
from fastanchor.providers.contract import Provider, Upstream
from fastanchor.providers.openai import forwarded

SPOKEN = "anthropic"
FORWARDED = ("anthropic-dangerous-direct-browser-access", "anthropic-workspace-id")


class Anthropic(Provider):
    """The `anthropic` provider."""

    name = "anthropic"

    def dialect(self, channel: Channel, call: Call) -> str:
        """Always Messages. Raises Fault for embeddings, which Anthropic does not offer."""
        return messages_only(call)

    def upstream(
        self,
        channel: Channel,
        key: Secret | None,
        dialect: str,
        call: Call,
        model: str,
        body: bytes,
        extra: Mapping[str, str],
    ) -> Upstream:
        """POST to `/v1/messages` or its `count_tokens`, with the version and the betas the request was made for."""
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream" if call.stream else b"application/json"),
            (b"anthropic-version", version_of(channel, call, body).encode("latin-1")),
        ]
        if key is not None and channel.options.get("auth") == "bearer":
            headers.append((b"authorization", b"Bearer " + key.encode()))
        elif key is not None:
            headers.append((b"x-api-key", key.encode()))
        betas = ",".join(betas_of(channel, call))
        own = [field for field in forwarded(extra, FORWARDED, channel) if field[0] not in _OURS]
        if betas:
            own.append((b"anthropic-beta", betas.encode("latin-1")))
        return Upstream(b"POST", _target(channel, call), tuple(headers + own), body)


_OURS = (b"anthropic-version", b"anthropic-beta")


def messages_only(call: Call) -> str:
    """The dialect of a call to a provider that has nothing but Messages."""
    if call.operation == "embeddings":
        raise Fault(Kind.INVALID_REQUEST, "This model does not offer embeddings.", param="model")
    return SPOKEN


def version_of(channel: Channel, call: Call, body: bytes) -> str:
    """The API version: the operator's, else the client's where its own bytes are sent, else what the body needs."""
    pinned = channel.options.get("anthropic_version") or channel.headers.get("anthropic-version")
    if pinned:
        return pinned
    asked = call.headers.get("anthropic-version") if call.dialect == SPOKEN else None
    return asked or needed(body)


def betas_of(channel: Channel, call: Call) -> list[str]:
    """The client's betas and the operator's, each once; the list is open."""
    asked = call.headers.get("anthropic-beta", "") if call.dialect == SPOKEN else ""
    words = f"{asked},{channel.headers.get('anthropic-beta', '')}".split(",")
    return list(dict.fromkeys(word.strip() for word in words if word.strip()))


def _target(channel: Channel, call: Call) -> bytes:
    root = channel.prefix if channel.prefix.endswith("/v1") else f"{channel.prefix}/v1"
    verb = "/messages/count_tokens" if call.operation == "count_tokens" else "/messages"
    query = "?beta=true" if call.dialect == SPOKEN and call.options.get("beta") == "true" else ""
    return f"{root}{verb}{query}".encode()
