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

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from fastanchor._speedups.allowance import Allowance, Fields
from fastanchor.policy.limits import Bound, Terms
from fastanchor.policy.windows import Windows

REQUESTS = ("requests_per_minute", "requests_per_day", "concurrent_requests")
TOKENS = ("tokens_per_minute", "tokens_per_hour", "tokens_per_day", "tokens_per_month")


class LimitHeaders:
    """The fields of one key, as far as they stay the same from answer to answer.

    Args:
        anthropic: in Anthropic's form, else in OpenAI's.
    """

    __slots__ = ("_requests", "_tokens")

    def __init__(self, terms: Terms, *, anthropic: bool) -> None:
        self._requests = _chosen(REQUESTS, "requests", terms, anthropic)
        self._tokens = _chosen(TOKENS, "tokens", terms, anthropic)

    def fields(self, remaining: Sequence[int], balance: int | None, now: Windows, unix: float) -> Fields:
        """Fields of an answer; `remaining` in the order of the terms, `balance` in micro-dollars or None."""
        fields: Fields = []
        for candidates in (self._requests, self._tokens):
            if candidates:
                shown = candidates[0] if len(candidates) == 1 else _tightest(candidates, remaining)
                wait = getattr(now, shown.end) - unix if shown.end else 0.0
                shown.allowance.add(fields, remaining[shown.place], wait, unix)
        if balance is not None:
            fields.append((b"x-remaining-credits", dollars(balance)))
        return fields


class _Shown(NamedTuple):
    """A limit that may be told: its place among the terms, and when its window ends."""

    allowance: Allowance
    place: int
    end: str  # a field of `Windows`, "" where there is no window


def _tightest(shown: Sequence[_Shown], remaining: Sequence[int]) -> _Shown:
    return min(shown, key=lambda one: remaining[one.place])


def dollars(micro: int) -> bytes:
    """Micro-dollars as dollars with two decimals, rounded towards zero."""
    return _cents(micro // 10_000 if micro >= 0 else -(-micro // 10_000))


@lru_cache(maxsize=1024)
def _cents(cents: int) -> bytes:
    return b"%s%d.%02d" % (b"-" if cents < 0 else b"", *divmod(abs(cents), 100))


def _chosen(names: tuple[str, ...], what: str, terms: Terms, anthropic: bool) -> tuple[_Shown, ...]:
    """The limits by the first of the names that the key or its organisation is limited by."""
    for name in names:
        found = [(place, bound) for place, bound in enumerate(terms.bounds) if bound.rule.name == name]
        if found:
            return tuple(_shown(place, bound, what, anthropic) for place, bound in found)
    return ()


def _shown(place: int, bound: Bound, what: str, anthropic: bool) -> _Shown:
    rule, cap, _ = bound
    form = "anthropic-ratelimit-{1}-{0}" if anthropic else "x-ratelimit-{0}-{1}"
    limit, remaining, reset = (form.format(part, what).encode() for part in ("limit", "remaining", "reset"))
    allowance = Allowance(
        (limit, b"%d" % cap), remaining, reset, cap, 60.0 / cap if rule.per_minute else 0.0, instant=anthropic,
        plain=b"x-ratelimit" if what == "requests" else b"",
    )
    return _Shown(allowance, place, f"{rule.window}_end" if rule.window else "")
