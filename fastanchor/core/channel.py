"""An upstream: one provider at one origin, with its credentials and caps. Frozen; its living half is kept by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

Http2: TypeAlias = Literal["auto", "on", "off"]
OnCancel: TypeAlias = Literal["estimate", "drain", "void"]
"""How an attempt that is given up before its end is settled."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """All in seconds. `first_token` is the hard limit for the first content; `idle` for silence after it."""

    connect: float = 5.0
    first_token: float = 30.0
    idle: float = 30.0
    total: float = 600.0


class Secret(str):
    """A credential: a string that does not show itself when printed in a structure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(***)"


@cache
def base(url: str) -> tuple[str, str, int, str]:
    """(scheme, host, port, path without a trailing slash) of a base URL. Cached: only the operator names URLs."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return parts.scheme, parts.hostname or "", port, parts.path.rstrip("/")


@dataclass(frozen=True, slots=True)
class Channel:
    """One upstream. `models` maps the public name to the upstream's; `any_model` takes every name as it is."""

    name: str
    provider: str  # openai, anthropic, gemini, azure, bedrock, demo
    base_url: str  # "https://api.openai.com/v1", no trailing slash
    keys: tuple[Secret, ...] = ()
    models: dict[str, str] = field(default_factory=dict)
    any_model: bool = False
    weight: int = 1
    tier: int = 0
    timeouts: Timeouts = field(default_factory=Timeouts)
    max_concurrency: int = 200
    requests_per_minute: int = 0  # sent to the channel, 0: no limit
    key_concurrency: int = 0  # in flight per key, 0: no cap
    key_requests_per_minute: int = 0  # per key, 0: no limit
    http2: Http2 = "auto"
    verify_tls: bool = True
    on_cancel: OnCancel = "estimate"
    headers: dict[str, str] = field(default_factory=dict)  # extra headers to the upstream, set by the operator
    endpoints: tuple[str, ...] = ()  # passed through to it, beside those of its dialects: "files", "images" …
    options: dict[str, str] = field(default_factory=dict)  # provider's own (api_version, region, anthropic_version…)

    @property
    def scheme(self) -> str:
        return base(self.base_url)[0]

    @property
    def host(self) -> str:
        return base(self.base_url)[1]

    @property
    def port(self) -> int:
        return base(self.base_url)[2]

    @property
    def prefix(self) -> str:
        """The path part of the base URL, without a trailing slash."""
        return base(self.base_url)[3]

    def upstream_model(self, model: str) -> str | None:
        """The upstream's name for a public model name, or None when this channel does not serve it.

        An exact name wins over a glob; a glob maps to itself as the model was asked, unless its value has no star.
        """
        exact = self.models.get(model)
        if exact is not None:
            return exact
        for pattern, upstream in self.models.items():
            if "*" in pattern and fnmatchcase(model, pattern):
                return model if "*" in upstream else upstream
        return model if self.any_model else None
