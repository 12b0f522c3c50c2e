"""Where to: the candidates of a call under its route, ranked by model and tier."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.route import Route
from fastanchor.core.snapshot import Snapshot
from fastanchor.core.usage import Usage
from fastanchor.engine.exchange import Exchange
from fastanchor.policy.asked import Candidate
from fastanchor.policy.pricing import cost
from fastanchor.providers import catalogue
from fastanchor.providers.registry import provider


class Candidates:
    """What can serve a call in one world. Remembers the lists in which chance has no part."""

    MOST = 1024  # lists remembered: names come from clients

    def __init__(self) -> None:
        self._world: Snapshot | None = None
        self._known: dict[tuple[str, str, str], list[Candidate]] = {}

    def of(self, world: Snapshot, route: Route, call: Call, random: Random) -> list[Candidate]:
        """As `candidates`. The list is shared: nobody changes it."""
        if world is not self._world:
            self._world, self._known = world, {}
        key = (call.model, call.dialect, call.operation)
        known = self._known.get(key)
        if known is None:
            known = candidates(world, route, call, random)
            if all(c.key < 1 for c in known) and len(self._known) < self.MOST:
                self._known[key] = known
        return known


def candidates(world: Snapshot, route: Route, call: Call, random: Random) -> list[Candidate]:
    """The model's own channels, then those of the fallback models.

    None at all where tokens are to be counted and no provider counts them in the client's dialect: that is answered
    by estimate.

    Raises:
        Fault: MODEL_NOT_FOUND when no channel has the model or any of its fallbacks.
    """
    found: list[Candidate] = []
    refusal: Fault | None = None
    counting, served = call.operation == "count_tokens", False
    for order, model in enumerate((call.model, *route.fallback_models)):
        for channel in world.channels_for(model, route):
            served = True
            try:
                spoken = provider(channel.provider).dialect(channel, call)
            except Fault as fault:  # this provider cannot do the operation; another one may
                refusal = fault
                continue
            if counting and spoken != call.dialect:
                continue
            first = Candidate(
                channel,
                model,
                channel.upstream_model(model) or model,
                key=len(channel.keys) - 1,
                rank=(order, channel.tier),
                context=_context(channel, model) if route.fallback_models else 0,
                dialect=spoken,
                continues=_continues(channel, model, spoken),
            )
            found += _with_keys(first, len(channel.keys), random)
    if not found and not (counting and served):
        raise refusal or Fault(Kind.MODEL_NOT_FOUND, f"The model '{call.model}' does not exist.", param="model")
    return found


def stateful(found: list[Candidate], call: Call, held_by: str) -> list[Candidate]:
    """The candidates that can serve a call whose state lives at a provider: in the channel that has it, else in those
    that speak its dialect; all of them when none does (each then refuses the field that it cannot carry)."""
    native = [c for c in found if c.dialect == call.dialect]
    if held_by:
        return [c for c in native if c.channel.name == held_by]
    return native or found


def _with_keys(candidate: Candidate, count: int, random: Random) -> list[Candidate]:
    """One candidate per key, beginning at a random one: keys share the load and are each other's spare."""
    if count < 2:
        return [candidate]
    first = random.randrange(count)
    return [replace(candidate, key=(first + i) % count) for i in range(count)]


def _context(channel: Channel, model: str) -> int:
    card = catalogue.card(channel.upstream_model(model) or model)
    return card.context if card is not None else 0


def _continues(channel: Channel, model: str, spoken: str) -> bool:
    """Whether the model goes on from a begun answer: as the catalogue knows of Anthropic's, or as the operator says."""
    upstream = channel.upstream_model(model) or model
    words = provider(channel.provider).quirks(channel, upstream)
    if words & {PREFILL, NO_PREFILL}:
        return NO_PREFILL not in words
    card = catalogue.card(upstream) if spoken == "anthropic" else None
    return card is not None and PREFILL in card.traits


PREFILL, NO_PREFILL = "prefill", "no_prefill"
"""Words of `quirks`, the first one also a trait of models."""

OUTPUT_GUESS = 500
"""Tokens of an answer whose length nobody limited."""


def estimate(exchange: Exchange, candidate: Candidate) -> int:
    """What a candidate's answer would cost, in micro-dollars."""
    call = exchange.asked
    usage = Usage(input=call.prompt_tokens, output=min(call.max_output or OUTPUT_GUESS, OUTPUT_GUESS))
    world, channel = exchange.world, candidate.channel.name
    own = None if channel in world.channel_cards else world.cards.get(candidate.model)
    return cost(own or exchange.card(candidate.public_model, candidate.model, channel), usage)
