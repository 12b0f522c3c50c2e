"""Tool definitions and tool choice, both ways. Tools are flat here: `name` and `parameters` stand beside `type`.

A namespace is a group of tools whose calls tell the group and the name apart. No other vendor has that: its tools go
out under one long name, `group__name`, and their calls come back taken apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import orjson

from fastanchor.core.prompt import Tool, ToolChoice
from fastanchor.dialects.names import Names
from fastanchor.dialects.openai_responses.reading import decode, invalid
from fastanchor.dialects.openai_responses.wire import present
from fastanchor.dialects.openai_responses.words import NAME

WEB_SEARCH = ("web_search", "google_search", "googleSearch", "web_search_preview")
"""Names of the hosted tool that several vendors have."""

_NONE = msgspec.Raw(b"")


class _Tool(msgspec.Struct):
    type: str
    name: str | None = None
    description: str | None = None
    parameters: msgspec.Raw = _NONE
    strict: bool | None = None
    format: msgspec.Raw = _NONE
    tools: msgspec.Raw = _NONE


class _Offer(msgspec.Struct):
    tools: list[_Tool] | None = None


class _Choice(msgspec.Struct):
    type: str
    name: str | None = None
    mode: str | None = None
    tools: list[_Tool] | None = None


class _Grammar(msgspec.Struct):
    syntax: str
    definition: str


class _Format(msgspec.Struct):
    """The form of a custom tool's input; OpenAI chat nests the grammar."""

    type: str
    grammar: _Grammar | None = None


def read_tools(tools: Iterable[msgspec.Raw], where: str) -> list[Tool]:
    return [tool for number, raw in enumerate(tools) for tool in _read_tool(raw, f"{where}[{number}]")]


def qualified(namespace: str | None, name: str) -> str:
    """The name that a tool of a namespace goes by everywhere else."""
    return f"{namespace}__{name}" if namespace else name


def namespaced(body: bytes) -> dict[str, tuple[str, str]]:
    """Qualified name → namespace and own name, of the tools that a request offers."""
    if b'"namespace"' not in body:
        return {}
    groups = [tool for tool in decode(body, _Offer).tools or () if tool.type == "namespace" and present(tool.tools)]
    return {
        qualified(group.name, tool.name or ""): (group.name or "", tool.name or "")
        for group in groups
        for tool in decode(group.tools, list[_Tool], "tools")
    }


def _read_tool(raw: msgspec.Raw, where: str) -> list[Tool]:
    tool = decode(raw, _Tool, where)
    if tool.type not in ("function", "custom", "namespace"):
        return [Tool("hosted", tool.type, data=bytes(raw), dialect=NAME, path=where)]
    if not tool.name:
        raise invalid(f"{where}.name", "it is missing.")
    if tool.type != "namespace":
        return [replace(_read_own(tool, tool.name), path=where)]
    inner = read_tools(decode(tool.tools, list[msgspec.Raw], f"{where}.tools"), f"{where}.tools")
    return [replace(own, name=qualified(tool.name, own.name)) for own in inner]


def _read_own(tool: _Tool, name: str) -> Tool:
    """A tool that the client runs. `strict` stays unsaid when it is: the API then tries to be strict, which no other
    vendor does."""
    if tool.type == "custom":
        form = bytes(tool.format) if present(tool.format) else b""
        return Tool("custom", name, tool.description or "", data=form, dialect=NAME)
    schema = bytes(tool.parameters) if present(tool.parameters) else b""
    return Tool("function", name, tool.description or "", schema, tool.strict)


def read_choice(raw: msgspec.Raw, where: str = "tool_choice") -> ToolChoice | None:
    if not present(raw):
        return None
    if bytes(raw).startswith(b'"'):
        word: Any = decode(raw, str, where)
        if word not in ("auto", "none", "required"):
            raise invalid(where, "it must be 'auto', 'none', 'required' or an object.")
        return ToolChoice(word)
    choice = decode(raw, _Choice, where)
    if choice.type == "allowed_tools":
        names = tuple(tool.name or tool.type for tool in choice.tools or ())
        return ToolChoice("allowed", names, required=choice.mode == "required")
    return ToolChoice("named", (choice.name or choice.type,))


def write_tool(tool: Tool, names: Names) -> bytes | None:
    """The definition, or None for a hosted tool that this API does not have. `strict` is always said: left out, it
    would be true."""
    if tool.kind == "hosted":
        return tool.data if tool.dialect == NAME else b'{"type":"web_search"}' if tool.name in WEB_SEARCH else None
    told: dict[str, object] = {"type": tool.kind, "name": names.sent(tool.name)}
    if tool.description:
        told["description"] = tool.description
    if tool.kind == "custom" and tool.data:
        told["format"] = _write_format(tool.data)
    elif tool.kind == "function":
        told["parameters"] = orjson.Fragment(tool.schema or b'{"type":"object","properties":{}}')
        told["strict"] = bool(tool.strict)
    return orjson.dumps(told)


def _write_format(data: bytes) -> orjson.Fragment:
    """A custom tool's format; the grammar of OpenAI chat loses its nesting."""
    form = decode(data, _Format, "tools")
    if form.grammar is None:
        return orjson.Fragment(data)
    flat = {"type": form.type, "syntax": form.grammar.syntax, "definition": form.grammar.definition}
    return orjson.Fragment(orjson.dumps(flat))


def write_choice(choice: ToolChoice, tools: Sequence[Tool], names: Names) -> object:
    """The value of `tool_choice`."""
    kinds = {tool.name: tool.kind for tool in tools}
    if choice.mode == "named":
        return _chosen(choice.names[0], kinds, names)
    if choice.mode == "allowed":
        return {
            "type": "allowed_tools",
            "mode": "required" if choice.required else "auto",
            "tools": [_chosen(name, kinds, names) for name in choice.names],
        }
    return choice.mode


def _chosen(name: str, kinds: Mapping[str, str], names: Names) -> dict[str, str]:
    kind = kinds.get(name, "function")
    if kind == "hosted":
        return {"type": "web_search" if name in WEB_SEARCH else name}
    return {"type": kind, "name": names.sent(name)}
