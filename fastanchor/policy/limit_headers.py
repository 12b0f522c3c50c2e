"""How clients are told of their limits, in the forms that their libraries read.

    X-RateLimit-Limit, -Remaining, -Reset                       requests; the reset in unix seconds
    x-ratelimit-{limit,remaining,reset}-{requests,tokens}       OpenAI; the reset as a duration ("6m0s")
    anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}   Anthropic; the reset in RFC 3339
    X-Remaining-Credits                                         dollars with two decimals

Of several limits on the same thing the one of the shortest span is told, as the vendors do. A plan without a limit on
requests tells its concurrent requests in their place. A reset is when the limit is whole again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import TypeAlias

from fastanchor.policy.limits import Rule, Terms
from fastanchor.policy.windows import Windows

Fields: TypeAlias = list[tuple[bytes, bytes]]
Reset: TypeAlias = Callable[[float, float], bytes]
"""Writes a reset from the time now (unix seconds) and the seconds until then."""

REQUESTS = ("requests_per_minute", "requests_per_day", "concurrent_requests")
TOKENS = ("tokens_per_minute", "tokens_per_hour", "tokens_per_day", "tokens_per_month")


class LimitHeaders:
    """The fields of one key, as far as they stay the same from answer to answer.

    Args:
        anthropic: in Anthropic's form, else in OpenAI's.
    """

    __slots__ = ("_requests", "_tokens")

    def __init__(self, terms: Terms, *, anthropic: bool) -> None:
        form = "anthropic-ratelimit-{1}-{0}" if anthropic else "x-ratelimit-{0}-{1}"
        write = rfc_3339 if anthropic else in_seconds
        self._requests, self._tokens = (
            [_Shown(form.replace("{1}", what), *chosen, write)] if (chosen := _chosen(names, terms)) else []
            for what, names in (("requests", REQUESTS), ("tokens", TOKENS))
        )

    def fields(self, remaining: Sequence[int], balance: int | None, now: Windows, unix: float) -> Fields:
        """Fields of an answer; `remaining` in the order of the terms, `balance` in micro-dollars or None."""
        fields: Fields = []
        for shown in self._requests:
            wait, left = shown.add(fields, remaining, now, unix)
            fields += (
                (b"x-ratelimit-limit", shown.limit[1]),
                (b"x-ratelimit-remaining", left),
                (b"x-ratelimit-reset", b"%d" % ceil(unix + wait)),
            )
        for shown in self._tokens:
            shown.add(fields, remaining, now, unix)
        if balance is not None:
            fields.append((b"x-remaining-credits", dollars(balance)))
        return fields


class _Shown:
    """Three fields: limit, remaining, reset."""

    __slots__ = ("_cap", "_per_minute", "_place", "_remaining", "_reset", "_window", "_write", "limit")

    def __init__(self, form: str, place: int, rule: Rule, cap: int, write: Reset) -> None:
        self._place, self._cap, self._write = place, cap, write
        self._window, self._per_minute = rule.window, rule.per_minute
        self._remaining = form.format("remaining").encode()
        self._reset = form.format("reset").encode()
        self.limit = (form.format("limit").encode(), b"%d" % cap)

    def add(self, fields: Fields, remaining: Sequence[int], now: Windows, unix: float) -> tuple[float, bytes]:
        """Add the fields. Returns the seconds until the limit is whole again, and what remains."""
        left = remaining[self._place]
        if self._per_minute:
            wait = (self._cap - left) * 60.0 / self._cap
        else:
            wait = now.end(self._window) - unix if self._window else 0.0
        shown = b"%d" % left
        fields += (self.limit, (self._remaining, shown), (self._reset, self._write(unix, wait)))
        return wait, shown


def in_seconds(unix: float, wait: float) -> bytes:
    return duration(wait)


def rfc_3339(unix: float, wait: float) -> bytes:
    return _instant(ceil(unix + wait))


@lru_cache(maxsize=256)
def _instant(unix: int) -> bytes:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode("ascii")


def dollars(micro: int) -> bytes:
    """Micro-dollars as dollars with two decimals, rounded towards zero."""
    return b"%s%d.%02d" % (b"-" if micro <= -10_000 else b"", *divmod(abs(micro) // 10_000, 100))


def duration(seconds: float) -> bytes:
    """Go's form, as OpenAI sends it: `12ms`, `1s`, `6m0s`, `23h59m1s`."""
    if seconds < 1:
        return b"%dms" % ceil(seconds * 1000) if seconds > 0 else b"0s"
    minutes, rest = divmod(ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest


def _chosen(names: tuple[str, ...], terms: Terms) -> tuple[int, Rule, int] | None:
    """The first of the names that is limited: its place among the terms, itself, its cap."""
    found = {rule.name: (i, rule, cap) for i, (rule, cap) in enumerate(terms.rules)}
    return next((found[name] for name in names if name in found), None)
