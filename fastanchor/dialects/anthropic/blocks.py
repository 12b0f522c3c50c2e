"""Content blocks of a request as parts of a `Prompt`.

A block that only Anthropic understands (server tools and their results, browser states, compactions) stays raw.
Source: `ContentBlockParam` of the Messages API reference.
"""

from __future__ import annotations

from collections.abc import Callable

from fastanchor.core.prompt import (
    CacheMark,
    HostedPart,
    MediaPart,
    OpaqueSignature,
    Part,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolResultPart,
)
from fastanchor.dialects.fields import Fields

NAME = "anthropic"


def content(message: Fields, name: str = "content") -> tuple[Part, ...]:
    """The parts of a `content` member: a string is one text block."""
    if message.is_text(name):
        return (TextPart(message.text(name)),)
    if not message.raw(name):
        raise message.wrong(name, "Field required")
    return tuple(part for block in message.items(name) for part in _block(block))


def texts(fields: Fields, name: str) -> tuple[TextPart, ...]:
    """The parts of a member that holds text only (`system`)."""
    parts = content(fields, name)
    for at, part in enumerate(parts):
        if not isinstance(part, TextPart):
            raise fields.wrong(f"{name}[{at}]", "only text blocks are permitted here")
    return tuple(part for part in parts if isinstance(part, TextPart))


def cache_mark(block: Fields) -> CacheMark | None:
    control = block.inner("cache_control")
    if control is None:
        return None
    if control.text("type") not in ("", "ephemeral"):
        raise control.wrong("type", "must be 'ephemeral'")
    return CacheMark(control.text("ttl"))


def _block(block: Fields) -> list[Part]:
    reader = _READERS.get(block.text("type", required=True))
    return [HostedPart(NAME, block.source)] if reader is None else reader(block)


def _text(block: Fields) -> list[Part]:
    return [TextPart(block.text("text", required=True), cache_mark(block), block.raw("citations"))]


def _image(block: Fields) -> list[Part]:
    return [_media(block, "image")]


def _media(block: Fields, kind: str) -> MediaPart:
    source = block.inner("source")
    if source is None:
        raise block.wrong("source", "Field required")
    form = source.text("type", required=True)
    part = MediaPart(
        "image" if kind == "image" else "document", name=block.text("title"), cache=cache_mark(block)
    )
    if form == "base64":
        return _with(part, data=source.text("data", required=True), mime=source.text("media_type", required=True))
    if form == "url":
        return _with(part, url=source.text("url", required=True))
    if form == "file":
        return _with(part, file_id=source.text("file_id", required=True))
    if form == "text" and kind == "document":
        return _with(part, text=source.text("data", required=True), mime="text/plain")
    raise source.wrong("type", f"{form!r} is not a source of an {kind}" if kind == "image" else f"{form!r} is unknown")


def _with(part: MediaPart, **members: str) -> MediaPart:
    return MediaPart(part.kind, name=part.name, cache=part.cache, **members)


def _document(block: Fields) -> list[Part]:
    """A document; what it says about itself in `context` goes before it, as the model would read it."""
    context = block.text("context")
    before: list[Part] = [TextPart(context)] if context else []
    source = block.inner("source")
    if source is None or source.text("type") != "content":
        return [*before, _media(block, "document")]
    parts = content(source)
    if all(isinstance(part, TextPart) for part in parts):
        text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
        return [
            *before,
            MediaPart("document", text=text, mime="text/plain", name=block.text("title"), cache=cache_mark(block)),
        ]
    return [*before, *parts]


def _search_result(block: Fields) -> list[Part]:
    """A search result as the document it is for any other model: its source, then its text."""
    said = [part.text for part in texts(block, "content")]
    text = "\n".join([block.text("source", required=True), *said])
    return [MediaPart("document", text=text, mime="text/plain", name=block.text("title"), cache=cache_mark(block))]


def _tool_use(block: Fields) -> list[Part]:
    arguments = block.raw("input")
    if arguments and not arguments.startswith(b"{"):
        raise block.wrong("input", "must be an object")
    return [
        ToolCallPart(
            block.text("id", required=True), block.text("name", required=True), arguments or b"{}",
            cache=cache_mark(block),
        )
    ]  # fmt: skip


def _tool_result(block: Fields) -> list[Part]:
    parts = content(block) if block.raw("content") else ()
    kept = tuple(part for part in parts if isinstance(part, (TextPart, MediaPart)))
    return [
        ToolResultPart(
            block.text("tool_use_id", required=True), kept, is_error=block.flag("is_error") or False,
            cache=cache_mark(block),
        )
    ]  # fmt: skip


def _thinking(block: Fields) -> list[Part]:
    signature = block.text("signature")
    return [ThoughtPart(block.text("thinking"), OpaqueSignature(NAME, signature) if signature else None)]


def _redacted(block: Fields) -> list[Part]:
    return [ThoughtPart("", OpaqueSignature(NAME, block.text("data", required=True)), redacted=True)]


_READERS: dict[str, Callable[[Fields], list[Part]]] = {
    "text": _text,
    "image": _image,
    "document": _document,
    "search_result": _search_result,
    "tool_use": _tool_use,
    "tool_result": _tool_result,
    "thinking": _thinking,
    "redacted_thinking": _redacted,
}
