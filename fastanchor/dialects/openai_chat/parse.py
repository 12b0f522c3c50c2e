"""A chat request as a `Prompt`.

Fields without a place in `Prompt` stay raw in `extra["openai_chat"]`, for the writers of other dialects to name as left
out. Beyond OpenAI's own fields, `top_k`, `reasoning {effort, max_tokens, enabled, exclude}` (OpenRouter) and
`thinking {type, budget_tokens}` (DeepSeek, GLM, Anthropic's compatible endpoint) are understood.
"""

from __future__ import annotations

from typing import Literal

from fastanchor.core.call import Call
from fastanchor.core.prompt import Format, Prompt, Reasoning
from fastanchor.dialects.fields import Fields, invalid
from fastanchor.dialects.openai_chat.encode import LEGACY
from fastanchor.dialects.openai_chat.messages import turns
from fastanchor.dialects.openai_chat.reasoning import NAME
from fastanchor.dialects.openai_chat.tools import read_tools

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_PLACED = frozenset({
    "model", "messages", "max_completion_tokens", "max_tokens", "temperature", "top_p", "top_k", "frequency_penalty",
    "presence_penalty", "seed", "logit_bias", "n", "stop", "logprobs", "top_logprobs", "stream", "stream_options",
    "tools", "tool_choice", "parallel_tool_calls", "functions", "function_call", "response_format", "reasoning_effort",
    "reasoning", "thinking", "verbosity", "store", "metadata", "user", "safety_identifier", "prompt_cache_key",
    "service_tier", "web_search_options",
})  # fmt: skip


def parse(call: Call) -> Prompt:
    """The whole request. Raises Fault(INVALID_REQUEST) that names the field."""
    request = Fields(call.body)
    prompt = Prompt(turns=turns(request))
    read_sampling(request, prompt)
    read_tools(request, prompt)
    prompt.format = _format(request)
    prompt.reasoning = _reasoning(request)
    prompt.verbosity = request.text("verbosity")
    _labels(request, prompt)
    _modalities(request)
    if extra := request.rest(_PLACED):
        prompt.extra[NAME] = extra
    if request.raw("functions") and not request.raw("tools"):
        call.options[LEGACY] = "1"
    return prompt


def read_sampling(request: Fields, prompt: Prompt) -> None:
    """Limits and sampling, which legacy completions have under the same names."""
    new, old = request.whole("max_completion_tokens"), request.whole("max_tokens")
    prompt.max_output = old if new is None else new
    prompt.temperature = _within(request, "temperature", 0, 2)
    prompt.top_p = _within(request, "top_p", 0, 1)
    prompt.top_k = request.whole("top_k")
    prompt.frequency_penalty = _within(request, "frequency_penalty", -2, 2)
    prompt.presence_penalty = _within(request, "presence_penalty", -2, 2)
    prompt.seed = request.whole("seed")
    prompt.logit_bias = request.object("logit_bias")
    prompt.choices = request.whole("n") or 1
    prompt.stop = (request.text("stop"),) if request.is_text("stop") else request.texts("stop")
    if request.raw("logprobs") in (b"true", b"false"):
        prompt.logprobs = bool(request.flag("logprobs"))
        prompt.top_logprobs = request.whole("top_logprobs")


def _within(request: Fields, name: str, low: float, high: float) -> float | None:
    value = request.number(name)
    if value is not None and not low <= value <= high:
        raise request.wrong(name, f"it must be {low:g} to {high:g}, not {value:g}")
    return value


def _format(request: Fields) -> Format | None:
    form = request.inner("response_format")
    if form is None:
        return None
    kind = form.text("type", required=True)
    if kind == "text":
        return Format("text")
    if kind == "json_object":
        return Format("json_object")
    if kind != "json_schema":
        raise form.wrong("type", "it must be 'text', 'json_object' or 'json_schema'")
    inner = form.inner("json_schema")
    if inner is None:
        raise form.wrong("json_schema", "it is required")
    return Format(
        "json_schema", inner.text("name"), inner.object("schema"), inner.flag("strict"), inner.text("description")
    )


def _reasoning(request: Fields) -> Reasoning | None:
    effort = request.text("reasoning_effort")
    if effort and effort not in EFFORTS:
        raise invalid("reasoning_effort", f"it must be one of {', '.join(EFFORTS)}")
    given = request.inner("reasoning")
    if given is not None:
        return _openrouter(given, effort)
    thinking = request.inner("thinking")
    if thinking is not None:
        if thinking.text("type", required=True) == "disabled":
            return Reasoning("off")
        mode: Literal["auto", "on"] = "auto" if thinking.text("type") in ("auto", "adaptive") else "on"
        return Reasoning(mode, "" if effort == "none" else effort, thinking.whole("budget_tokens"), include=True)
    if not effort:
        return None
    return Reasoning("off") if effort == "none" else Reasoning("on", effort)


def _openrouter(given: Fields, effort: str) -> Reasoning:
    effort = given.text("effort") or effort
    if given.flag("enabled") is False or effort == "none":
        return Reasoning("off")
    include = not given.flag("exclude")
    return Reasoning("on", effort, given.whole("max_tokens"), given.text("summary"), include)


def _labels(request: Fields, prompt: Prompt) -> None:
    prompt.user = request.text("safety_identifier") or request.text("user")
    prompt.metadata = request.object("metadata")
    prompt.cache_key = request.text("prompt_cache_key")
    prompt.service_tier = request.text("service_tier")
    prompt.store = request.flag("store")


def _modalities(request: Fields) -> None:
    """Only text crosses dialects."""
    for word in request.texts("modalities"):
        if word != "text":
            raise request.wrong("modalities", f"{word} output is only available from a provider of the same format")
    if request.raw("audio"):
        raise request.wrong("audio", "audio output is only available from a provider of the same format")
