"""Where to: the candidates of a call under its route, in the order in which they are to be tried."""

from __future__ import annotations

from random import Random

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.route import Route
from fastanchor.core.snapshot import Snapshot
from fastanchor.policy.plan import Candidate, order
from fastanchor.providers.registry import provider


def candidates(world: Snapshot, route: Route, call: Call, random: Random) -> list[Candidate]:
    """The model's own channels first, then those of the fallback models.

    Raises:
        Fault: MODEL_NOT_FOUND when no channel has the model or any of its fallbacks.
    """
    found: list[Candidate] = []
    refusal: Fault | None = None
    for model in (call.model, *route.fallback_models):
        for channel in order(world.channels_for(model, route), random):
            try:
                provider(channel.provider).dialect(channel, call)
            except Fault as fault:  # this provider cannot do the operation; another one may
                refusal = fault
                continue
            found += _with_keys(channel, model, random)
    if not found:
        raise refusal or Fault(Kind.MODEL_NOT_FOUND, f"The model '{call.model}' does not exist.", param="model")
    return found


def _with_keys(channel: Channel, model: str, random: Random) -> list[Candidate]:
    """One candidate per key, beginning at a random one: keys share the load and are each other's spare."""
    upstream = channel.upstream_model(model) or model
    count = len(channel.keys)
    if count < 2:
        return [Candidate(channel, model, upstream, count - 1)]
    first = random.randrange(count)
    return [Candidate(channel, model, upstream, (first + i) % count) for i in range(count)]
