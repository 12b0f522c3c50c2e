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


@dataclass(slots=True)
class ChannelState:
    """What is known of one channel."""

    concurrency: Concurrency
    breaker: Breaker = field(default_factory=Breaker)
    latency: Latency = field(default_factory=Latency)
    retries: Budget = field(default_factory=Budget)
    keys: dict[int, KeyState] = field(default_factory=dict)

    def key(self, index: int) -> KeyState:
        state = self.keys.get(index)
        if state is None:
            state = self.keys[index] = KeyState()
        return state

    def usable_at(self, key: int, now: float) -> float:
        """When this key of the channel may be asked: `now`, or the time at which its rest is over."""
        known = self.keys.get(key)
        usable = self.breaker.usable_at(now)
        return usable if known is None else max(usable, known.until)

    def parked(self, key: int, now: float) -> bool:
        """Whether the provider has refused this key itself, so that waiting will not help."""
        known = self.keys.get(key)
        return known is not None and known.refused and known.until > now

    def expected(self, now: float) -> float:
        """Seconds until a first token, were one more request sent: peak average × requests in flight."""
        return self.latency.average(now) * (self.concurrency.in_flight + 1)


class Health:
    """All channels' states, by name."""

    def __init__(self) -> None:
        self.channels: dict[str, ChannelState] = {}

    def of(self, channel: Channel) -> ChannelState:
        """A channel's state; a changed cap is taken over."""
        state = self.channels.get(channel.name)
        if state is None:
            state = self.channels[channel.name] = ChannelState(Concurrency(channel.max_concurrency))
        elif state.concurrency.cap != channel.max_concurrency:
            state.concurrency.resize(channel.max_concurrency)
        return state

    def started(self, channel: Channel, now: float) -> bool:
        """An attempt begins. Tells whether it is its breaker's probe."""
        state = self.of(channel)
        state.concurrency.in_flight += 1
        return state.breaker.started(now)

    def ended(self, channel: Channel) -> None:
        """An attempt is over, in whatever way: its place is free. Called once for each `started`."""
        self.of(channel).concurrency.in_flight -= 1

    def answered(self, channel: Channel, key: int, first_token: float | None, now: float) -> None:
        """An attempt's first content came after `first_token` seconds (None: that says nothing of the channel)."""
        state = self.of(channel)
        state.breaker.succeeded(now)
        state.concurrency.answered()
        state.retries.deposit()
        if first_token is not None:
            state.latency.observe(first_token, now)
        known = state.keys.get(key)
        if known is not None:
            known.park = PARK_AUTH
            known.refused = False

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


def _park(key: KeyState, now: float) -> None:
    """Several requests that the same bad key fails at once count as one refusal."""
    if not (key.refused and key.until > now):
        key.until = now + key.park
        key.park = min(PARK_LAST, key.park * 2)
        key.refused = True
