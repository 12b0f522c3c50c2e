"""Which of several usable channels of one tier gets the request.

- `weight`: two random choices by weight, the one with the shorter expected time to a first token wins.
- `latency`: the shortest expected time. `cost`: the cheapest, the shorter expected time among equals.
- `sticky`, or a conversation's affinity under the others: rendezvous hashing keeps a conversation on one channel, where
  its prompt is cached, for as long as that channel is usable. Affinity (unlike `sticky`) gives way when waiting there
  would cost more than reading the prompt anew elsewhere.

A channel whose first tokens come much later than those of the others is an outlier: it keeps a tenth of its weight,
enough to find out when it has recovered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import log
from random import Random

from fastanchor.core.channel import Channel
from fastanchor.core.route import Selection
from fastanchor.policy.health import Health
from fastanchor.policy.latency import MIN_SAMPLES

COLD_SECONDS_PER_TOKEN = 1 / 20_000
"""Time to first token that a prompt token costs when it is not cached."""

COLD_FLOOR = 0.25
"""Seconds: below this a difference in waiting is noise, and the cache wins."""

OUTLIER_TIMES = 3.0
OUTLIER_SECONDS = 1.0
"""An outlier's median is this many times that of the fastest, and at least so much longer."""
OUTLIER_SHARE = 0.1


def choose(
    channels: Sequence[Channel],
    health: Health,
    how: Selection,
    *,
    now: float,
    random: Random,
    affinity: str = "",
    prompt_tokens: int = 0,
    prices: Mapping[str, int] | None = None,
) -> Channel:
    """One of `channels` (at least one, all usable). `prices` are micro-dollars by name, for `cost`."""
    if len(channels) == 1:
        return channels[0]
    weights = shares(channels, health, now)
    if affinity:
        key = conversation_key(affinity)
        home = max(channels, key=lambda c: rendezvous(key, c.name, weights[c.name]))
        if how == "sticky" or _worth_staying(home, channels, health, prompt_tokens, now):
            return home
    if how == "latency":
        return min(channels, key=lambda c: health.of(c).expected(now))
    if how == "cost" and prices is not None:
        return min(channels, key=lambda c: (prices[c.name], health.of(c).expected(now)))
    return _better_of_two(channels, weights, health, now, random)


def conversation_key(affinity: str) -> bytes:
    """A conversation's name as the key of a hash."""
    return blake2b(affinity.encode(), digest_size=32).digest()


def rendezvous(key: bytes, name: str, weight: float) -> float:
    """The score of a channel for a conversation (weighted rendezvous hashing): the highest is its home, and a channel
    that comes or goes moves only the conversations that are its own."""
    digest = blake2b(name.encode(), key=key, digest_size=8).digest()
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52  # never 0 and never 1
    return -weight / log(uniform)


def shares(channels: Sequence[Channel], health: Health, now: float) -> dict[str, float]:
    """Each channel's weight, less while it is coming back and while it is much slower than the others."""
    medians = [_median(c, health) for c in channels]
    known = [m for m in medians if m is not None]
    slow = max(min(known) * OUTLIER_TIMES, min(known) + OUTLIER_SECONDS) if known else 0.0
    return {
        c.name: c.weight
        * health.of(c).breaker.share(now)
        * (OUTLIER_SHARE if median is not None and median > slow else 1.0)
        for c, median in zip(channels, medians, strict=True)
    }


def _median(channel: Channel, health: Health) -> float | None:
    latency = health.of(channel).latency
    return latency.percentile(0.5) if latency.count >= MIN_SAMPLES else None


def _worth_staying(
    home: Channel, channels: Sequence[Channel], health: Health, prompt_tokens: int, now: float
) -> bool:
    """Whether waiting at home costs no more than a cold cache elsewhere."""
    best = min(health.of(c).expected(now) for c in channels)
    cold = max(COLD_FLOOR, prompt_tokens * COLD_SECONDS_PER_TOKEN)
    return health.of(home).expected(now) <= best + cold


def _better_of_two(
    channels: Sequence[Channel], weights: Mapping[str, float], health: Health, now: float, random: Random
) -> Channel:
    first, second = random.choices(channels, [weights[c.name] for c in channels], k=2)
    if first is second:
        return first
    return min(first, second, key=lambda c: health.of(c).expected(now) / weights[c.name])
