"""OpenAI, and everything that speaks its language: DeepSeek, Qwen, Groq, Mistral, OpenRouter, xAI, Kimi, vLLM, Ollama…

What differs between them is in `quirks`. Chat is what all of them speak; only the origins in `NATIVE`
also speak the other OpenAI dialects, unless the channel's option `dialects` says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from urllib.parse import quote

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Provider, Upstream
from fastanchor.providers.quirks import within

PATHS = {
    "openai_chat": b"/chat/completions",
    "openai_responses": b"/responses",
    "openai_completions": b"/completions",
    "openai_embeddings": b"/embeddings",
}

_ANSWERING = ("openai_responses", "openai_completions")
NATIVE = ("openai.com", "openai.azure.com")
FORWARDED = ("openai-organization", "openai-project", "openai-beta", "idempotency-key")


class OpenAI(Provider):
    """The `openai` provider."""

    name = "openai"

    def dialect(self, channel: Channel, call: Call) -> str:
        """The client's own dialect where the origin speaks it, else chat, else what the operator says it speaks."""
        if call.operation == "embeddings":
            return "openai_embeddings"
        spoken = self._spoken(channel)
        if call.dialect in spoken or "openai_chat" in spoken:
            return call.dialect if call.dialect in spoken else "openai_chat"
        return next((name for name in _ANSWERING if name in spoken), "openai_chat")

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
        """POST to the dialect's path below the base URL, with the channel's bearer key."""
        headers = (*constant(call.stream), *self._credential(key), *forwarded(extra, FORWARDED, channel))
        return Upstream(b"POST", self._target(channel, dialect, model), headers, body)

    def below(
        self, channel: Channel, key: Secret | None, method: bytes, path: str, extra: Mapping[str, str]
    ) -> Upstream:
        headers = (*self._credential(key), *forwarded(extra, (*FORWARDED, "accept"), channel))
        return Upstream(method, channel.prefix.encode() + path.encode("ascii"), headers, b"")

    def stored(self, channel: Channel, key: Secret | None, method: bytes, response_id: str) -> Upstream:
        """GET or DELETE below the path of responses. Raises Fault where the channel does not speak that dialect."""
        if "openai_responses" not in self._spoken(channel):
            return super().stored(channel, key, method, response_id)
        target = self._target(channel, "openai_responses", "") + b"/" + quote(response_id, safe="").encode()
        headers = (*self._credential(key), *forwarded({}, (), channel))
        return Upstream(method, target, headers, b"")

    def _credential(self, key: Secret | None) -> list[tuple[bytes, bytes]]:
        return [(b"authorization", b"Bearer " + key.encode())] if key is not None else []

    def _target(self, channel: Channel, dialect: str, model: str) -> bytes:
        return channel.prefix.encode() + PATHS[dialect]

    def _spoken(self, channel: Channel) -> tuple[str, ...]:
        declared = channel.options.get("dialects")
        if declared is not None:
            return tuple(word.strip() for word in declared.split(","))
        native = any(within(channel.host, domain) for domain in NATIVE)
        return tuple(PATHS) if native else ("openai_chat", "openai_embeddings")


@cache
def constant(stream: bool) -> tuple[tuple[bytes, bytes], ...]:
    """The headers of every request."""
    return (
        (b"content-type", b"application/json"),
        (b"accept", b"text/event-stream" if stream else b"application/json"),
    )


def forwarded(extra: Mapping[str, str], allowed: tuple[str, ...], channel: Channel) -> list[tuple[bytes, bytes]]:
    """Client headers on the allow-list, then the operator's own headers, which win."""
    chosen = {name: extra[name] for name in allowed if name in extra}
    if not chosen and not channel.headers:
        return []
    chosen.update({name.lower(): value for name, value in channel.headers.items()})
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in chosen.items()]
