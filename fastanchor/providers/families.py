"""What is known of model families beyond their prices: context, longest output, and traits.

First match wins, so the special stands before the general; each row says why. Traits are the words of `ModelCard`:

- `reasoning` thinks before it answers; `effort` takes an effort; `thinking_budget`, `thinking_adaptive`,
  `thinking_level` are the three vendors' ways to be asked; `no_sampling` refuses temperature and top_p;
- `max_completion_tokens` refuses the older `max_tokens`; `prefill` continues a last assistant message; `mid_system`
  takes system messages within the conversation; `cache_breakpoints` takes marks of what to cache;
- `tools`, `json_schema`, `vision`, `documents`, `audio`, `embeddings` are what goes in and comes out.

Sources: the vendors' model pages and the refusals of their APIs (reference wire-formats §1, §2.2, §2.8).
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Family:
    """`context` and `max_output` in tokens, 0 when unknown; the price data's own context wins."""

    pattern: str
    traits: str = ""
    context: int = 0
    max_output: int = 0
    reason: str = ""


_O = "reasoning effort no_sampling max_completion_tokens"
_SEES = "tools json_schema vision documents"
_CLAUDE = "tools vision documents"

FAMILIES: tuple[Family, ...] = (
    # embeddings, speech and pictures first: their names contain those of chat models
    Family("*embed*", "embeddings", 8192, 0, "vectors only"),
    Family("voyage-*", "embeddings", 32_000, 0, "vectors only"),
    Family("*-tts*", "audio", 0, 0, "speech out"),
    Family("*transcribe*", "audio", 0, 0, "speech in"),
    Family("whisper*", "audio", 0, 0, "speech in"),
    Family("gpt-realtime*", "audio tools", 0, 0, "speech both ways"),
    Family("gpt-image*", "vision", 0, 0, "pictures out"),
    # OpenAI
    Family("o1-mini*", "reasoning no_sampling max_completion_tokens", 128_000, 65_536, "first generation: no effort"),
    Family("o1-preview*", "reasoning no_sampling max_completion_tokens", 128_000, 32_768, "likewise"),
    Family("o3-mini*", f"{_O} tools json_schema", 200_000, 100_000, "text only"),
    Family("o[134]", f"{_O} {_SEES}", 200_000, 100_000, "refuses sampling and max_tokens"),
    Family("o[134]-*", f"{_O} {_SEES}", 200_000, 100_000, "dated or sized kin"),
    Family("codex-mini*", f"{_O} {_SEES}", 200_000, 100_000, "made from o4-mini"),
    Family("gpt-5*-chat*", f"max_completion_tokens no_sampling {_SEES}", 128_000, 16_384, "chat variant, no reasoning"),
    Family("gpt-5-search*", f"max_completion_tokens no_sampling {_SEES}", 128_000, 16_384, "search variant"),
    Family("gpt-chat-latest*", f"max_completion_tokens no_sampling {_SEES}", 128_000, 16_384, "chat variant"),
    Family("gpt-5.[6-9]*", f"{_O} {_SEES} cache_breakpoints", 400_000, 128_000, "reasoning line, explicit caching"),
    Family("gpt-[6-9]*", f"{_O} {_SEES} cache_breakpoints", 400_000, 128_000, "its successors"),
    Family("gpt-5*", f"{_O} {_SEES}", 400_000, 128_000, "reasoning line"),
    Family("gpt-oss-*", "reasoning effort tools json_schema", 131_072, 131_072, "open weights: sampling is taken"),
    Family("gpt-4.5*", _SEES, 128_000, 16_384, "last before reasoning"),
    Family("gpt-4.1*", _SEES, 1_047_576, 32_768, "long context, no reasoning"),
    Family("gpt-4o*audio*", "tools audio", 128_000, 16_384, "sound in and out"),
    Family("gpt-audio*", "tools audio max_completion_tokens", 128_000, 16_384, "sound in and out"),
    Family("gpt-4o-2024-05-13", "tools vision", 128_000, 4096, "before structured outputs"),
    Family("gpt-4o*", _SEES, 128_000, 16_384, "no reasoning"),
    Family("chatgpt-4o*", "vision", 128_000, 16_384, "takes no tools"),
    Family("gpt-4-turbo*", "tools vision", 128_000, 4096, "before structured outputs"),
    Family("gpt-4-32k*", "tools", 32_768, 4096, "legacy"),
    Family("gpt-4*", "tools", 8192, 4096, "legacy"),
    Family("gpt-3.5-turbo-instruct*", "", 4096, 4096, "completions only"),
    Family("gpt-3.5*", "tools", 16_385, 4096, "legacy"),
    # Anthropic
    Family("claude-3-7*", f"{_CLAUDE} reasoning thinking_budget prefill", 200_000, 64_000, "first that thinks"),
    Family("claude-3.7*", f"{_CLAUDE} reasoning thinking_budget prefill", 200_000, 64_000, "other spelling"),
    Family("claude-3-5*", f"{_CLAUDE} prefill", 200_000, 8192, "no thinking"),
    Family("claude-3.5*", f"{_CLAUDE} prefill", 200_000, 8192, "other spelling"),
    Family("claude-3*", "tools vision prefill", 200_000, 4096, "no thinking, no documents at first"),
    Family("claude-2*", "prefill", 200_000, 4096, "text only"),
    Family("claude-instant*", "prefill", 100_000, 4096, "text only"),
    Family("claude-v1*", "prefill", 100_000, 4096, "text only"),
    Family("claude-opus-4-1*", f"{_CLAUDE} reasoning thinking_budget prefill", 200_000, 32_000, "shorter output"),
    Family(
        "claude-*-4-5*",
        f"{_CLAUDE} json_schema reasoning thinking_budget prefill",
        200_000,
        64_000,
        "structured outputs begin; the last that continue a prefill",
    ),
    Family("claude-*-4.5*", f"{_CLAUDE} json_schema reasoning thinking_budget prefill", 200_000, 64_000, "spelling"),
    Family(
        "claude-*-4-6*",
        f"{_CLAUDE} json_schema reasoning effort thinking_adaptive",
        1_000_000,
        64_000,
        "adaptive thinking begins, prefill ends",
    ),
    Family("claude-*-4.6*", f"{_CLAUDE} json_schema reasoning effort thinking_adaptive", 1_000_000, 64_000, "spelling"),
    Family(
        "claude-*-4-[789]*",
        f"{_CLAUDE} json_schema reasoning effort thinking_adaptive no_sampling",
        1_000_000,
        64_000,
        "sampling parameters end",
    ),
    Family(
        "claude-*-4.[789]*",
        f"{_CLAUDE} json_schema reasoning effort thinking_adaptive no_sampling",
        1_000_000,
        64_000,
        "spelling",
    ),
    Family("claude-opus-4*", f"{_CLAUDE} reasoning thinking_budget prefill", 200_000, 32_000, "4.0: budget thinking"),
    Family("claude-*-4*", f"{_CLAUDE} reasoning thinking_budget prefill", 200_000, 64_000, "4.0: budget thinking"),
    Family("claude-4*", f"{_CLAUDE} reasoning thinking_budget prefill", 200_000, 32_000, "other spelling of 4.0"),
    Family(
        "claude-*",
        f"{_CLAUDE} json_schema reasoning effort thinking_adaptive no_sampling",
        1_000_000,
        64_000,
        "5 and later",
    ),
    # Google
    Family("gemini-*-image*", "vision", 65_536, 32_768, "pictures out, no thinking"),
    Family("gemini-*live*", "tools audio vision", 131_072, 8192, "live sessions"),
    Family("gemini-2.5*", f"{_SEES} audio reasoning thinking_budget", 1_048_576, 65_536, "budget of tokens"),
    Family("gemini-2*", f"{_SEES} audio", 1_048_576, 8192, "no thinking"),
    Family("gemini-1*", f"{_SEES} audio", 1_048_576, 8192, "no thinking"),
    Family("gemini-*", f"{_SEES} audio reasoning effort thinking_level", 1_048_576, 65_536, "3 and later: levels"),
    Family("gemma-*", "vision", 131_072, 8192, "open weights"),
    # others
    Family("deepseek-reasoner*", "reasoning tools", 131_072, 65_536, "always thinks; sampling is ignored"),
    Family("deepseek-r1*", "reasoning", 131_072, 65_536, "always thinks"),
    Family("deepseek-v4*", "reasoning effort tools", 1_000_000, 0, "thinking is chosen by effort"),
    Family("deepseek*", "tools", 131_072, 8192, "no thinking"),
    Family("qwen*-vl*", "tools vision", 131_072, 0, "sees"),
    Family("qwen*", "tools reasoning", 131_072, 0, "hybrid thinking"),
    Family("grok-3-mini*", "tools json_schema reasoning effort", 131_072, 0, "takes an effort"),
    Family("grok-*non-reasoning*", "tools json_schema vision", 2_000_000, 0, "as it says"),
    Family("grok-[4-9]*", "tools json_schema vision reasoning", 256_000, 0, "always thinks, takes no effort"),
    Family("grok-*", "tools json_schema", 131_072, 0, "no thinking"),
    Family("magistral*", "tools reasoning", 131_072, 0, "always thinks"),
    Family("pixtral*", "tools vision json_schema", 131_072, 0, "sees"),
    Family("mistral*", "tools json_schema", 131_072, 0, "no thinking"),
    Family("ministral*", "tools json_schema", 131_072, 0, "no thinking"),
    Family("codestral*", "tools json_schema", 256_000, 0, "code"),
    Family("devstral*", "tools json_schema", 131_072, 0, "code"),
    Family("kimi-*thinking*", "tools reasoning", 262_144, 0, "always thinks"),
    Family("kimi-*", "tools", 262_144, 0, "hybrid"),
    Family("glm-*", "tools reasoning", 131_072, 0, "hybrid thinking"),
    Family("minimax-*", "tools reasoning", 204_800, 0, "interleaved thinking"),
    Family("command-*", "tools json_schema", 128_000, 4096, "Cohere"),
    Family("sonar*", "json_schema", 128_000, 0, "Perplexity: searches by itself"),
    Family("llama*", "tools", 131_072, 0, "open weights"),
)


def family(model: str) -> Family | None:
    """The family of a plain name (no vendor before it), whatever its case."""
    name = model.lower()
    return next((one for one in FAMILIES if fnmatchcase(name, one.pattern)), None)
