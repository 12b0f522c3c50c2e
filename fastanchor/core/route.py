"""How a model's requests are tried: which channels, in which tiers, with what patience."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Rescue: TypeAlias = Literal["off", "splice", "restart"]
Selection: TypeAlias = Literal["weight", "latency", "cost", "sticky"]


@dataclass(frozen=True, slots=True)
class Hedge:
    """When a late first token starts the next candidate beside the first.

    `after` is in seconds; None with `percentile` set means the channel's own measured percentile; both None: off.
    """

    after: float | None = 10.0
    percentile: float | None = None  # 0.95 for "p95"
    max_share: float = 0.05
    max_prompt_tokens: int = 200_000
    max_cost: int = 0  # micro-dollars per hedge, 0: no cap


@dataclass(frozen=True, slots=True)
class Route:
    """How to try. `model` is a name or a glob; the first route that matches wins; the default route matches all."""

    model: str = "*"
    fallback_models: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()  # only these, by name; empty: every channel that serves the model
    attempts: int = 3
    race: int = 1
    hedge: Hedge = field(default_factory=Hedge)
    rescue: Rescue = "splice"
    select: Selection = "weight"
    affinity: bool = True
    deadline: float = 900.0  # seconds over the whole request
    content_filter_fallback: bool = False
