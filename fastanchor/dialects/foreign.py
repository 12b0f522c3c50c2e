"""Fields that only one dialect has, in a request to another: which may be left out, and which must not.

Most of them tune, label or bill: a writer drops them and names them. Those below change what is answered, or to what;
with them the client would get another answer than it asked for, so it is refused (reference §2.2 and §2.8). A field
that refers to state which another vendor keeps is refused on every route, the others only on strict ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from fastanchor.core.prompt import Prompt

_STATE = "it refers to state that another provider keeps"
_SERVERS = "servers of tools are not available on this model"
_OUTPUT = "only text output is available on this model"

_FIRM = {
    ("openai_responses", "previous_response_id"): _STATE,
    ("openai_responses", "conversation"): _STATE,
    ("openai_responses", "prompt"): _STATE,
    ("openai_responses", "background"): "background responses are not available on this model",
    ("anthropic", "container"): _STATE,
    ("anthropic", "mcp_servers"): _SERVERS,
    ("gemini", "cachedContent"): _STATE,
    ("gemini", "continuationToken"): _STATE,
}
_LOOSE = {
    ("openai_chat", "audio"): _OUTPUT,
    ("openai_chat", "modalities"): _OUTPUT,
    ("openai_chat", "web_search_options"): "web search options are not available on this model",
    ("openai_responses", "truncation"): "automatic truncation is not available on this model",
    ("gemini", "generationConfig.responseModalities"): _OUTPUT,
    ("gemini", "generationConfig.speechConfig"): _OUTPUT,
}
_DEFAULTS: dict[str, object] = {
    # values that ask for nothing, and are no loss
    "modalities": ["text"], "generationConfig.responseModalities": ["TEXT"], "background": False,
    "truncation": "disabled", "mcp_servers": [],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Field:
    """One such field. `reason` says why it must not be left out, "" where it may be; `firm`: on lenient routes too."""

    name: str
    reason: str = ""
    firm: bool = False


def fields(prompt: Prompt, own: str) -> Iterator[Field]:
    """What the prompt has of other dialects than `own`, but for fields that ask for nothing."""
    for dialect, members in prompt.extra.items():
        for name, raw in members.items() if dialect != own else ():
            if name not in _DEFAULTS or orjson.loads(raw) != _DEFAULTS[name]:
                reason = _FIRM.get((dialect, name)) or _LOOSE.get((dialect, name), "")
                yield Field(name, reason, (dialect, name) in _FIRM)
