"""The tools of a chat request: definitions, and which of them may or must be called. Schemas keep their bytes."""

from __future__ import annotations

from dataclasses import replace

from fastanchor.core.prompt import CacheMark, Prompt, Tool, ToolChoice
from fastanchor.dialects.fields import Fields
from fastanchor.dialects.openai_chat.reasoning import NAME

MAX_TOOLS = 512
_MODES = {"auto": "auto", "none": "none", "required": "required", "any": "required"}  # "any": Mistral


def read_tools(request: Fields, prompt: Prompt) -> None:
    """`tools`, or the deprecated `functions`, and `web_search_options`, which is a hosted tool in all but name."""
    tools = request.items("tools")
    functions = request.items("functions")
    for name, given in (("tools", tools), ("functions", functions)):
        if len(given) > MAX_TOOLS:
            raise request.wrong(name, f"at most {MAX_TOOLS} tools are allowed")
    prompt.tools = [replace(_tool(tool), path=tool.path) for tool in tools]
    if not tools:
        prompt.tools = [replace(_function(function, None), path=function.path) for function in functions]
    if search := request.object("web_search_options"):
        prompt.tools.append(Tool("hosted", "web_search", data=search, dialect=NAME, path="web_search_options"))
    prompt.parallel_tools = request.flag("parallel_tool_calls")
    if functions and not tools:
        prompt.parallel_tools = False
        prompt.tool_choice = _function_choice(request)
    else:
        prompt.tool_choice = _choice(request)


def _tool(tool: Fields) -> Tool:
    kind = tool.text("type") or "function"
    if kind == "function":
        function = tool.inner("function")
        if function is None:
            raise tool.wrong("function", "it is required")
        mark = tool.inner("cache_control")
        return _function(function, CacheMark(mark.text("ttl")) if mark is not None else None)
    if kind != "custom":
        return Tool("hosted", kind, data=tool.source, dialect=NAME)
    custom = tool.inner("custom")
    if custom is None:
        raise tool.wrong("custom", "it is required")
    return Tool(
        "custom", custom.text("name", required=True), custom.text("description"), data=custom.object("format"),
        dialect=NAME,
    )  # fmt: skip


def _function(function: Fields, cache: CacheMark | None) -> Tool:
    return Tool(
        "function",
        function.text("name", required=True),
        function.text("description"),
        function.object("parameters"),
        function.flag("strict"),
        cache=cache,
    )


def _choice(request: Fields) -> ToolChoice | None:
    if request.is_text("tool_choice"):
        word = request.text("tool_choice")
        mode = _MODES.get(word)
        if mode is None:
            raise request.wrong("tool_choice", f"{word!r} is not one of 'auto', 'none' and 'required'")
        return _plain(mode)
    choice = request.inner("tool_choice")
    if choice is None:
        return None
    kind = choice.text("type", required=True)
    if kind == "allowed_tools":
        return _allowed(choice)
    if kind not in ("function", "custom"):
        raise choice.wrong("type", f"a choice of {kind!r} cannot be carried to the provider of this model")
    return ToolChoice("named", (_named(choice, kind),), required=True)


def _plain(mode: str) -> ToolChoice:
    if mode == "none":
        return ToolChoice("none")
    return ToolChoice("required", required=True) if mode == "required" else ToolChoice("auto")


def _allowed(choice: Fields) -> ToolChoice:
    inner = choice.inner("allowed_tools") or choice
    mode = inner.text("mode", required=True)
    if mode not in ("auto", "required"):
        raise inner.wrong("mode", "it must be 'auto' or 'required'")
    names = tuple(_named(tool, tool.text("type") or "function") for tool in inner.items("tools"))
    return ToolChoice("allowed", names, required=mode == "required")


def _named(choice: Fields, kind: str) -> str:
    inner = choice.inner(kind)
    if inner is None:
        raise choice.wrong(kind, "it is required")
    return inner.text("name", required=True)


def _function_choice(request: Fields) -> ToolChoice | None:
    """The deprecated `function_call`."""
    if request.is_text("function_call"):
        word = request.text("function_call")
        if word not in ("auto", "none"):
            raise request.wrong("function_call", "it must be 'auto', 'none' or an object")
        return _plain(word)
    choice = request.inner("function_call")
    return ToolChoice("named", (choice.text("name", required=True),), required=True) if choice else None
