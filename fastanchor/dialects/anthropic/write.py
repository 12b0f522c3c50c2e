"""A `Prompt` as a Messages request.

What only tunes, labels or bills is dropped and named; what changes the meaning of the answer is refused, or on lenient
routes dropped. The request says which API version it needs: sampling parameters live only in the older one.
"""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor.core.prompt import Format, Prompt, ToolCallPart
from fastanchor.dialects import foreign
from fastanchor.dialects.anthropic.draft import Draft
from fastanchor.dialects.anthropic.faults import invalid
from fastanchor.dialects.anthropic.messages import messages, system
from fastanchor.dialects.anthropic.thinking import limits
from fastanchor.dialects.anthropic.tools import function, tool_choice, tools
from fastanchor.dialects.anthropic.versions import FIRST, LATEST, SAMPLING
from fastanchor.dialects.contract import Target, Written

NAME = "anthropic"
MAX_MARKS = 4
ANSWER = "json"
"""The tool whose call is the answer, for models that keep to a schema nowhere else."""

JSON_OBJECT = "Answer with one JSON object and nothing else: no other text, no code fence."
JSON_SCHEMA = "Answer with one JSON value that fits this schema and nothing else: no other text, no code fence.\n"

_TUNING = (
    ("frequency_penalty", "frequency_penalty"), ("presence_penalty", "presence_penalty"), ("seed", "seed"),
    ("logit_bias", "logit_bias"), ("verbosity", "verbosity"), ("metadata", "metadata"),
    ("cache_key", "prompt_cache_key"), ("store", "store"),
)  # fmt: skip


def write(prompt: Prompt, target: Target) -> Written:
    """The request. Raises Fault(INVALID_REQUEST) for what cannot be expressed."""
    draft = Draft(prompt, target)
    _refuse_and_drop(draft)
    body: dict[str, Any] = {"model": target.model, **limits(draft)}
    _format(draft, body)
    said = system(draft)
    if said:
        body["system"] = said
    body["messages"] = messages(draft)
    offered = tools(draft) or _answer_tool(draft)
    if offered:
        body["tools"] = offered
        choice = tool_choice(draft) if draft.prompt.tools else {"type": "tool", "name": ANSWER}
        if choice is not None:
            body["tool_choice"] = choice
    body |= _sampling(draft, "thinking" in body) | _labels(draft)
    if target.stream:
        body["stream"] = True
    _thin_marks(draft, body)
    version = FIRST if any(name in body for name in SAMPLING) else LATEST
    renamed = {**draft.names.renamed, **({ANSWER: ""} if draft.answers else {})}
    return Written(orjson.dumps(body), draft.dropped, ((b"anthropic-version", version.encode()),), renamed)


def _refuse_and_drop(draft: Draft) -> None:
    prompt = draft.prompt
    if prompt.choices > 1:
        raise invalid("n", "only one choice is available on this model")
    if prompt.logprobs or prompt.top_logprobs:
        draft.refuse("logprobs", "log probabilities are not available on this model")
    for attribute, field in _TUNING:
        if getattr(prompt, attribute):
            draft.drop(field)
    for alien in foreign.fields(prompt, NAME):
        if alien.firm:
            raise invalid(alien.name, alien.reason)
        if alien.reason:
            draft.refuse(alien.name, alien.reason)
        draft.drop(alien.name)


def _format(draft: Draft, body: dict[str, Any]) -> None:
    """A schema where the model takes one; else, and for a bare JSON object, a tool or an instruction."""
    wanted = draft.prompt.format
    if wanted is None or wanted.kind == "text":
        return
    if wanted.kind == "json_object":
        draft.notes.append(JSON_OBJECT)
    elif draft.can.schema:
        shape = {"type": "json_schema", "schema": orjson.Fragment(wanted.schema or b"{}")}
        body["output_config"] = {**body.get("output_config", {}), "format": shape}
    else:
        _instruct(draft, wanted, thinking="thinking" in body)


def _instruct(draft: Draft, wanted: Format, *, thinking: bool) -> None:
    """As the call of a tool where there are no others; else in words, which promise nothing."""
    if not thinking and _is_free(draft.prompt) and _is_object(wanted.schema):
        draft.answers = wanted
        return
    if wanted.strict:
        draft.refuse("response_format", "a strict JSON schema is not available on this model")
    draft.notes.append(JSON_SCHEMA + wanted.schema.decode("utf-8", "replace"))


def _is_free(prompt: Prompt) -> bool:
    return not prompt.tools and not any(isinstance(part, ToolCallPart) for turn in prompt.turns for part in turn.parts)


def _is_object(schema: bytes) -> bool:
    document = orjson.loads(schema or b"{}")
    return isinstance(document, dict) and document.get("type", "object") == "object"


def _answer_tool(draft: Draft) -> list[dict[str, object]]:
    """The tool whose arguments are the answer."""
    wanted = draft.answers
    return [] if wanted is None else [function(ANSWER, wanted.description or "Gives the answer.", wanted.schema)]


def _sampling(draft: Draft, thinking: bool) -> dict[str, object]:
    """Temperature or top_p, never both; nothing where the model or its thinking leaves no choice."""
    prompt, out = draft.prompt, dict[str, object]()
    asked = {"temperature": prompt.temperature, "top_p": prompt.top_p, "top_k": prompt.top_k}
    for name, value in asked.items():
        if value is None:
            continue
        if not draft.can.sampling or thinking or (name == "top_p" and "temperature" in out):
            draft.drop(name)
            continue
        if name == "temperature" and value > 1:
            draft.drop(name)  # told, because it is not what was asked
        out[name] = min(value, 1.0) if name == "temperature" else value
    return out


def _labels(draft: Draft) -> dict[str, object]:
    prompt, out = draft.prompt, dict[str, object]()
    stops = [stop for stop in prompt.stop if stop.strip()]
    if len(stops) < len(prompt.stop):
        draft.refuse("stop", "a stop sequence must not be white space alone on this model")
    if stops:
        out["stop_sequences"] = stops
    if prompt.user:
        out["metadata"] = {"user_id": prompt.user}
    tier = {"auto": "auto", "default": "standard_only"}.get(prompt.service_tier)
    if tier:
        out["service_tier"] = tier
    elif prompt.service_tier:
        draft.drop("service_tier")
    own = prompt.extra.get(NAME, {})
    return out | {name: orjson.Fragment(raw) for name, raw in own.items() if name.isidentifier()}


def _thin_marks(draft: Draft, body: dict[str, Any]) -> None:
    """At most four cache markers, the last ones; a longer lifetime cannot follow a shorter one."""
    marked = [block for block in _blocks(body) if "cache_control" in block]
    for block in marked[:-MAX_MARKS]:
        del block["cache_control"]
        draft.drop("cache_control")
    short = False
    for block in marked[-MAX_MARKS:]:
        control = block["cache_control"]
        if short:
            control.pop("ttl", None)
        short = short or control.get("ttl") != "1h"


def _blocks(body: dict[str, Any]) -> list[dict[str, Any]]:
    """All that may bear a marker, in the order in which caches see it; raw items are not looked into."""
    said = [block for message in body["messages"] for block in message["content"]]
    return [block for block in (*body.get("tools", []), *body.get("system", []), *said) if isinstance(block, dict)]
