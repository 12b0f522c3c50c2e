"""Tools and the choice among them, as Anthropic takes them.

A custom (free-text) tool is sent as a function with one string, `input`. Of hosted tools Anthropic's own and web search
have a place. The order of tools is kept, and so are the bytes of their schemas: prompt caches depend on both.
Source: `ToolParam`, `ToolChoiceParam` and `WebSearchTool20250305Param` of the Messages API reference.
"""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor.core.prompt import CacheMark, Tool, ToolChoice
from fastanchor.dialects.anthropic.draft import Draft
from fastanchor.dialects.anthropic.faults import invalid

NAME = "anthropic"
FREE_TEXT = (
    b'{"type":"object","properties":{"input":{"type":"string","description":"The whole input, as free text."}},'
    b'"required":["input"],"additionalProperties":false}'
)
_NO_PARAMETERS = b'{"type":"object","properties":{}}'
_WEB_SEARCH = ("web_search", "web_search_preview", "googleSearch", "google_search")
_TTLS = {"30m": "1h", "12h": "1h", "1h": "1h", "5m": "5m"}


def tools(draft: Draft) -> list[dict[str, object]]:
    """The `tools`; an allowed subset is sent as all there is."""
    choice = draft.prompt.tool_choice
    wanted = set(choice.names) if choice is not None and choice.mode == "allowed" else None
    out = []
    for at, tool in enumerate(draft.prompt.tools):
        if wanted is not None and tool.kind != "hosted" and tool.name not in wanted:
            continue
        written = _tool(draft, tool, tool.path or f"tools[{at}]")
        if written is not None:
            out.append(written)
    return out


def tool_choice(draft: Draft) -> dict[str, object] | None:
    """The `tool_choice`, the carrier of `disable_parallel_tool_use`; none at all when the default is meant."""
    choice, single = draft.prompt.tool_choice, draft.prompt.parallel_tools is False
    if choice is None and not single:
        return None
    out = {"type": "auto"} if choice is None else _choice(draft, choice)
    if single and out["type"] != "none":
        return out | {"disable_parallel_tool_use": True}
    return dict(out)


def cache_control(mark: CacheMark) -> dict[str, str]:
    """A cache marker; lifetimes of other vendors become the next longer one."""
    ttl = _TTLS.get(mark.ttl)
    return {"type": "ephemeral", "ttl": ttl} if ttl else {"type": "ephemeral"}


def _choice(draft: Draft, choice: ToolChoice) -> dict[str, str]:
    if choice.mode == "none":
        return {"type": "none"}
    forced = choice.mode in ("required", "named") or choice.required
    if not forced or draft.loosened:
        return {"type": "auto"}
    if choice.mode == "named" and choice.names:
        return {"type": "tool", "name": draft.names.sent(choice.names[0])}
    return {"type": "any"}


def _tool(draft: Draft, tool: Tool, param: str) -> dict[str, object] | None:
    if tool.kind == "hosted":
        return _hosted(draft, tool, param)
    out: dict[str, object] = {"name": draft.names.sent(tool.name)}
    if tool.description:
        out["description"] = tool.description
    out["input_schema"] = orjson.Fragment(FREE_TEXT if tool.kind == "custom" else _object_schema(tool.schema, param))
    if tool.kind == "custom" and tool.data:
        draft.drop(f"{param}.format")
    if tool.strict and tool.kind == "function" and draft.can.schema:
        out["strict"] = True
    if tool.cache is not None:
        out["cache_control"] = cache_control(tool.cache)
    return out


def function(name: str, description: str, schema: bytes) -> dict[str, object]:
    """A tool of the gateway's own."""
    return {"name": name, "description": description, "input_schema": orjson.Fragment(_object_schema(schema, name))}


def _object_schema(schema: bytes, param: str) -> bytes:
    """A schema of an object, in its own bytes; `type` is put in where it is missing."""
    if not schema.strip():
        return _NO_PARAMETERS
    try:
        document = orjson.loads(schema)
    except orjson.JSONDecodeError:
        raise invalid(f"{param}.parameters", "must be a JSON schema") from None
    if not isinstance(document, dict):
        raise invalid(f"{param}.parameters", "must be a JSON schema that is an object")
    if not document:
        return _NO_PARAMETERS
    return schema if "type" in document else b'{"type":"object",' + schema.strip().removeprefix(b"{")


def _hosted(draft: Draft, tool: Tool, param: str) -> dict[str, object] | None:
    try:
        definition = orjson.loads(tool.data)
    except orjson.JSONDecodeError:
        definition = None
    if not isinstance(definition, dict):
        raise invalid(param, "must be an object")
    if tool.dialect == NAME:
        return definition
    if tool.name in _WEB_SEARCH or any(name in _WEB_SEARCH for name in (*definition, definition.get("type"))):
        return _web_search(draft, definition, param)
    draft.refuse(param, f"the hosted tool {tool.name or definition.get('type', '')!r} is not available on this model")
    return None


def _web_search(draft: Draft, definition: dict[str, Any], param: str) -> dict[str, object]:
    """Another vendor's web search as Anthropic's: domains and place go along, the amount of context does not."""
    out: dict[str, object] = {"type": "web_search_20250305", "name": "web_search"}
    filters = definition.get("filters")
    if isinstance(filters, dict) and filters.get("allowed_domains"):
        out["allowed_domains"] = filters["allowed_domains"]
    place = definition.get("user_location")
    if isinstance(place, dict):
        out["user_location"] = {"type": "approximate"} | {
            name: place[name] for name in ("city", "region", "country", "timezone") if place.get(name)
        }
    if definition.get("search_context_size"):
        draft.drop(f"{param}.search_context_size")
    return out
