"""Turns as input items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

import orjson

from fastanchor.core.prompt import (
    HostedPart,
    MediaPart,
    Part,
    RefusalPart,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects import breakpoints
from fastanchor.dialects.arguments import EMPTY, as_text
from fastanchor.dialects.openai_responses.draft import Draft
from fastanchor.dialects.openai_responses.words import NAME
from fastanchor.dialects.turns import paired

_LONGEST_ID = 64  # of a call

_Item = dict[str, object] | orjson.Fragment


def write_input(draft: Draft) -> tuple[str, list[_Item]]:
    """`instructions` and `input`."""
    turns = paired(draft.prompt.turns, strict=draft.target.strict)
    instructions = ""
    if turns and _is_plain(draft, turns[0]):
        texts = [part for part in turns[0].parts if isinstance(part, TextPart)]
        if any(part.cache is not None for part in texts):
            draft.drop("cache_control")
        instructions = "\n\n".join(part.text for part in texts)
        turns = turns[1:]
    return instructions, [item for turn in turns for item in _items(draft, turn)]


def _is_plain(draft: Draft, turn: Turn) -> bool:
    """A system turn that loses nothing as one text."""
    return turn.role == "system" and all(
        isinstance(part, TextPart) and (part.cache is None or not draft.marks_cache) for part in turn.parts
    )


def _items(draft: Draft, turn: Turn) -> Iterator[_Item]:
    """Parts that make a message stay together; what stands between them parts it."""
    content: list[dict[str, object]] = []
    for part in turn.parts:
        if isinstance(part, (TextPart, MediaPart, RefusalPart)):
            written = _content(draft, part, turn)
            content += [written] if written is not None else []
            continue
        if content:
            yield _message(turn, content)
            content = []
        item = _item(draft, part, turn)
        if item is not None:
            yield item
    if content:
        yield _message(turn, content)


def _message(turn: Turn, content: list[dict[str, object]]) -> _Item:
    role = "developer" if turn.role == "system" else turn.role
    return {"type": "message", "role": role, "content": content}


def _item(draft: Draft, part: Part, turn: Turn) -> _Item | None:
    if isinstance(part, ToolCallPart):
        return _call(draft, part)
    if isinstance(part, ToolResultPart):
        return _result(draft, part, turn)
    if isinstance(part, ThoughtPart):
        return _reasoning(draft, part, turn)
    if isinstance(part, HostedPart):
        if part.dialect == NAME:
            return orjson.Fragment(part.data)
        draft.refuse(_path(turn), "it holds an item of a tool that another vendor ran.")
    return None


def _call(draft: Draft, part: ToolCallPart) -> _Item:
    kind, member, text = (
        ("custom_tool_call", "input", as_text(part.arguments))
        if part.custom
        else ("function_call", "arguments", as_text(part.arguments.strip() or EMPTY))
    )
    return {"type": kind, "call_id": call_id(part.id), "name": draft.names.sent(part.name), member: text}


def _result(draft: Draft, part: ToolResultPart, turn: Turn) -> _Item:
    output: object
    if all(isinstance(inner, TextPart) for inner in part.parts):
        output = "".join(inner.text for inner in part.parts if isinstance(inner, TextPart))
        if part.is_error:
            output = f"Error: {output}"
    else:
        shown: Sequence[TextPart | MediaPart] = part.parts
        if part.is_error:
            shown = (TextPart("Error:"), *shown)
        output = [written for inner in shown if (written := _content(draft, inner, turn)) is not None]
    kind = "custom_tool_call_output" if part.custom else "function_call_output"
    return {"type": kind, "call_id": call_id(part.id), "output": output}


def call_id(own: str) -> str:
    """An id that the API takes; longer ones are cut to a hash, the same for the call and for its result."""
    return own if len(own) <= _LONGEST_ID else f"call_{sha256(own.encode()).hexdigest()[:32]}"


def _reasoning(draft: Draft, part: ThoughtPart, turn: Turn) -> _Item | None:
    """Only what this API encrypted itself may go back; without it a reasoning item means nothing to the model."""
    if part.signature is None or part.signature.dialect != NAME:
        draft.drop(f"{_path(turn)}.reasoning")
        return None
    item: dict[str, object] = {"type": "reasoning"}
    if part.id.startswith("rs_"):
        item["id"] = part.id
    item["summary"] = [{"type": "summary_text", "text": part.text}] if part.text else []
    item["encrypted_content"] = part.signature.data
    return item


def _content(draft: Draft, part: TextPart | MediaPart | RefusalPart, turn: Turn) -> dict[str, object] | None:
    if isinstance(part, RefusalPart):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, TextPart):
        kind = "output_text" if turn.role == "assistant" else "input_text"
        told: dict[str, object] = {"type": kind, "text": part.text}
    else:
        media = _media(draft, part, turn)
        if media is None:
            return None
        told = media
    if part.cache is not None and draft.marks_cache and turn.role != "assistant":
        told[breakpoints.FIELD] = breakpoints.written(part.cache)
    elif part.cache is not None:
        draft.drop("cache_control")
    return told


def _path(turn: Turn) -> str:
    return turn.path or "messages"


def _media(draft: Draft, part: MediaPart, turn: Turn) -> dict[str, object] | None:
    if part.kind == "image":
        return _image(part)
    if part.kind == "document":
        return _document(part)
    if part.kind == "audio" and part.data:
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.mime.partition("/")[2]}}
    draft.refuse(_path(turn), f"there is no way to send this {part.kind}.")
    return None


def _image(part: MediaPart) -> dict[str, object]:
    source: dict[str, object] = (
        {"file_id": part.file_id}
        if part.file_id
        else {"image_url": part.url or f"data:{part.mime or 'image/png'};base64,{part.data}"}
    )
    return {"type": "input_image", **source, "detail": part.detail or "auto"}


def _document(part: MediaPart) -> dict[str, object]:
    if part.text:
        return {"type": "input_text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
    if part.file_id:
        return {"type": "input_file", "file_id": part.file_id}
    if part.url:
        return {"type": "input_file", "file_url": part.url}
    mime = part.mime or "application/pdf"
    name = part.name or f"document.{mime.partition('/')[2]}"
    return {"type": "input_file", "filename": name, "file_data": f"data:{mime};base64,{part.data}"}
