"""A provider that speaks every dialect at one origin: the built-in demo, or another FastAnchor."""

from __future__ import annotations

from collections.abc import Mapping

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Provider, Upstream

SPOKEN_BY = {"anthropic": "anthropic", "gemini": "gemini"}


class Polyglot(Provider):
    """Sends each call in the client's own dialect; the channel's option `dialect` pins one instead, and what is no chat
    then goes as a vendor that speaks it would have it."""

    name = "demo"

    def dialect(self, channel: Channel, call: Call) -> str:
        pinned = channel.options.get("dialect")
        if pinned is None:
            return "openai_chat" if call.dialect == "anchor" else call.dialect
        return pinned if call.operation == "chat" else _speaker(pinned).dialect(channel, call)

    def below(
        self, channel: Channel, key: Secret | None, method: bytes, path: str, extra: Mapping[str, str]
    ) -> Upstream:
        return _speaker("openai_chat").below(channel, key, method, path, extra)

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
        """As the vendor of the dialect would be asked, at this channel's origin."""
        return _speaker(dialect).upstream(channel, key, dialect, call, model, body, extra)


def _speaker(dialect: str) -> Provider:
    """The vendor of a dialect."""
    from fastanchor.providers.registry import provider  # the registry names this module

    return provider(SPOKEN_BY.get(dialect, "openai"))
