"""A `Prompt` as a Responses request.

- `store` is false unless the client says true: left out, it would be true, which no other dialect's default is.
- The first system turn becomes `instructions`; later ones are developer messages in their place.
- Foreign thinking is left out; own reasoning goes back with its `encrypted_content`, which is asked for again.
- There is no `stop`: the sequences are left to the reader of the answer (`Written.stops`).
- There is no `n`, `seed`, `logit_bias`, penalty or `top_k`: what changes the meaning of the answer is refused (dropped
  where `Target.strict` is off), what only tunes it is dropped.
"""

from __future__ import annotations

import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Format, Prompt, Reasoning
from fastanchor.dialects import foreign
from fastanchor.dialects.contract import Target, Written
from fastanchor.dialects.openai_chat.write import prefills
from fastanchor.dialects.openai_responses.draft import Draft
from fastanchor.dialects.openai_responses.parse import LOGPROBS
from fastanchor.dialects.openai_responses.tools import write_choice, write_tool
from fastanchor.dialects.openai_responses.words import NAME
from fastanchor.dialects.openai_responses.write_items import write_input
from fastanchor.dialects.stop_sequences import MAX_LENGTH, MAX_SEQUENCES

LEAST_OUTPUT = 16
"""Tokens; the API refuses less."""

MAX_TOP_LOGPROBS = 20
_TUNING = ("top_k", "frequency_penalty", "presence_penalty", "seed")
_TIERS = ("auto", "default", "flex", "scale", "priority", "fast")
_BUDGETS = ((2_048, "low"), (10_240, "medium"), (24_576, "high"))


def write(prompt: Prompt, target: Target) -> Written:
    """The request body. Raises Fault(INVALID_REQUEST) for what cannot be expressed."""
    if prompt.choices != 1:
        raise Fault(Kind.INVALID_REQUEST, "'n' cannot be more than 1 for this model.", param="n")
    draft = Draft(prompt, target)
    instructions, items = write_input(draft)
    if instructions:
        draft.members["instructions"] = instructions
    draft.members["input"] = items
    if prefills(prompt, target):
        draft.refuse(prompt.turns[-1].path or "messages", "the model does not go on with a last message of its own.")
    _write_tools(draft)
    _write_limits(draft)
    _write_sampling(draft)
    _write_form(draft)
    _write_reasoning(draft)
    _write_labels(draft)
    _write_extra(draft)
    if target.stream:
        draft.members["stream"] = True
    body = orjson.dumps(draft.members)
    return Written(body, tuple(draft.dropped), renamed=draft.names.renamed, stops=prompt.stop)


def _write_tools(draft: Draft) -> None:
    prompt = draft.prompt
    tools = []
    for tool in prompt.tools:
        written = write_tool(tool, draft.names)
        if written is None:
            draft.refuse(tool.path or "tools", f"the hosted tool {tool.name!r} does not exist there.")
        else:
            tools.append(orjson.Fragment(written))
    if not tools:
        return
    draft.members["tools"] = tools
    if prompt.tool_choice is not None:
        draft.members["tool_choice"] = write_choice(prompt.tool_choice, prompt.tools, draft.names)
    if prompt.parallel_tools is not None:
        draft.members["parallel_tool_calls"] = prompt.parallel_tools


def _write_limits(draft: Draft) -> None:
    prompt = draft.prompt
    if prompt.max_output is not None:
        draft.members["max_output_tokens"] = max(LEAST_OUTPUT, prompt.max_output)
    if prompt.stop:
        _check_stops(prompt.stop)


def _check_stops(stops: tuple[str, ...]) -> None:
    if len(stops) > MAX_SEQUENCES:
        raise Fault(Kind.INVALID_REQUEST, f"At most {MAX_SEQUENCES} stop sequences are possible.", param="stop")
    if not all(0 < len(stop) <= MAX_LENGTH for stop in stops):
        reason = f"A stop sequence must have 1 to {MAX_LENGTH} characters for this model."
        raise Fault(Kind.INVALID_REQUEST, reason, param="stop")


def _write_sampling(draft: Draft) -> None:
    prompt, card = draft.prompt, draft.target.card
    fixed = card is not None and not card.traits.isdisjoint({"reasoning", "no_sampling"})
    for name in ("temperature", "top_p"):
        value = getattr(prompt, name)
        if value is not None and fixed:
            draft.drop(name)
        elif value is not None:
            draft.members[name] = value
    for name in _TUNING:
        if getattr(prompt, name) is not None:
            draft.drop(name)
    if prompt.logit_bias:
        draft.drop("logit_bias")
    if prompt.logprobs:
        draft.members["include"] = [LOGPROBS]
    if prompt.top_logprobs is not None:
        draft.members["top_logprobs"] = min(prompt.top_logprobs, MAX_TOP_LOGPROBS)


def _write_form(draft: Draft) -> None:
    prompt = draft.prompt
    text: dict[str, object] = {}
    if prompt.format is not None:
        text["format"] = _format(prompt.format)
    if prompt.verbosity:
        text["verbosity"] = prompt.verbosity
    if text:
        draft.members["text"] = text


def _format(form: Format) -> dict[str, object]:
    if form.kind != "json_schema":
        return {"type": form.kind}
    told: dict[str, object] = {"type": "json_schema", "name": form.name or "answer"}
    if form.description:
        told["description"] = form.description
    told["schema"] = orjson.Fragment(form.schema or b"{}")
    told["strict"] = bool(form.strict)
    return told


def _write_reasoning(draft: Draft) -> None:
    asked, card = draft.prompt.reasoning, draft.target.card
    if asked is None:
        return
    if card is not None and card.traits and card.traits.isdisjoint({"reasoning", "effort"}):
        if asked.mode != "off":
            draft.drop("reasoning")
        return
    told: dict[str, object] = {}
    if effort := _effort(asked):
        told["effort"] = effort
    if asked.mode != "off" and (asked.summary or asked.include):
        told["summary"] = asked.summary or "auto"
    if told:
        draft.members["reasoning"] = told


def _effort(asked: Reasoning) -> str:
    if asked.mode == "off":
        return "none"
    if asked.effort or asked.budget is None:
        return asked.effort
    return next((effort for most, effort in _BUDGETS if asked.budget <= most), "xhigh") if asked.budget > 0 else "none"


def _write_labels(draft: Draft) -> None:
    prompt = draft.prompt
    draft.members["store"] = bool(prompt.store)
    if prompt.user:
        draft.members["safety_identifier"] = prompt.user
    if prompt.metadata:
        draft.members["metadata"] = orjson.Fragment(prompt.metadata)
    if prompt.cache_key:
        draft.members["prompt_cache_key"] = prompt.cache_key
    if prompt.service_tier in _TIERS:
        draft.members["service_tier"] = prompt.service_tier
    elif prompt.service_tier:
        draft.drop("service_tier")


def _write_extra(draft: Draft) -> None:
    """Own fields come back as they were; other dialects' fields have no place here."""
    for field in foreign.fields(draft.prompt, NAME):
        if field.firm:
            raise Fault(Kind.INVALID_REQUEST, f"'{field.name}' cannot be sent: {field.reason}.", param=field.name)
        if field.reason:
            draft.refuse(field.name, f"{field.reason}.")
        draft.drop(field.name)
    for name, raw in draft.prompt.extra.get(NAME, {}).items():
        if name == "include":
            draft.members["include"] = [*_included(draft), *orjson.loads(raw)]
        else:
            draft.members[name] = orjson.Fragment(raw)
    if "reasoning" in draft.members:
        draft.members["include"] = [*_included(draft), "reasoning.encrypted_content"]


def _included(draft: Draft) -> list[object]:
    held = draft.members.get("include")
    return list(held) if isinstance(held, list) else []
