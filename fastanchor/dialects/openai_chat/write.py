"""A `Prompt` as a chat request: an allow-list, so that nothing strays in from another format.

What the upstream cannot take is dropped and named where it only tunes, labels or bills, and refused where the client
would get another answer than it asked for. Schemas and other raw JSON keep their bytes.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from fastanchor.core.prompt import Prompt, Tool
from fastanchor.dialects import foreign
from fastanchor.dialects.contract import Target, Written
from fastanchor.dialects.openai_chat.draft import Draft, refused
from fastanchor.dialects.openai_chat.reasoning import NAME
from fastanchor.dialects.openai_chat.write_messages import messages

MAX_STOPS = 4
MAX_USER = 64  # characters that OpenAI allows
TIERS = {"standard": "default"}  # Gemini's word
_TAKEN = frozenset({"truncation"})
"""What this format does by itself, or has no need of."""

Json = dict[str, Any]


def write(prompt: Prompt, target: Target) -> Written:
    """The request body. Raises Fault(INVALID_REQUEST) for what cannot be expressed."""
    draft = Draft(prompt, target)
    body: Json = {"model": target.model, "messages": messages(draft)}
    if not body["messages"]:
        raise refused("messages", "nothing is left of them")
    if prefills(prompt, target):
        draft.refuse(prompt.turns[-1].path or "messages", "the model does not go on with a last message of its own")
    body |= _limits(draft) | _sampling(draft) | _tools(draft) | _format(draft) | _reasoning(draft) | _labels(draft)
    body |= {name: orjson.Fragment(raw) for name, raw in _extra(draft).items()}
    if target.stream:
        body["stream"] = True
        if not draft.has("no_stream_options"):
            body["stream_options"] = {"include_usage": True}
    return Written(orjson.dumps(body), draft.dropped, renamed=draft.names.renamed)


def prefills(prompt: Prompt, target: Target) -> bool:
    """Whether the model is to go on with the beginning of an answer, and is known not to."""
    return prompt.prefill and target.card is not None and "prefill" not in target.card.traits


def _limits(draft: Draft) -> Json:
    prompt, body = draft.prompt, {}
    if prompt.max_output is not None:
        card = draft.target.card
        modern = card is not None and "max_completion_tokens" in card.traits
        name = "max_tokens" if draft.has("legacy_max_tokens") and not modern else "max_completion_tokens"
        body[name] = prompt.max_output
    return body | _stops(draft) | ({"n": prompt.choices} if prompt.choices > 1 else {})


def _stops(draft: Draft) -> Json:
    stop = draft.prompt.stop
    if len(stop) > MAX_STOPS:
        draft.refuse("stop", f"more than {MAX_STOPS} stop sequences")
    return {"stop": list(stop[:MAX_STOPS])} if stop else {}


def _sampling(draft: Draft) -> Json:
    """Reasoning models that refuse sampling parameters do not get them."""
    prompt, card = draft.prompt, draft.target.card
    body: Json = {
        "temperature": prompt.temperature,
        "top_p": prompt.top_p,
        "frequency_penalty": prompt.frequency_penalty,
        "presence_penalty": prompt.presence_penalty,
        "logit_bias": orjson.Fragment(prompt.logit_bias) if prompt.logit_bias else None,
        "logprobs": prompt.logprobs or None,
        "top_logprobs": prompt.top_logprobs if prompt.logprobs else None,
    }
    body = {name: value for name, value in body.items() if value is not None}
    if card is not None and "no_sampling" in card.traits:
        if "logprobs" in body:
            draft.refuse("logprobs", "the model does not give them")
        for name in body:
            draft.drop(name)
        body = {}
    if prompt.seed is not None:
        body["random_seed" if draft.has("random_seed") else "seed"] = prompt.seed
    if prompt.top_k is not None and draft.has("top_k"):
        body["top_k"] = prompt.top_k
    elif prompt.top_k is not None:
        draft.drop("top_k")
    return body


def _tools(draft: Draft) -> Json:
    prompt = draft.prompt
    body: Json = {}
    made = [_tool(draft, tool, tool.path or f"tools[{at}]", body) for at, tool in enumerate(prompt.tools)]
    rows = [row for row in made if row is not None]
    if not rows:
        return body
    body["tools"] = rows
    if (choice := _choice(draft)) is not None:
        body["tool_choice"] = choice
    if prompt.parallel_tools is not None:
        body["parallel_tool_calls"] = prompt.parallel_tools
    return body


def _tool(draft: Draft, tool: Tool, path: str, body: Json) -> Json | orjson.Fragment | None:
    if tool.cache is not None and not draft.has("cache_control"):
        draft.drop("cache_control")
    if tool.kind == "hosted":
        return _hosted(draft, tool, path, body)
    row: Json = {"name": draft.names.sent(tool.name)}
    if tool.description:
        row["description"] = tool.description
    if tool.kind == "custom":
        if tool.data:
            row["format"] = orjson.Fragment(tool.data)
        return {"type": "custom", "custom": row}
    if tool.schema:
        row["parameters"] = orjson.Fragment(tool.schema)
    if tool.strict is not None:
        row["strict"] = tool.strict
    return {"type": "function", "function": row}


def _hosted(draft: Draft, tool: Tool, path: str, body: Json) -> orjson.Fragment | None:
    if tool.dialect != NAME:
        draft.refuse(path, f"{tool.name or 'this tool'!r} is a tool of another provider")
    elif tool.name == "web_search":
        body["web_search_options"] = orjson.Fragment(tool.data)
    else:
        return orjson.Fragment(tool.data)
    return None


def _choice(draft: Draft) -> str | Json | None:
    choice = draft.prompt.tool_choice
    if choice is None:
        return None
    if choice.mode == "named":
        return _named(draft, choice.names[0])
    if choice.mode == "allowed":
        tools = [_named(draft, name) for name in choice.names]
        mode = "required" if choice.required else "auto"
        return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}
    return choice.mode


def _named(draft: Draft, name: str) -> Json:
    kind = "custom" if any(tool.kind == "custom" and tool.name == name for tool in draft.prompt.tools) else "function"
    return {"type": kind, kind: {"name": draft.names.sent(name)}}


def _format(draft: Draft) -> Json:
    form = draft.prompt.format
    if form is None:
        return {}
    if form.kind != "json_schema":
        return {"response_format": {"type": form.kind}}
    inner: Json = {"name": form.name or "response"}
    if form.description:
        inner["description"] = form.description
    if form.schema:
        inner["schema"] = orjson.Fragment(form.schema)
    if form.strict is not None:
        inner["strict"] = form.strict
    return {"response_format": {"type": "json_schema", "json_schema": inner}}


def _reasoning(draft: Draft) -> Json:
    """Effort and budget in the upstream's own way."""
    wanted, card = draft.prompt.reasoning, draft.target.card
    if wanted is None:
        return {}
    off = wanted.mode == "off"
    if draft.has("reasoning_details"):
        return {"reasoning": _openrouter(draft)}
    if draft.has("thinking_toggle"):
        return {"thinking": {"type": "disabled" if off else "enabled"}}
    if draft.has("enable_thinking"):
        return {"enable_thinking": not off} | ({"thinking_budget": wanted.budget} if wanted.budget and not off else {})
    knows = card is None or "effort" in card.traits
    if off and (card is None or "reasoning" not in card.traits):  # nothing to turn off
        return {}
    effort = _least(draft.target.model) if off else wanted.effort or effort_of(wanted.budget)
    if not effort:
        return {}
    if not knows or draft.has("replays_reasoning"):
        draft.drop("reasoning")
        return {}
    return {"reasoning_effort": effort}


def _least(model: str) -> str:
    """The effort nearest to none: the o series begins at low, gpt-5 at minimal, its successors at none."""
    if re.match(r"o\d", model):
        return "low"
    return "minimal" if re.match(r"gpt-5(-|$)", model) else "none"


def _openrouter(draft: Draft) -> Json:
    wanted = draft.prompt.reasoning
    if wanted is None or wanted.mode == "off":
        return {"enabled": False}
    if wanted.budget is not None and not wanted.effort:
        return {"max_tokens": wanted.budget}
    return {"effort": wanted.effort} if wanted.effort else {"enabled": True}


def effort_of(budget: int | None) -> str:
    """The effort that a budget of thinking tokens stands for (a convention of gateways, not of vendors)."""
    if budget is None or budget < 0:
        return ""
    steps = ((0, "none"), (2_048, "low"), (10_240, "medium"), (24_576, "high"))
    return next((effort for limit, effort in steps if budget <= limit), "xhigh")


def _labels(draft: Draft) -> Json:
    """Fields that do not change the answer."""
    prompt = draft.prompt
    body: Json = {
        "verbosity": prompt.verbosity or None,
        "user": prompt.user or None,
        "metadata": orjson.Fragment(prompt.metadata) if prompt.metadata else None,
        "prompt_cache_key": prompt.cache_key or None,
        "service_tier": TIERS.get(prompt.service_tier, prompt.service_tier) or None,
        "store": prompt.store,
    }
    body = {name: value for name, value in body.items() if value is not None}
    for name in list(body):
        if draft.has("no_labels") or (name == "user" and len(prompt.user) > MAX_USER):
            draft.drop(name)
            del body[name]
    return body


def _extra(draft: Draft) -> dict[str, bytes]:
    """This dialect's own fields as they came; those of others are named, or refused where they carry state."""
    for field in foreign.fields(draft.prompt, NAME):
        if field.firm:
            raise refused(field.name, field.reason)
        if field.reason and field.name not in _TAKEN:
            draft.refuse(field.name, field.reason)
        draft.drop(field.name)
    return draft.prompt.extra.get(NAME, {})
