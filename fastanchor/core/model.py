"""What is known of a model: the card that writers, planners and the price list read."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PriceTier:
    """Prices in micro-dollars per million tokens, for prompts longer than `above` tokens."""

    above: int = 0
    input: int = 0
    output: int = 0
    cache_read: int | None = None  # None: as input
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None  # None: as output
    audio_input: int | None = None
    audio_output: int | None = None


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One known model. Zero or "" means unknown.

    `traits` are words that writers test for, among them: `reasoning` (no sampling parameters), `effort`,
    `thinking_budget`, `thinking_adaptive`, `json_schema`, `vision`, `documents`, `audio`, `tools`, `prefill`,
    `no_sampling`, `max_completion_tokens`.
    """

    id: str
    owned_by: str = ""
    context: int = 0  # tokens
    max_output: int = 0  # tokens
    created: int = 0  # unix seconds
    parameters: str = ""  # "7B"
    status: str = ""
    traits: frozenset[str] = frozenset()
    prices: tuple[PriceTier, ...] = field(default_factory=tuple)  # by rising `above`
