"""What differs between those who speak one language: words that writers test for, by origin and by the operator's word.

The words of chat are explained in `dialects.openai_chat.draft`. An origin that is not in the table (vLLM, Ollama, a
colleague's proxy) gets its words from the channel's option `quirks`, a comma list.
"""

from __future__ import annotations

from functools import cache

from fastanchor.core.channel import Channel

_QWEN = "legacy_max_tokens replays_reasoning enable_thinking top_k"
_KIMI = "legacy_max_tokens replays_reasoning thinking_toggle"

ORIGINS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    # domain, words: each as the vendor's API reference has it, or as recorded from it
    (domain, frozenset(words.split()))
    for domain, words in (
        ("deepseek.com", "legacy_max_tokens replays_reasoning thinking_toggle"),
        ("aliyuncs.com", _QWEN),
        ("moonshot.ai", _KIMI),
        ("moonshot.cn", _KIMI),
        ("mistral.ai", "legacy_max_tokens short_tool_ids random_seed no_stream_options no_labels"),
        ("openrouter.ai", "reasoning_details cache_control top_k"),
        ("aiplatform.googleapis.com", "no_call_ids"),
    )
)


def quirks(channel: Channel) -> frozenset[str]:
    """The words of a channel: those of its origin, and those in its option `quirks`."""
    return _words(channel.host, channel.options.get("quirks", ""))


@cache
def _words(host: str, said: str) -> frozenset[str]:
    """Cached: only the operator names hosts and words."""
    own = frozenset(word.strip() for word in said.split(",") if word.strip())
    return next((words | own for domain, words in ORIGINS if within(host, domain)), own)


def within(host: str, domain: str) -> bool:
    """Whether a host is the domain or below it (Vertex puts its region before the name, without a dot)."""
    return host == domain or host.endswith(("." + domain, "-" + domain))
