"""Who asks: an API key's identity, what it may do, and the plan it is held to."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Plan:
    """Limits, each 0 when unlimited. `credits` is the starting balance in micro-dollars, None when not metered."""

    name: str
    requests_per_minute: int = 0
    requests_per_day: int = 0
    tokens_per_minute: int = 0
    tokens_per_hour: int = 0
    tokens_per_day: int = 0
    tokens_per_month: int = 0
    concurrent_requests: int = 0
    max_tokens_per_request: int = 0
    cap_max_tokens: bool = False  # cap a larger max_tokens instead of refusing it
    credits: int | None = None
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    priority: int = 0
    markup: int = 0  # parts per million on top of cost


UNLIMITED = Plan("unlimited")


@dataclass(frozen=True, slots=True)
class Principal:
    """One key's holder. `key_id` is public (logs, ledger); the secret is nowhere in here."""

    key_id: str
    name: str
    organization: str
    scopes: frozenset[str] = frozenset({"inference"})
    models: tuple[str, ...] = ()  # names or globs; empty: all
    endpoints: tuple[str, ...] = ()
    plan: Plan = UNLIMITED
    limits: Plan | None = None  # the key's own, narrower than the plan's
    expires: float | None = None  # unix seconds
    addresses: tuple[str, ...] = field(default_factory=tuple)  # networks in CIDR form; empty: any
    shared: Plan | None = None  # the organisation's limits and credits, over all its keys at once

    def allows_model(self, model: str) -> bool:
        """Whether both the key and its plan let this model through."""
        return _matches(model, self.models) and _matches(model, self.plan.models)

    def allows_endpoint(self, path: str) -> bool:
        return _matches(path, self.endpoints) and _matches(path, self.plan.endpoints)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(name == p or fnmatchcase(name, p) for p in patterns)


ANYONE = Principal("anyone", "anyone", "default", frozenset({"inference", "training", "models"}))
"""The principal of an open instance (`auth = false`)."""
