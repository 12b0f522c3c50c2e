"""How clients are told of their limits, in the forms that their libraries read.

    X-RateLimit-Limit, -Remaining, -Reset                       requests; the reset in unix seconds
    x-ratelimit-{limit,remaining,reset}-{requests,tokens}       OpenAI; the reset as a duration ("6m0s")
    anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}   Anthropic; the reset in RFC 3339
    X-Remaining-Credits                                         dollars with two decimals

Of several limits on the same thing the one of the shortest span is told, as the vendors do. A plan without a limit on
requests tells its concurrent requests in their place. Where the key and its organisation both have that limit, the one
that leaves less is told. A reset is when the limit is whole again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from math import ceil
from typing import Final, TypeAlias

from fastanchor.policy.limits import Bound, Terms
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
            _chosen(names, terms, form.replace("{1}", what), write)
            for what, names in (("requests", REQUESTS), ("tokens", TOKENS))
        )

    def fields(self, remaining: Sequence[int], balance: int | None, now: Windows, unix: float) -> Fields:
        """Fields of an answer; `remaining` in the order of the terms, `balance` in micro-dollars or None."""
        fields: Fields = []
        if self._requests:
            shown = self._requests[0] if len(self._requests) == 1 else _tightest(self._requests, remaining)
            left = remaining[shown.place]
            wait = (shown.cap - left) * shown.unit if shown.unit else shown.wait(now, unix)
            text = b"%d" % left
            fields = [
                shown.limit, (shown.remaining, text), (shown.reset, shown.write(unix, wait)), shown.plain_limit,
                (b"x-ratelimit-remaining", text), (b"x-ratelimit-reset", b"%d" % ceil(unix + wait)),
            ]  # fmt: skip
        if self._tokens:
            shown = self._tokens[0] if len(self._tokens) == 1 else _tightest(self._tokens, remaining)
            left = remaining[shown.place]
            wait = (shown.cap - left) * shown.unit if shown.unit else shown.wait(now, unix)
            fields += (shown.limit, (shown.remaining, b"%d" % left), (shown.reset, shown.write(unix, wait)))
        if balance is not None:
            fields.append((b"x-remaining-credits", dollars(balance)))
        return fields


class _Shown:
    """A limit that may be told: its place among the terms, and what its three fields need. `unit`: in how many seconds
    one comes back (0: not one by one)."""

    __slots__ = ("_end", "cap", "limit", "place", "plain_limit", "remaining", "reset", "unit", "write")

    def __init__(self, form: str, place: int, bound: Bound, write: Reset) -> None:
        rule, cap, _ = bound
        self.place, self.write, self.cap = place, write, cap
        self.unit = 60.0 / cap if rule.per_minute else 0.0
        self._end = f"{rule.window}_end" if rule.window else ""
        self.remaining = form.format("remaining").encode()
        self.reset = form.format("reset").encode()
        self.limit = (form.format("limit").encode(), b"%d" % cap)
        self.plain_limit = (b"x-ratelimit-limit", self.limit[1])

    def wait(self, now: Windows, unix: float) -> float:
        """Seconds until the limit of a window is whole again."""
        return getattr(now, self._end) - unix if self._end else 0.0


def _tightest(shown: Sequence[_Shown], remaining: Sequence[int]) -> _Shown:
    return min(shown, key=lambda one: remaining[one.place])


def in_seconds(unix: float, wait: float) -> bytes:
    return duration(wait)


def rfc_3339(unix: float, wait: float) -> bytes:
    return _instant(ceil(unix + wait))


@lru_cache(maxsize=256)
def _instant(unix: int) -> bytes:
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode("ascii")


def dollars(micro: int) -> bytes:
    """Micro-dollars as dollars with two decimals, rounded towards zero."""
    return _cents(micro // 10_000 if micro >= 0 else -(-micro // 10_000))


@lru_cache(maxsize=1024)
def _cents(cents: int) -> bytes:
    return b"%s%d.%02d" % (b"-" if cents < 0 else b"", *divmod(abs(cents), 100))


def duration(seconds: float) -> bytes:
    """Go's form, as OpenAI sends it: `12ms`, `1s`, `6m0s`, `23h59m1s`."""
    if seconds < 1:
        return _MILLISECONDS[ceil(seconds * 1000)] if seconds > 0 else b"0s"
    return _seconds(ceil(seconds))


_MILLISECONDS: Final = tuple(b"%dms" % n for n in range(1001))


@lru_cache(maxsize=4096)
def _seconds(seconds: int) -> bytes:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return b"%dh%dm%ds" % (hours, minutes, rest)
    return b"%dm%ds" % (minutes, rest) if minutes else b"%ds" % rest


def _chosen(names: tuple[str, ...], terms: Terms, form: str, write: Reset) -> tuple[_Shown, ...]:
    """The limits by the first of the names that the key or its organisation is limited by."""
    for name in names:
        found = [(place, bound) for place, bound in enumerate(terms.bounds) if bound.rule.name == name]
        if found:
            return tuple(_Shown(form, place, bound, write) for place, bound in found)
    return ()
