"""`GET /v1/models` and `/v1/models/{id}`: what a key may use, in the shape its client knows.

Three shapes: OpenAI's by default, Anthropic's when the request carries `anthropic-version`, Codex's catalogue when the
query has `client_version=`. Names come from the configuration; where it has only globs, from the catalogue: the known
models that match, `MOST_KNOWN` at most. A channel that takes any model adds none by itself.
"""

from __future__ import annotations

from datetime import UTC, datetime
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import unquote

import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.model import ModelCard
from fastanchor.core.principal import Principal
from fastanchor.core.snapshot import Snapshot
from fastanchor.providers import catalogue
from fastanchor.wire.message import Request

ROOT = b"/v1/models"
MOST_KNOWN = 1000
UNKNOWN = ModelCard("")
EFFORTS = ("low", "medium", "high")
INSTRUCTIONS = (
    "You are a coding agent that works in the user's terminal. Read the code before you change it, keep changes small "
    "and in the style around them, run what can show that they work, and say plainly what you did and did not do. Use "
    "the tools that you are offered for commands and for files; ask before you do what cannot be undone."
)
"""What Codex has to be given with each model; it tells the model nothing else of its own."""


def is_listing(path: bytes) -> bool:
    """Whether the path is the list of models or one of its entries."""
    return path == ROOT or path.startswith(ROOT + b"/")


def listing(request: Request, world: Snapshot, principal: Principal) -> bytes:
    """The body for the whole list or for one model.

    Raises:
        Fault: MODEL_NOT_FOUND for a model that does not exist or that the key may not use (no difference is told).
    """
    names = [name for name in offered(world) if principal.allows_model(name)]
    shape = _shape(request)
    if request.path in (ROOT, ROOT + b"/"):
        return orjson.dumps(shape.page([shape.entry(name, card(world, name)) for name in names]))
    name = unquote(request.path[len(ROOT) + 1 :].decode("latin-1"))
    served = any(c.upstream_model(name) is not None for c in world.channels)
    if not served or not principal.allows_model(name):
        raise Fault(Kind.MODEL_NOT_FOUND, f"The model '{name[:200]}' does not exist.", param="model")
    return orjson.dumps(shape.entry(name, card(world, name)))


def offered(world: Snapshot) -> list[str]:
    """The names in the configuration, then the known models that its globs serve."""
    globs = (name for channel in world.channels for name in channel.models if "*" in name)
    return list(dict.fromkeys((*world.models(), *known(tuple(dict.fromkeys(globs))))))


@lru_cache(maxsize=4)
def known(globs: tuple[str, ...]) -> list[str]:
    """The models of the catalogue that one of the globs matches."""
    found = (name for name in catalogue.models() if any(fnmatchcase(name, glob) for glob in globs))
    return list(islice(found, MOST_KNOWN))


def card(world: Snapshot, name: str) -> ModelCard:
    """What is known of a model: the configuration's word, else the catalogue's."""
    return world.cards.get(name) or catalogue.card(name) or UNKNOWN


class OpenAIShape:
    """`{"object": "list", "data": [...]}` with the gateway's extra fields."""

    @staticmethod
    def entry(name: str, card: ModelCard) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": name,
            "object": "model",
            "created": card.created,
            "owned_by": card.owned_by or "fastanchor",
        }
        if card.parameters:
            found["parameters"] = card.parameters
        if card.context:
            found["context_length"] = card.context
        if card.status:
            found["status"] = card.status
        if card.prices:
            first = card.prices[0]
            found["pricing"] = {"input": first.input / 1e6, "output": first.output / 1e6, "unit": "usd_per_1m_tokens"}
        return found

    @staticmethod
    def page(entries: list[dict[str, Any]]) -> dict[str, Any]:
        return {"object": "list", "data": entries}


class AnthropicShape:
    """`{"data": [...], "has_more": false, "first_id", "last_id"}`."""

    @staticmethod
    def entry(name: str, card: ModelCard) -> dict[str, Any]:
        created = datetime.fromtimestamp(card.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {"type": "model", "id": name, "display_name": name, "created_at": created}

    @staticmethod
    def page(entries: list[dict[str, Any]]) -> dict[str, Any]:
        ids = [entry["id"] for entry in entries] or [None]
        return {"data": entries, "has_more": False, "first_id": ids[0], "last_id": ids[-1]}


class CodexShape:
    """`{"models": [...]}`, as the Codex client asks for it with its `client_version`.

    The client throws the whole list away when one entry lacks a field without a default (`ModelInfo` of codex-rs,
    "openai_models"; tried with 0.169). To what only its vendor's models do (verbosity), entries say no.
    """

    @staticmethod
    def entry(name: str, card: ModelCard) -> dict[str, Any]:
        efforts = EFFORTS if "effort" in card.traits else ()
        found: dict[str, Any] = {
            "slug": name,
            "display_name": name,
            "description": None,
            "default_reasoning_level": "medium" if efforts else None,
            "supported_reasoning_levels": [{"effort": word, "description": word.capitalize()} for word in efforts],
            "shell_type": "shell_command",
            "visibility": "list",
            "supported_in_api": True,
            "priority": 0,
            "base_instructions": INSTRUCTIONS,
            "supports_reasoning_summaries": "reasoning" in card.traits,
            "support_verbosity": False,
            "truncation_policy": {"mode": "tokens", "limit": 10_000},
            "supports_parallel_tool_calls": True,
            "experimental_supported_tools": [],
        }
        if card.context:
            found["context_window"] = card.context
        if card.traits and "vision" not in card.traits:
            found["input_modalities"] = ["text"]
        return found

    @staticmethod
    def page(entries: list[dict[str, Any]]) -> dict[str, Any]:
        """The first is what the client takes by default."""
        return {"models": [{**entry, "priority": rank} for rank, entry in enumerate(entries)]}


def _shape(request: Request) -> type[OpenAIShape] | type[AnthropicShape] | type[CodexShape]:
    if request.query.startswith(b"client_version=") or b"&client_version=" in request.query:
        return CodexShape
    return AnthropicShape if request.get(b"anthropic-version") is not None else OpenAIShape
