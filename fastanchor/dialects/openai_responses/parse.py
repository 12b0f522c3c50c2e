"""A whole Responses request as a `Prompt`.

What needs state that lives at OpenAI (a conversation, a stored prompt, background work) cannot cross to another vendor
and is refused. `previous_response_id` must have been resolved before (see `state.resumed`): parsing a request that
still has it would silently forget the conversation.
"""

from __future__ import annotations

import msgspec

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Format, Prompt, Reasoning, TextPart, Turn
from fastanchor.dialects.openai_responses.items import read_input
from fastanchor.dialects.openai_responses.reading import decode, invalid
from fastanchor.dialects.openai_responses.tools import read_choice, read_tools
from fastanchor.dialects.openai_responses.wire import present
from fastanchor.dialects.openai_responses.words import NAME

LOGPROBS = "message.output_text.logprobs"
GIVEN_ANYWAY = (LOGPROBS, "reasoning.encrypted_content")
"""`include` entries that need no upstream: they are served here."""

_NONE = msgspec.Raw(b"")
_STATEFUL = {
    "background": "background responses are only available from a provider that speaks the Responses API.",
    "conversation": "conversations are only available from a provider that speaks the Responses API.",
    "prompt": "stored prompts are only available from a provider that speaks the Responses API.",
    "previous_response_id": "the response is not stored here.",
}
_KEPT = (
    "max_tool_calls", "context_management", "moderation", "prompt_cache_options", "prompt_cache_retention",
    "access_programs", "image",
)  # fmt: skip


class _Form(msgspec.Struct):
    type: str
    name: str | None = None
    schema: msgspec.Raw = _NONE
    strict: bool | None = None
    description: str | None = None


class _Text(msgspec.Struct):
    format: _Form | None = None
    verbosity: str | None = None


class _Reasoning(msgspec.Struct):
    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class _Request(msgspec.Struct):
    input: msgspec.Raw = _NONE
    instructions: str | None = None
    tools: list[msgspec.Raw] | None = None
    tool_choice: msgspec.Raw = _NONE
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    include: list[str] | None = None
    text: _Text | None = None
    reasoning: _Reasoning | None = None
    metadata: msgspec.Raw = _NONE
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    truncation: str | None = None


def parse(call: Call) -> Prompt:
    """The whole request, format-free. Raises Fault(INVALID_REQUEST) that names the field."""
    members = decode(call.body, dict[str, msgspec.Raw])
    for name, reason in _STATEFUL.items():
        if bytes(members.get(name, _NONE)) not in (b"", b"null", b"false"):
            raise invalid(name, reason)
    asked = decode(call.body, _Request)
    if not present(asked.input):
        raise Fault(Kind.INVALID_REQUEST, "Missing required parameter: 'input'.", param="input")
    conversation = read_input(asked.input)
    instructions = [Turn("system", (TextPart(asked.instructions),), path="instructions")] if asked.instructions else []
    return Prompt(
        turns=instructions + conversation.turns,
        tools=read_tools(asked.tools or [], "tools") + conversation.tools,
        tool_choice=read_choice(asked.tool_choice),
        parallel_tools=asked.parallel_tool_calls,
        max_output=asked.max_output_tokens,
        temperature=asked.temperature,
        top_p=asked.top_p,
        logprobs=LOGPROBS in (asked.include or ()),
        top_logprobs=asked.top_logprobs or None,
        format=_format(asked.text),
        reasoning=_reasoning(asked.reasoning),
        verbosity=(asked.text.verbosity or "") if asked.text is not None else "",
        user=asked.safety_identifier or asked.user or "",
        metadata=bytes(asked.metadata) if present(asked.metadata) else b"",
        cache_key=asked.prompt_cache_key or "",
        service_tier=asked.service_tier or "",
        store=asked.store,
        extra=_extra(members, asked),
    )


def _format(text: _Text | None) -> Format | None:
    form = text.format if text is not None else None
    if form is None:
        return None
    if form.type == "json_schema":
        if not present(form.schema):
            raise invalid("text.format.schema", "it is missing.")
        return Format("json_schema", form.name or "", bytes(form.schema), form.strict, form.description or "")
    if form.type == "json_object":
        return Format("json_object")
    if form.type == "text":
        return Format("text")
    raise invalid("text.format.type", "it must be 'text', 'json_object' or 'json_schema'.")


def _reasoning(asked: _Reasoning | None) -> Reasoning | None:
    if asked is None:
        return None
    summary = asked.summary or asked.generate_summary or ""
    if asked.effort == "none":
        return Reasoning("off")
    if not asked.effort and not summary:
        return None
    return Reasoning("on" if asked.effort else "auto", asked.effort or "", None, summary, bool(summary))


def _extra(members: dict[str, msgspec.Raw], asked: _Request) -> dict[str, dict[str, bytes]]:
    """What only this dialect has. Values that say what happens anyway are no loss to anyone."""
    kept = {name: bytes(members[name]) for name in _KEPT if present(members.get(name, _NONE))}
    if asked.truncation not in (None, "disabled"):
        kept["truncation"] = bytes(members["truncation"])
    wanted = [entry for entry in asked.include or () if entry not in GIVEN_ANYWAY]
    if wanted:
        kept["include"] = msgspec.json.encode(wanted)
    return {NAME: kept} if kept else {}
