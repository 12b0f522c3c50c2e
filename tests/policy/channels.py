"""Channels and candidates for tests of decisions."""

from __future__ import annotations

from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault, Kind
from fastanchor.policy.asked import Candidate


def channel(name: str, *, tier: int = 0, weight: int = 1, keys: int = 1, cap: int = 200) -> Channel:
    secrets = tuple(Secret(f"{name}-{i}") for i in range(keys))
    url = f"https://{name}.test/v1"
    return Channel(name, "openai", url, secrets, any_model=True, weight=weight, tier=tier, max_concurrency=cap)


def candidates(*channels: Channel, model: str = "m", order: int = 0, context: int = 0) -> list[Candidate]:
    """One candidate per key of each channel, in their order."""
    return [
        Candidate(c, model, model, key, (order, c.tier), context) for c in channels for key in range(len(c.keys))
    ]


def fault(kind: Kind, **more: float) -> Fault:
    return Fault(kind, retry_after=more.get("retry_after"))
