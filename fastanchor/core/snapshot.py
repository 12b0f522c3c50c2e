"""The whole configured world, checked and compiled.

A worker holds one reference to the current one; a request keeps the one it began with.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from fastanchor.core.channel import Channel
from fastanchor.core.model import ModelCard
from fastanchor.core.principal import Plan, Principal
from fastanchor.core.route import Route

MOST_NAMES = 4096
"""Model names whose routes and channels are remembered: clients make them up."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Frozen configuration. `keys` maps a key's digest to its holder; `prices` overrides the cards by model name."""

    channels: tuple[Channel, ...] = ()
    routes: tuple[Route, ...] = ()
    plans: dict[str, Plan] = field(default_factory=dict)
    organizations: dict[str, Plan] = field(default_factory=dict)  # what each is held to over all its keys
    keys: dict[bytes, Principal] = field(default_factory=dict)
    cards: dict[str, ModelCard] = field(default_factory=dict)
    channel_cards: dict[str, dict[str, ModelCard]] = field(default_factory=dict)  # where a channel has its own prices
    auth: bool = True
    auto_auth: bool = False  # open only until the first key is issued
    admin_digest: bytes = b""
    anthropic_done: bool = True  # `data: [DONE]` after message_stop
    keep_alive: float = 15.0  # seconds of upstream silence before keep-alive bytes; 0: none
    version: int = 0
    _serving: dict[tuple[str, tuple[str, ...]], tuple[Channel, ...]] = field(
        default_factory=dict, repr=False, compare=False
    )
    _routes: dict[str, Route] = field(default_factory=dict, repr=False, compare=False)

    def route(self, model: str) -> Route:
        """The first route whose name or glob matches, or the default."""
        known = self._routes.get(model)
        if known is None:
            matching = (r for r in self.routes if r.model == model or fnmatchcase(model, r.model))
            known = next(matching, DEFAULT_ROUTE)
            if len(self._routes) < MOST_NAMES:
                self._routes[model] = known
        return known

    def channels_for(self, model: str, route: Route) -> tuple[Channel, ...]:
        """The channels that serve a model under a route, lower tiers first."""
        cached = self._serving.get((model, route.channels))
        if cached is None:
            cached = tuple(
                c
                for c in sorted(self.channels, key=lambda c: c.tier)
                if c.upstream_model(model) is not None and (not route.channels or c.name in route.channels)
            )
            if len(self._serving) < MOST_NAMES:
                self._serving[model, route.channels] = cached
        return cached

    def models(self) -> list[str]:
        """The public model names of all channels, in configuration order, globs left out."""
        names = (name for channel in self.channels for name in channel.models if "*" not in name)
        return list(dict.fromkeys(names))


DEFAULT_ROUTE = Route()
