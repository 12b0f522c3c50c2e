"""Input items as turns.

Items are flat; turns are not. What the assistant said, thought and called in a row becomes one assistant turn, and
results in a row one user turn, so that parallel calls stay together. System and developer messages keep their place.
Items of hosted tools stay raw JSON, on the side that made them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import msgspec
import orjson

from fastanchor.core.prompt import (
    HostedPart,
    OpaqueSignature,
    Part,
    Role,
    TextPart,
    ThoughtPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects.openai_responses.envelope import MARK, unseal
from fastanchor.dialects.openai_responses.parts import read_content, read_output
from fastanchor.dialects.openai_responses.reading import decode, invalid
from fastanchor.dialects.openai_responses.tools import qualified, read_tools
from fastanchor.dialects.openai_responses.wire import arguments_of, present
from fastanchor.dialects.openai_responses.words import CALLS, NAME

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_RESULTS = ("function_call_output", "custom_tool_call_output")
_FROM_CLIENT = ("mcp_approval_response", "compaction_trigger", "configuration_update")
_NONE = msgspec.Raw(b"")


class _Text(msgspec.Struct):
    text: str = ""


class _Item(msgspec.Struct):
    type: str | None = None
    role: str | None = None
    id: str | None = None
    content: msgspec.Raw = _NONE
    call_id: str | None = None
    name: str | None = None
    namespace: str | None = None
    arguments: msgspec.Raw = _NONE
    input: msgspec.Raw = _NONE
    output: msgspec.Raw = _NONE
    summary: list[_Text] | None = None
    encrypted_content: str | None = None
    tools: list[msgspec.Raw] | None = None


@dataclass(slots=True)
class Conversation:
    """What input says: turns, and tools that it adds on its way."""

    turns: list[Turn] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)

    def add(self, role: Role, *parts: Part, join: bool, where: str) -> None:
        """A turn, or more of the last one."""
        if join and self.turns and self.turns[-1].role == role and _joins(self.turns[-1], role):
            self.turns[-1] = replace(self.turns[-1], parts=self.turns[-1].parts + parts)
        else:
            self.turns.append(Turn(role, parts, path=where))


def parse_items(items: bytes) -> list[Turn]:
    """The turns of a JSON array of items, such as a store kept. Raises Fault(INVALID_REQUEST)."""
    return read_input(items).turns


def read_input(raw: bytes | msgspec.Raw, where: str = "input") -> Conversation:
    """The conversation in `input`: text, or a list of items."""
    conversation = Conversation()
    if bytes(raw).startswith(b'"'):
        conversation.add("user", TextPart(decode(raw, str, where)), join=False, where=where)
        return conversation
    for number, item in enumerate(decode(raw, list[msgspec.Raw], where)):
        _read(conversation, item, f"{where}[{number}]")
    return conversation


def _read(conversation: Conversation, raw: msgspec.Raw, where: str) -> None:
    item = decode(raw, _Item, where)
    kind = item.type or ("message" if item.role else "item_reference")
    if kind == "message":
        _message(conversation, item, where)
    elif kind == "reasoning":
        _reasoning(conversation, item, where)
    elif kind in CALLS:
        conversation.add("assistant", _call(item, where), join=True, where=where)
    elif kind in _RESULTS:
        conversation.add("user", _result(item, where), join=True, where=where)
    elif kind == "additional_tools":
        conversation.tools += read_tools(item.tools or [], f"{where}.tools")
    elif kind == "item_reference":
        raise invalid(where, "an item reference cannot be followed here; give the item itself.")
    elif kind.endswith("_output") or kind in _FROM_CLIENT:
        conversation.add("user", HostedPart(NAME, bytes(raw)), join=True, where=where)
    else:
        conversation.add("assistant", HostedPart(NAME, bytes(raw)), join=True, where=where)


def _joins(last: Turn, role: Role) -> bool:
    """Whatever the assistant did is one turn; of the user only results join results."""
    return role == "assistant" or all(isinstance(part, (ToolResultPart, HostedPart)) for part in last.parts)


def _message(conversation: Conversation, item: _Item, where: str) -> None:
    role = _ROLES.get(item.role or "")
    if role is None:
        raise invalid(f"{where}.role", "it must be 'user', 'assistant', 'system' or 'developer'.")
    if not present(item.content):
        raise invalid(f"{where}.content", "it is missing.")
    parts = read_content(item.content, f"{where}.content")
    conversation.add(role, *parts, join=role == "assistant", where=where)


def _reasoning(conversation: Conversation, item: _Item, where: str) -> None:
    text = "\n\n".join(part.text for part in item.summary or ())
    if not text and present(item.content):
        text = "\n\n".join(part.text for part in decode(item.content, list[_Text], f"{where}.content"))
    told = item.encrypted_content or ""
    sealed = unseal(told)
    if sealed is not None and sealed.over == "call":
        _sign(conversation, sealed.call_id, sealed.signature)
        return
    signature, redacted = None, False
    if sealed is not None:
        signature, redacted = sealed.signature, sealed.over == "redacted"
    elif told and not told.startswith(MARK):  # a damaged envelope is nobody's signature
        signature, redacted = OpaqueSignature(NAME, told), not text
    if text or signature is not None:
        conversation.add("assistant", ThoughtPart(text, signature, redacted, item.id or ""), join=True, where=where)


def _sign(conversation: Conversation, call_id: str, signature: OpaqueSignature) -> None:
    """Give a call of the last assistant turn back the signature that was made over it."""
    if conversation.turns and conversation.turns[-1].role == "assistant":
        turn = conversation.turns[-1]
        parts = tuple(
            replace(part, signature=signature) if isinstance(part, ToolCallPart) and part.id == call_id else part
            for part in turn.parts
        )
        conversation.turns[-1] = replace(turn, parts=parts)


def _call(item: _Item, where: str) -> ToolCallPart:
    custom = item.type == "custom_tool_call"
    if not item.call_id:
        raise invalid(f"{where}.call_id", "it is missing.")
    if not item.name:
        raise invalid(f"{where}.name", "it is missing.")
    arguments = arguments_of(item.input if custom else item.arguments)
    return ToolCallPart(item.call_id, qualified(item.namespace, item.name), arguments, custom=custom)


def _result(item: _Item, where: str) -> ToolResultPart:
    if not item.call_id:
        raise invalid(f"{where}.call_id", "it is missing.")
    parts = read_output(item.output if present(item.output) else msgspec.Raw(orjson.dumps("")), f"{where}.output")
    return ToolResultPart(item.call_id, parts, custom=item.type == "custom_tool_call_output")
