"""Token counts between the Responses API's words and ours.

`input_tokens` includes what was read from and written to the cache, `output_tokens` includes reasoning: the same
meaning as in `core.usage` (OpenAI API reference, "The response object", `usage`).
"""

from __future__ import annotations

import msgspec
import orjson

from fastanchor.core.usage import Usage
from fastanchor.dialects.openai_responses.wire import UNREADABLE


class _Lifetimes(msgspec.Struct):
    ttl_12h_tokens: int | None = None


class _InputDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_tokens_details: _Lifetimes | None = None
    audio_tokens: int | None = None


class _OutputDetails(msgspec.Struct):
    reasoning_tokens: int | None = None
    audio_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int | None = None
    input_tokens_details: _InputDetails | None = None
    output_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None
    cost: float | None = None  # OpenRouter, dollars


class _WebSearch(msgspec.Struct):
    num_requests: int | None = None


class _ToolUsage(msgspec.Struct):
    web_search: _WebSearch | None = None


class _Item(msgspec.Struct):
    type: str = ""


class _Counted(msgspec.Struct):
    usage: _Usage | None = None
    tool_usage: _ToolUsage | None = None
    output: list[_Item] | None = None


_LIMIT = 2**53

_COUNTED = msgspec.json.Decoder(_Counted)


def read_usage(response: bytes | msgspec.Raw) -> Usage:
    """Usage of a whole response object, nothing of which but the counters is kept. Unreadable: nothing is known."""
    try:
        counted = _COUNTED.decode(response)
    except UNREADABLE:
        return Usage()
    usage = Usage(searches=_searches(counted))
    told = counted.usage
    if told is None:
        return usage
    usage.input, usage.output = _count(told.input_tokens), _count(told.output_tokens)
    if (details := told.input_tokens_details) is not None:
        usage.cache_read = _count(details.cached_tokens) or 0
        usage.cache_write = _count(details.cache_write_tokens) or 0
        usage.audio_input = _count(details.audio_tokens) or 0
        if details.cache_write_tokens_details is not None:
            usage.cache_write_1h = _count(details.cache_write_tokens_details.ttl_12h_tokens) or 0
    if told.output_tokens_details is not None:
        usage.reasoning = _count(told.output_tokens_details.reasoning_tokens) or 0
        usage.audio_output = _count(told.output_tokens_details.audio_tokens) or 0
    if told.cost is not None and 0 <= told.cost < _LIMIT:
        usage.cost = round(told.cost * 1_000_000)
    return usage


def _count(told: int | None) -> int | None:
    """A count that can be one: neither negative nor absurd."""
    return told if told is not None and 0 <= told < _LIMIT else None


def _searches(counted: _Counted) -> int:
    """The provider's own count of web searches, or the number of their items where it gives none."""
    if counted.tool_usage is not None and counted.tool_usage.web_search is not None:
        return _count(counted.tool_usage.web_search.num_requests) or 0
    return sum(item.type == "web_search_call" for item in counted.output or ())


def write_usage(usage: Usage | None) -> bytes:
    """The `usage` object, or `null` when nothing is known."""
    if usage is None or (usage.input is None and usage.output is None):
        return b"null"
    details: dict[str, object] = {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write}
    if usage.cache_write_1h:
        details["cache_write_tokens_details"] = {
            "ttl_30m_tokens": usage.cache_write - usage.cache_write_1h, "ttl_12h_tokens": usage.cache_write_1h
        }
    return orjson.dumps({
        "input_tokens": usage.input or 0,
        "input_tokens_details": details,
        "output_tokens": usage.output or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    })
