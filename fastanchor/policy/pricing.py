"""What an answer costs: integer micro-dollars, from a price table and a usage.

Rules:
- Prices are micro-dollars per million tokens; a product is rounded up once, at the end, so that nothing is free by
  rounding and the sum of many requests is never below their exact price.
- Cached and reasoning tokens are parts of input and output: they are taken out before the ordinary price is applied.
- Every factor is clamped at zero: a cost is never negative, whatever a provider reports.
"""

from __future__ import annotations

from fastanchor.core.model import ModelCard, PriceTier
from fastanchor.core.usage import Usage

PER = 1_000_000
FREE = PriceTier()


def tier_for(card: ModelCard | None, prompt_tokens: int) -> PriceTier:
    """The price tier of a prompt of that size; free when nothing is known of the model."""
    if card is None or not card.prices:
        return FREE
    chosen = card.prices[0]
    for tier in card.prices:
        if prompt_tokens > tier.above:
            chosen = tier
    return chosen


def cost(card: ModelCard | None, usage: Usage, markup: int = 0) -> int:
    """Micro-dollars for `usage`; `markup` is in parts per million on top."""
    tier = tier_for(card, usage.input or 0)
    if tier is FREE:
        return 0
    total = _input_cost(tier, usage) + _output_cost(tier, usage)
    total += total * max(0, markup) // PER
    return -(-total // PER)


def _input_cost(tier: PriceTier, usage: Usage) -> int:
    whole = max(0, usage.input or 0)
    read = _part(usage.cache_read, whole)
    write = _part(usage.cache_write, whole - read)
    long = _part(usage.cache_write_1h, write)
    audio = _part(usage.audio_input, whole - read - write)
    price_write = _or(tier.cache_write, tier.input)
    return (
        (whole - read - write - audio) * tier.input
        + read * _or(tier.cache_read, tier.input)
        + (write - long) * price_write
        + long * _or(tier.cache_write_1h, price_write)
        + audio * _or(tier.audio_input, tier.input)
    )


def _output_cost(tier: PriceTier, usage: Usage) -> int:
    whole = max(0, usage.output or 0)
    reasoning = _part(usage.reasoning, whole)
    audio = _part(usage.audio_output, whole - reasoning)
    return (
        (whole - reasoning - audio) * tier.output
        + reasoning * _or(tier.reasoning, tier.output)
        + audio * _or(tier.audio_output, tier.output)
    )


def _part(tokens: int, whole: int) -> int:
    return max(0, min(tokens, whole))


def _or(price: int | None, otherwise: int) -> int:
    return otherwise if price is None else price
