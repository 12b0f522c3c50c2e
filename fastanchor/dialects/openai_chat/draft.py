"""A chat request that is being written: where it goes, and what of the client's could not be carried.

Quirks of the origin that the writer tests for:

| word | the upstream |
|---|---|
| `legacy_max_tokens` | knows `max_tokens`, not `max_completion_tokens` |
| `replays_reasoning` | wants earlier thinking back as `reasoning_content` (DeepSeek, Qwen, Kimi) |
| `reasoning_details` | takes and gives `reasoning_details`, and `reasoning` for effort and budget (OpenRouter) |
| `short_tool_ids` | wants tool call ids of nine letters and digits (Mistral) |
| `cache_control` | takes `cache_control` on parts (OpenRouter) |
| `thinking_toggle` | turns thinking on and off with `thinking: {type}` (DeepSeek, Kimi, GLM) |
| `enable_thinking` | the same with `enable_thinking` and `thinking_budget` (Qwen) |
| `top_k` | takes `top_k` |
| `random_seed` | calls `seed` so (Mistral) |
| `no_stream_options` | refuses `stream_options`; its usage comes by itself (Mistral) |
| `no_labels` | refuses fields that only label or bill: `store`, `metadata`, `prompt_cache_key`, `verbosity`… |
"""

from __future__ import annotations

import re
from hashlib import sha256

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Prompt
from fastanchor.dialects.contract import Target
from fastanchor.dialects.names import CHAT, Names

MAX_ID = 40  # characters that OpenAI allows in a tool call id
_SHORT_ID = re.compile(r"[A-Za-z0-9]{9}")


class Draft:
    """What the parts of the writer share."""

    def __init__(self, prompt: Prompt, target: Target) -> None:
        self.prompt = prompt
        self.target = target
        self.names = Names(CHAT, (tool.name for tool in prompt.tools if tool.kind != "hosted"))
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The client's fields that were left out, in the order found."""
        return tuple(self._dropped)

    def has(self, quirk: str) -> bool:
        return quirk in self.target.quirks

    def drop(self, name: str) -> None:
        """Leave out a field that only tunes, labels or bills."""
        self._dropped[name] = None

    def refuse(self, name: str, reason: str) -> None:
        """A field that changes the meaning of the answer: a fault, on lenient routes dropped."""
        if self.target.strict:
            raise refused(name, reason)
        self.drop(name)

    def tool_id(self, id: str) -> str:
        """A tool call id that the upstream takes; calls and results get the same."""
        if self.has("short_tool_ids"):
            return id if _SHORT_ID.fullmatch(id) else sha256(id.encode()).hexdigest()[:9]
        return id if len(id) <= MAX_ID else "call_" + sha256(id.encode()).hexdigest()[:24]


def refused(name: str, reason: str) -> Fault:
    """The fault for a field that cannot be carried to the provider."""
    message = f"'{name}' cannot be carried to the provider of this model: {reason}."
    return Fault(Kind.INVALID_REQUEST, message, param=name)
