"""Token counts of the OpenAI family, in and out.

`prompt_tokens` includes cached and `completion_tokens` includes reasoning tokens; the vendors that count otherwise are
recognised by their sums. Compatible vendors add: `prompt_cache_hit_tokens` (DeepSeek), `x_groq.usage` (Groq), `cost` in
dollars (OpenRouter), `cost_in_usd_ticks` of 1e-10 dollars (xAI), `choices[0].usage` (Moonshot).
"""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor._speedups.peek import peek
from fastanchor.core.usage import Usage

_LIMIT = 2**53


def chunk_usage(chunk: dict[str, Any]) -> Usage | None:
    """The usage that a chunk or a whole answer carries, wherever the vendor puts it, or None."""
    usage = chunk.get("usage")
    if isinstance(usage, dict):
        return read_usage(usage)
    groq = chunk.get("x_groq")
    if isinstance(groq, dict) and isinstance(groq.get("usage"), dict):
        return read_usage(groq["usage"])
    choices = chunk.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        usage = choices[0].get("usage")
        if isinstance(usage, dict):
            return read_usage(usage)
    return None


def read_usage(usage: dict[str, Any]) -> Usage:
    """A `usage` object as `Usage`; what is missing or no count stays unknown."""
    if len(usage) == 3:  # by far the most frequent: the three counts and nothing else
        given, made = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        if given is not None and made is not None and usage.get("total_tokens") == given + made:
            return Usage(given, made)
    prompt = _details(usage, "prompt_tokens_details")
    completion = _details(usage, "completion_tokens_details")
    reasoning = _count(completion.get("reasoning_tokens")) or 0
    return Usage(
        input=_count(usage.get("prompt_tokens")),
        output=_output(usage, reasoning),
        cache_read=_count(prompt.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens")) or 0,
        cache_write=_count(prompt.get("cache_write_tokens")) or 0,
        reasoning=reasoning,
        audio_input=_count(prompt.get("audio_tokens")) or 0,
        audio_output=_count(completion.get("audio_tokens")) or 0,
        cost=_cost(usage),
    )


def whole_usage(body: bytes) -> Usage:
    """The usage of a whole answer, found by a peek; unknown when there is none."""
    found = peek(body, (b"usage", b"x_groq"))
    try:
        if found is None:
            document = orjson.loads(body)
        else:
            usage, groq = found.raw(b"usage"), found.raw(b"x_groq")
            document = {"usage": orjson.loads(usage or b"null"), "x_groq": groq and orjson.loads(groq)}
    except orjson.JSONDecodeError:
        return Usage()
    return (chunk_usage(document) if isinstance(document, dict) else None) or Usage()


def write_usage(usage: Usage) -> dict[str, object]:
    """The `usage` object of chat and legacy completions."""
    prompt: dict[str, int] = {"cached_tokens": usage.cache_read, "audio_tokens": usage.audio_input}
    if usage.cache_write:
        prompt["cache_write_tokens"] = usage.cache_write
    return {
        "prompt_tokens": usage.input or 0,
        "completion_tokens": usage.output or 0,
        "total_tokens": usage.total,
        "prompt_tokens_details": prompt,
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.audio_output,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    details = usage.get(name)
    return details if isinstance(details, dict) else {}


def _count(value: object) -> int | None:
    """A token count, or None for anything that is not one (a boolean, a negative or absurd number, text)."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _LIMIT else None


def _output(usage: dict[str, Any], reasoning: int) -> int | None:
    """All generated tokens. xAI leaves reasoning out of `completion_tokens` but not out of the total."""
    output = _count(usage.get("completion_tokens"))
    total = _count(usage.get("total_tokens"))
    prompt = _count(usage.get("prompt_tokens"))
    if output is None or total is None or prompt is None or not reasoning:
        return output
    return output + reasoning if prompt + output + reasoning == total else output


def _cost(usage: dict[str, Any]) -> int | None:
    """What the vendor says it charged, in micro-dollars."""
    dollars, ticks = usage.get("cost"), _count(usage.get("cost_in_usd_ticks"))
    if isinstance(dollars, (int, float)) and not isinstance(dollars, bool) and 0 <= dollars < 1e9:
        return round(dollars * 1_000_000)
    return None if ticks is None else round(ticks / 10_000)
