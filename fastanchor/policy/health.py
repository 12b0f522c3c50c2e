"""The living half of channels: what their answers have taught, kept by name across reloads.

The engine reports what becomes of each attempt: `started`, then one of `answered`, `failed`, `overtaken` and
`abandoned`, then, of an answer that streamed, `completed` or `broke`, and in the end `ended`. Whether a candidate may
be started now, and how long it will take, is read from here by `plan` and `select`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from fastanchor.core.channel import Channel
from fastanchor.core.faults import Fault, Kind
from fastanchor.policy.breaker import Breaker
from fastanchor.policy.budget import Budget
from fastanchor.policy.concurrency import Concurrency
from fastanchor.policy.latency import Latency
from fastanchor.policy.rate import Rate

PARK_AUTH = 60.0
"""Seconds for which a key is not used after the provider refused it; doubled each time, up to an hour."""
PARK_LAST = 3600.0
RATE_PARK = 1.0
"""Seconds for a key after a 429 without Retry-After."""
RATE_PARK_LAST = 60.0
"""Seconds. A longer Retry-After is looked behind after this time."""


@dataclass(slots=True)
class KeyState:
    """One upstream key. It is not used before `until`; `refused` tells a bad key from a busy one."""

    until: float = 0.0
    park: float = PARK_AUTH
    refused: bool = False
    in_flight: int = 0
    rate: Rate | None = None


@dataclass(slots=True)
class ChannelState:
    """What is known of one channel."""

    concurrency: Concurrency
    channel: Channel | None = None  # as it was last asked for
    breaker: Breaker = field(default_factory=Breaker)
    latency: Latency = field(default_factory=Latency)
    retries: Budget = field(default_factory=Budget)
    keys: dict[int, KeyState] = field(default_factory=dict)
    rate: Rate | None = None
    key_cap: int = 0  # requests in flight per key, 0: no cap
    key_rate: int = 0  # requests per minute and key, 0: no limit

    def key(self, index: int) -> KeyState:
        state = self.keys.get(index)
        if state is None:
            state = self.keys[index] = KeyState()
        return state

    def usable_at(self, key: int, now: float) -> float:
        """When this key of the channel may be asked: `now`, or the time at which its rest is over."""
        known = self.keys.get(key)
        usable = self.breaker.usable_at(now)
        if self.rate is not None:
            usable = max(usable, self.rate.usable_at(now))
        if known is None:
            return usable
        return max(usable, known.until, now if known.rate is None else known.rate.usable_at(now))

    def full(self, key: int, *, promised: bool = False) -> bool:
        """Whether the channel, or this key of it, is at capacity. `promised`: one of the channel's places is kept for
        whoever asks."""
        if not promised and self.concurrency.full:
            return True
        return bool(self.key_cap) and key in self.keys and self.keys[key].in_flight >= self.key_cap

    def parked(self, key: int, now: float) -> bool:
        """Whether the provider has refused this key itself, so that waiting will not help."""
        known = self.keys.get(key)
        return known is not None and known.refused and known.until > now

    def answered(self, key: int, first_token: float | None, now: float) -> None:
        """See `Health.answered`."""
        self.breaker.succeeded(now)
        self.concurrency.answered()
        self.retries.deposit()
        if first_token is not None:
            self.latency.observe(first_token, now)
        known = self.keys.get(key)
        if known is not None:
            known.park = PARK_AUTH
            known.refused = False

    def expected(self, now: float) -> float:
        """Seconds until a first token, were one more request sent: peak average × requests in flight."""
        return self.latency.average(now) * (self.concurrency.in_flight + 1)


class Health:
    """All channels' states, by name."""

    def __init__(self) -> None:
        self.channels: dict[str, ChannelState] = {}

    def of(self, channel: Channel) -> ChannelState:
        """A channel's state; changed caps are taken over."""
        state = self.channels.get(channel.name)
        if state is None:
            state = self.channels[channel.name] = ChannelState(Concurrency(channel.max_concurrency))
            _take_over(state, channel)
        elif state.channel is not channel:
            _take_over(state, channel)
        return state

    def started(self, channel: Channel, now: float, key: int = -1) -> bool:
        """An attempt begins. Tells whether it is its breaker's probe."""
        state = self.of(channel)
        state.concurrency.in_flight += 1
        if state.rate is not None:
            state.rate.take(now)
        if state.key_cap or state.key_rate:
            known = state.key(key)
            known.in_flight += 1
            if state.key_rate:
                if known.rate is None or known.rate.per_minute != state.key_rate:
                    known.rate = Rate(state.key_rate)
                known.rate.take(now)
        return state.breaker.started(now)

    def ended(self, channel: Channel, key: int = -1) -> None:
        """An attempt is over, in whatever way: its place is free. Called once for each `started`."""
        state = self.of(channel)
        state.concurrency.in_flight -= 1
        known = state.keys.get(key)
        if known is not None and known.in_flight:
            known.in_flight -= 1

    def answered(self, channel: Channel, key: int, first_token: float | None, now: float) -> None:
        """An attempt's first content came after `first_token` seconds (None: that says nothing of the channel)."""
        self.of(channel).answered(key, first_token, now)

    def completed(self, channel: Channel) -> None:
        """An answer came to its end."""
        self.of(channel).breaker.completed()

    def failed(self, channel: Channel, key: int, fault: Fault, now: float) -> None:
        """An attempt failed before its first content."""
        state = self.of(channel)
        if fault.kind is Kind.UPSTREAM_AUTH:
            _park(state.key(key), now)
        elif fault.kind is Kind.UPSTREAM_RATE_LIMITED:
            wait = RATE_PARK if fault.retry_after is None else fault.retry_after
            state.key(key).until = now + min(RATE_PARK_LAST, wait)
        if fault.kind in (Kind.UPSTREAM_RATE_LIMITED, Kind.UPSTREAM_OVERLOADED):
            state.concurrency.refused(now)
        if fault.penalty:
            state.breaker.failed(now)
        else:
            state.breaker.abandoned()

    def overtaken(self, channel: Channel, waited: float, now: float) -> None:
        """An attempt had had its time and another one, begun later, spoke first: as good as silent."""
        state = self.of(channel)
        state.breaker.failed(now)
        state.latency.observe(waited, now)

    def abandoned(self, channel: Channel) -> None:
        """An attempt was cancelled before it told anything."""
        self.of(channel).breaker.abandoned()

    def broke(self, channel: Channel, fault: Fault, now: float) -> None:
        """A stream that had begun broke off."""
        if fault.penalty:
            self.of(channel).breaker.broke(now)


def _take_over(state: ChannelState, channel: Channel) -> None:
    """The configured caps, which a reload may have changed."""
    state.channel = channel
    if state.concurrency.cap != channel.max_concurrency:
        state.concurrency.resize(channel.max_concurrency)
    if channel.requests_per_minute != (state.rate.per_minute if state.rate else 0):
        state.rate = Rate(channel.requests_per_minute) if channel.requests_per_minute else None
    state.key_cap = channel.key_concurrency
    state.key_rate = channel.key_requests_per_minute
    if not state.key_rate:
        for known in state.keys.values():
            known.rate = None


def _park(key: KeyState, now: float) -> None:
    """Several requests that the same bad key fails at once count as one refusal."""
    if not (key.refused and key.until > now):
        key.until = now + key.park
        key.park = min(PARK_LAST, key.park * 2)
        key.refused = True
