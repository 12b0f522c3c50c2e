"""Token counts in Anthropic's meaning and in ours.

Anthropic's `input_tokens` leaves cached tokens out: the whole prompt is the sum of three counters. `output_tokens`
includes thinking. Counters of a later event replace earlier ones, and a counter that it does not name survives.
Source: `Usage` and `MessageDeltaUsage` of the Messages API reference.
"""

from __future__ import annotations

from typing import Any

from fastanchor.core.usage import Usage

_LIMIT = 2**53
_TOTALS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


class Counters:
    """The counters of one answer as its provider last named them."""

    __slots__ = ("_hour", "_searches", "_thinking", "_totals")

    def __init__(self) -> None:
        self._totals: dict[str, int] = {}
        self._hour = 0
        self._thinking = 0
        self._searches = 0

    def opening(self, usage: object) -> None:
        """Usage of `message_start`. Its output counter is a place holder, not a count."""
        if isinstance(usage, dict):
            self.update({name: value for name, value in usage.items() if name != "output_tokens"})

    def update(self, usage: object) -> None:
        """Take over what a `usage` object says."""
        if not isinstance(usage, dict):
            return
        for name in _TOTALS:
            count = _count(usage.get(name))
            if count is not None:
                self._totals[name] = count
        written = _member(usage, "cache_creation")
        hour = _count(written.get("ephemeral_1h_input_tokens"))
        if hour is not None:
            self._hour = hour
            self._totals.setdefault(
                "cache_creation_input_tokens", hour + (_count(written.get("ephemeral_5m_input_tokens")) or 0)
            )
        self._thinking = _count(_member(usage, "output_tokens_details").get("thinking_tokens")) or self._thinking
        self._searches = _count(_member(usage, "server_tool_use").get("web_search_requests")) or self._searches

    def usage(self) -> Usage:
        """The same in our meaning."""
        uncached = self._totals.get("input_tokens")
        written = self._totals.get("cache_creation_input_tokens", 0)
        read = self._totals.get("cache_read_input_tokens", 0)
        return Usage(
            input=None if uncached is None else uncached + written + read,
            output=self._totals.get("output_tokens"),
            cache_read=read,
            cache_write=written,
            cache_write_1h=min(self._hour, written),
            reasoning=self._thinking,
            searches=self._searches,
        )


def write_usage(usage: Usage, *, detailed: bool = False) -> dict[str, object]:
    """A `usage` object. `detailed` adds the split of cache writes by lifetime (in messages, not in deltas)."""
    read, written = usage.cache_read, usage.cache_write
    out: dict[str, object] = {
        "input_tokens": max(0, (usage.input or 0) - read - written),
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": read,
        "output_tokens": usage.output or 0,
    }
    if detailed:
        hour = usage.cache_write_1h
        out["cache_creation"] = {
            "ephemeral_5m_input_tokens": max(0, written - hour),
            "ephemeral_1h_input_tokens": hour,
        }
    if usage.reasoning:
        out["output_tokens_details"] = {"thinking_tokens": usage.reasoning}
    if usage.searches:
        out["server_tool_use"] = {"web_search_requests": usage.searches, "web_fetch_requests": 0}
    return out


def _member(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    """A token count, or None for anything that is not one."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value < _LIMIT else None
