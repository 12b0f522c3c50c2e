"""A Messages request as a `Prompt`, under the rules of the API version that it was sent with.

Fields without a place in `Prompt` are kept under `extra["anthropic"]`, nested ones by their path, so that a writer of
another dialect can name what it leaves out.
Source: `MessageCreateParams` of the Messages API reference.
"""

from __future__ import annotations

from fastanchor.core.call import Call
from fastanchor.core.prompt import Format, MediaPart, Prompt, Reasoning, Tool, ToolChoice, Turn
from fastanchor.dialects.anthropic import blocks
from fastanchor.dialects.anthropic.faults import invalid
from fastanchor.dialects.anthropic.versions import FIRST, is_strict
from fastanchor.dialects.fields import Fields

NAME = "anthropic"
MAX_TOOLS = 512
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_TIERS = {"auto": "auto", "standard_only": "default"}
_PLACED = frozenset(
    {
        "model", "messages", "max_tokens", "stream", "system", "tools", "tool_choice", "thinking", "output_config",
        "output_format", "stop_sequences", "temperature", "top_p", "top_k", "metadata", "service_tier",
    }
)  # fmt: skip
_TOOL_PLACED = frozenset({"name", "description", "input_schema", "strict", "cache_control", "type"})


def parse(call: Call) -> Prompt:
    """The whole request, format-free. Raises Fault(INVALID_REQUEST) that names the field."""
    request = Fields(call.body)
    strict = is_strict(call.headers.get("anthropic-version", FIRST))
    prompt = Prompt(
        turns=_system(request) + [_turn(message, strict) for message in request.items("messages")],
        max_output=request.whole("max_tokens"),
        stop=request.texts("stop_sequences"),
        reasoning=_reasoning(request),
        format=_format(request),
    )
    prompt.prefill = bool(prompt.turns) and prompt.turns[-1].role == "assistant"
    prompt.extra[NAME] = {name: request.raw(name) for name in request.names() if name not in _PLACED}
    _sampling(request, prompt, strict)
    _tools(request, prompt)
    _tool_choice(request, prompt)
    _labels(request, prompt)
    return prompt


def _system(request: Fields) -> list[Turn]:
    return [Turn("system", blocks.texts(request, "system"), path="system")] if request.raw("system") else []


def _turn(message: Fields, strict: bool) -> Turn:
    role = message.text("role", required=True)
    if role == "user":
        turn = Turn("user", blocks.content(message), path=message.path)
    elif role == "assistant":
        turn = Turn("assistant", blocks.content(message), path=message.path)
    elif role == "system":
        turn = Turn("system", blocks.texts(message, "content"), path=message.path)
    else:
        raise message.wrong("role", f"{role!r} is not one of 'user', 'assistant' and 'system'")
    if strict:
        _strict_rules(message, role, turn)
    return turn


def _strict_rules(message: Fields, role: str, turn: Turn) -> None:
    """What version 2026-10-21 took away from messages."""
    if role == "assistant" and any(isinstance(part, MediaPart) and part.kind == "document" for part in turn.parts):
        raise message.wrong("content", "document blocks are not permitted in assistant messages")
    if role != "user" or message.is_text("content"):
        return
    for block in message.items("content"):
        if block.text("type") == "text" and block.raw("citations") not in (b"", b"[]"):
            raise block.wrong("citations", "Extra inputs are not permitted in user messages")


def _sampling(request: Fields, prompt: Prompt, strict: bool) -> None:
    for name in ("temperature", "top_p", "top_k"):
        if strict and request.raw(name):
            raise invalid(name, "Extra inputs are not permitted")
    prompt.temperature = request.number("temperature")
    prompt.top_p = request.number("top_p")
    prompt.top_k = request.whole("top_k")


def _reasoning(request: Fields) -> Reasoning | None:
    config = request.inner("output_config")
    effort = config.text("effort") if config is not None else ""
    if config is not None and effort and effort not in _EFFORTS:
        raise config.wrong("effort", f"must be one of {', '.join(_EFFORTS)}")
    thinking = request.inner("thinking")
    if thinking is None:
        return Reasoning("auto", effort) if effort else None
    kind = thinking.text("type", required=True)
    include = thinking.text("display") != "omitted"
    if kind == "disabled":
        return Reasoning("off", effort)
    if kind == "enabled":
        budget = thinking.whole("budget_tokens")
        if budget is None or budget < 1024:
            raise thinking.wrong("budget_tokens", "must be an integer of at least 1024")
        return Reasoning("on", effort, budget, include=include)
    if kind in ("adaptive", "between_tools"):
        return Reasoning("auto", effort, include=include)
    raise thinking.wrong("type", f"{kind!r} is not a kind of thinking")


def _format(request: Fields) -> Format | None:
    config = request.inner("output_config")
    wanted = (config.inner("format") if config is not None else None) or request.inner("output_format")
    if wanted is None:
        return None
    if wanted.text("type", required=True) != "json_schema":
        raise wanted.wrong("type", "must be 'json_schema'")
    schema = wanted.raw("schema")
    if not schema.startswith(b"{"):
        raise wanted.wrong("schema", "must be an object")
    return Format("json_schema", schema=schema, strict=True)


def _tools(request: Fields, prompt: Prompt) -> None:
    tools = request.items("tools")
    if len(tools) > MAX_TOOLS:
        raise invalid("tools", f"at most {MAX_TOOLS} tools are permitted")
    prompt.tools = [_tool(tool, prompt) for tool in tools]


def _tool(tool: Fields, prompt: Prompt) -> Tool:
    if tool.text("type") not in ("", "custom"):
        return Tool(
            "hosted", tool.text("name"), data=tool.source, dialect=NAME, cache=blocks.cache_mark(tool), path=tool.path
        )
    for name in tool.names():
        if name not in _TOOL_PLACED:
            prompt.extra[NAME][tool.at(name)] = tool.raw(name)
    schema = tool.raw("input_schema")
    if not schema.startswith(b"{"):
        raise tool.wrong("input_schema", "must be an object" if schema else "Field required")
    return Tool(
        "function", tool.text("name", required=True), tool.text("description"), schema, tool.flag("strict"),
        cache=blocks.cache_mark(tool), path=tool.path,
    )  # fmt: skip


def _tool_choice(request: Fields, prompt: Prompt) -> None:
    choice = request.inner("tool_choice")
    if choice is None:
        return
    kind = choice.text("type", required=True)
    if kind == "auto":
        prompt.tool_choice = ToolChoice("auto")
    elif kind == "none":
        prompt.tool_choice = ToolChoice("none")
    elif kind == "any":
        prompt.tool_choice = ToolChoice("required")
    elif kind == "tool":
        prompt.tool_choice = ToolChoice("named", (choice.text("name", required=True),))
    else:
        raise choice.wrong("type", f"{kind!r} is not one of 'auto', 'any', 'tool' and 'none'")
    disabled = choice.flag("disable_parallel_tool_use")
    if disabled is not None and kind != "none":
        prompt.parallel_tools = not disabled


def _labels(request: Fields, prompt: Prompt) -> None:
    metadata = request.inner("metadata")
    prompt.user = metadata.text("user_id") if metadata is not None else ""
    tier = request.text("service_tier")
    if tier and tier not in _TIERS:
        raise invalid("service_tier", "must be 'auto' or 'standard_only'")
    prompt.service_tier = _TIERS.get(tier, "")
