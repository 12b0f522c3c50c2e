"""A provider that speaks every dialect at one origin: the built-in demo, or another FastAnchor."""

from __future__ import annotations

from collections.abc import Mapping

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Provider, Upstream

SPOKEN_BY = {"anthropic": "anthropic", "gemini": "gemini"}


class Polyglot(Provider):
    """Sends each call in the client's own dialect; the channel's option `dialect` pins one instead."""

    name = "demo"

    def dialect(self, channel: Channel, call: Call) -> str:
        if call.operation == "chat" and "dialect" in channel.options:
            return channel.options["dialect"]
        return "openai_chat" if call.dialect == "anchor" else call.dialect

    def below(
        self, channel: Channel, key: Secret | None, method: bytes, path: str, extra: Mapping[str, str]
    ) -> Upstream:
        from fastanchor.providers.registry import provider  # the registry names this module

        return provider("openai").below(channel, key, method, path, extra)

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
        from fastanchor.providers.registry import provider  # the registry names this module

        speaker = provider(SPOKEN_BY.get(dialect, "openai"))
        return speaker.upstream(channel, key, dialect, call, model, body, extra)
