"""OpenAI, and everything that speaks its language: DeepSeek, Qwen, Groq, Mistral, OpenRouter, xAI, Kimi, vLLM, Ollama…

What differs between them is a table of quirks by origin. Chat is what all of them speak; only the origins in `NATIVE`
also speak the other OpenAI dialects, unless the channel's option `dialects` says more.
"""

from __future__ import annotations

from collections.abc import Mapping

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Upstream

PATHS = {
    "openai_chat": b"/chat/completions",
    "openai_responses": b"/responses",
    "openai_completions": b"/completions",
    "openai_embeddings": b"/embeddings",
}

QUIRKS: tuple[tuple[str, frozenset[str]], ...] = (
    # host suffix, words: `legacy_max_tokens` takes only max_tokens; `replays_reasoning` wants reasoning_content back
    ("deepseek.com", frozenset({"legacy_max_tokens", "replays_reasoning"})),
    ("aliyuncs.com", frozenset({"legacy_max_tokens", "replays_reasoning"})),
    ("moonshot.ai", frozenset({"legacy_max_tokens", "replays_reasoning"})),
    ("moonshot.cn", frozenset({"legacy_max_tokens", "replays_reasoning"})),
    ("mistral.ai", frozenset({"legacy_max_tokens", "short_tool_ids"})),
    ("groq.com", frozenset()),
    ("openrouter.ai", frozenset({"reasoning_details"})),
    ("x.ai", frozenset()),
)

NATIVE = ("openai.com", "openai.azure.com")
FORWARDED = ("openai-organization", "openai-project", "openai-beta", "idempotency-key")


class OpenAI:
    """The `openai` provider."""

    name = "openai"

    def dialect(self, channel: Channel, call: Call) -> str:
        """The client's own dialect where the origin speaks it, else chat."""
        if call.dialect == "anchor":
            return "openai_chat"
        if call.dialect in ("openai_chat", "openai_embeddings"):
            return call.dialect
        if call.operation == "embeddings":
            return "openai_embeddings"
        return call.dialect if call.dialect in self._spoken(channel) else "openai_chat"

    def quirks(self, channel: Channel, model: str) -> frozenset[str]:
        """The quirks of the channel's origin, plus what the operator adds in its option `quirks` (comma list)."""
        own = frozenset(q for q in channel.options.get("quirks", "").split(",") if q)
        for suffix, words in QUIRKS:
            if channel.host == suffix or channel.host.endswith("." + suffix):
                return words | own
        return own

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
        headers = [
            (b"content-type", b"application/json"),
            (b"accept", b"text/event-stream" if call.stream else b"application/json"),
        ]
        if key is not None:
            headers.append((b"authorization", b"Bearer " + key.encode()))
        headers += forwarded(extra, FORWARDED, channel)
        return Upstream(b"POST", channel.prefix.encode() + PATHS[dialect], tuple(headers), body)

    def _spoken(self, channel: Channel) -> tuple[str, ...]:
        declared = channel.options.get("dialects")
        if declared is not None:
            return tuple(word.strip() for word in declared.split(","))
        native = any(channel.host == host or channel.host.endswith("." + host) for host in NATIVE)
        return tuple(PATHS) if native else ("openai_chat", "openai_embeddings")


def forwarded(extra: Mapping[str, str], allowed: tuple[str, ...], channel: Channel) -> list[tuple[bytes, bytes]]:
    """Client headers on the allow-list, then the operator's own headers, which win."""
    chosen = {name: extra[name] for name in allowed if name in extra}
    chosen.update({name.lower(): value for name, value in channel.headers.items()})
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in chosen.items()]
