"""Worlds for the laboratory's stage: channels that need no network, and what is asked of them."""

from __future__ import annotations

from fastanchor.core.channel import Channel, Secret, Timeouts
from fastanchor.core.route import Route
from fastanchor.core.snapshot import Snapshot

DEFAULTS = Timeouts()


def channel(name: str, tier: int = 0, **changes: object) -> Channel:
    """An `openai` channel that serves every model."""
    options: dict[str, object] = {
        "provider": "openai",
        "base_url": f"https://{name}.test/v1",
        "keys": (Secret(f"{name}-secret"),),
        "any_model": True,
        "tier": tier,
        **changes,
    }
    return Channel(name, **options)  # type: ignore[arg-type]


def world(*channels: Channel, route: Route | None = None, **changes: object) -> Snapshot:
    """These channels under one route."""
    routes = () if route is None else (route,)
    return Snapshot(channels=channels, routes=routes, auth=False, **changes)  # type: ignore[arg-type]


def pair(**changes: object) -> tuple[Channel, Channel]:
    """A channel and its fallback."""
    return channel("main", **changes), channel("spare", 1, **changes)


def chat(
    *, stream: bool = True, model: str = "m", prompt: str = "What is an anchor?", **more: object
) -> dict[str, object]:
    """A chat request."""
    return {"model": model, "stream": stream, "messages": [{"role": "user", "content": prompt}], **more}
