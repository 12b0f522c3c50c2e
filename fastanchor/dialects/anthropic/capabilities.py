"""What a model takes: by the traits of its card, or, of a model without a card, by the generation in its name.

Generations (Claude API documentation, "Models", "Adaptive thinking", "Structured outputs", and the API's own refusals):
thinking by budget from 3.7 to 4.6; adaptive thinking from 4.6 on, with effort; JSON schemas from 4.5 on; prefill until
4.5; sampling parameters until 4.6. Of a name that is no Claude's, only what all compatible servers take is assumed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fastanchor.core.model import ModelCard
from fastanchor.dialects.contract import Target

DEFAULT_MAX_OUTPUT = 4096
_AFTER = re.compile(r"claude-[a-z]+-([0-9]{1,2})(?:[-.]([0-9]{1,2}))?(?![0-9])")  # claude-opus-4-5-20251101
_BEFORE = re.compile(r"claude-([0-9]{1,2})(?:[-.]([0-9]{1,2}))?(?![0-9])")  # claude-3-7-sonnet-20250219
_THINKING = frozenset({"thinking_budget", "thinking_adaptive", "reasoning"})


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Of one model, behind one target."""

    budget: bool  # thinking with `budget_tokens`
    adaptive: bool  # thinking that the model measures itself
    effort: bool  # `output_config.effort`
    highest: bool  # effort "xhigh"
    schema: bool  # `output_config.format`
    prefill: bool  # a last message of the assistant
    sampling: bool  # temperature, top_p, top_k
    system_turns: bool  # the role `system` within messages
    thinks_unasked: bool  # thinks when `thinking` is left out
    max_output: int  # tokens, 0: unknown


def capabilities(target: Target) -> Capabilities:
    """What the target's model takes."""
    generation = generation_of(target.model)
    if target.card is not None and target.card.traits & _THINKING | target.card.traits & {"effort", "json_schema"}:
        return _by_card(target.card, generation)
    return _by_name(generation, target.card)


def generation_of(model: str) -> tuple[int, int] | None:
    """(4, 5) of "claude-opus-4-5-20251101", in any provider's spelling, or None when it is no Claude."""
    found = _AFTER.search(model) or _BEFORE.search(model)
    return None if found is None else (int(found[1]), int(found[2] or 0))


def _by_card(card: ModelCard, generation: tuple[int, int] | None) -> Capabilities:
    traits, known = card.traits, generation or (0, 0)
    adaptive = "thinking_adaptive" in traits
    return Capabilities(
        budget="thinking_budget" in traits,
        adaptive=adaptive,
        effort="effort" in traits,
        highest=known >= (4, 7),
        schema="json_schema" in traits,
        prefill="prefill" in traits,
        sampling="no_sampling" not in traits and known < (4, 7),
        system_turns="mid_system" in traits,
        thinks_unasked=adaptive and known >= (5, 0),
        max_output=card.max_output,
    )


def _by_name(generation: tuple[int, int] | None, card: ModelCard | None) -> Capabilities:
    known = generation or (4, 0)
    return Capabilities(
        budget=(3, 7) <= known < (4, 6),
        adaptive=known >= (4, 6),
        effort=known >= (4, 6),
        highest=known >= (4, 7),
        schema=known >= (4, 5),
        prefill=known < (4, 6),
        sampling=known < (4, 7),
        system_turns=card is not None and "mid_system" in card.traits,
        thinks_unasked=known >= (5, 0),
        max_output=card.max_output if card is not None else 0,
    )
