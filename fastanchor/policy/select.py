"""Which of several usable channels of one tier gets the request.

- `weight`: two random choices by weight, the one with the shorter expected time to a first token wins.
- `latency`: the shortest expected time. `cost`: the cheapest, the shorter expected time among equals.
- `sticky`, or a conversation's affinity under the others: rendezvous hashing keeps a conversation on one channel, where
  its prompt is cached, for as long as that channel is usable. Affinity (unlike `sticky`) gives way when waiting there
  would cost more than reading the prompt anew elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from math import log
from random import Random

from fastanchor.core.channel import Channel
from fastanchor.core.route import Selection
from fastanchor.policy.health import Health

COLD_SECONDS_PER_TOKEN = 1 / 20_000
"""Time to first token that a prompt token costs when it is not cached."""

COLD_FLOOR = 0.25
"""Seconds: below this a difference in waiting is noise, and the cache wins."""

Price = Callable[[Channel], int]


def choose(
    channels: Sequence[Channel],
    health: Health,
    how: Selection,
    *,
    now: float,
    random: Random,
    affinity: str = "",
    prompt_tokens: int = 0,
    price: Price | None = None,
) -> Channel:
    """One of `channels` (at least one, all usable). `price` gives micro-dollars for `cost`."""
    if len(channels) == 1:
        return channels[0]
    if affinity:
        home = max(channels, key=lambda c: rendezvous(affinity, c.name, share(c, health, now)))
        if how == "sticky" or _worth_staying(home, channels, health, prompt_tokens):
            return home
    if how == "latency":
        return min(channels, key=lambda c: health.of(c).expected())
    if how == "cost" and price is not None:
        return min(channels, key=lambda c: (price(c), health.of(c).expected()))
    return _better_of_two(channels, health, now, random)


def rendezvous(affinity: str, name: str, weight: float) -> float:
    """The score of a channel for a conversation (weighted rendezvous hashing): the highest is its home, and a channel
    that comes or goes moves only the conversations that are its own."""
    digest = blake2b(name.encode(), key=affinity.encode()[:64], digest_size=8).digest()
    uniform = (int.from_bytes(digest, "big") + 1) / (2**64 + 1)
    return -weight / log(uniform)


def share(channel: Channel, health: Health, now: float) -> float:
    """A channel's weight, less while it is coming back."""
    return max(channel.weight, 1e-9) * health.of(channel).breaker.share(now)


def _worth_staying(home: Channel, channels: Sequence[Channel], health: Health, prompt_tokens: int) -> bool:
    """Whether waiting at home costs no more than a cold cache elsewhere."""
    best = min(health.of(c).expected() for c in channels)
    cold = max(COLD_FLOOR, prompt_tokens * COLD_SECONDS_PER_TOKEN)
    return health.of(home).expected() <= best + cold


def _better_of_two(channels: Sequence[Channel], health: Health, now: float, random: Random) -> Channel:
    weights = [share(c, health, now) for c in channels]
    first, second = random.choices(channels, weights, k=2)
    if first is second:
        return first
    return min(first, second, key=lambda c: health.of(c).expected() / share(c, health, now))
