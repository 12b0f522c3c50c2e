"""The `messages` of a chat request as turns.

One message is one turn; what strict providers want of the order is `dialects.turns`. Beyond OpenAI's own fields, these
are understood, for clients of compatible services send them: `reasoning_content`, `reasoning`, `reasoning_details` on
assistant messages, `cache_control` and `prompt_cache_breakpoint` on parts, images in tool results, `video_url` parts,
`extra_content.google.thought_signature` on tool calls.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import orjson

from fastanchor.core.prompt import (
    CacheMark,
    MediaPart,
    OpaqueSignature,
    Part,
    RefusalPart,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects.fields import Fields
from fastanchor.dialects.openai_chat.documents import rows
from fastanchor.dialects.openai_chat.reasoning import replayed

_URLS: dict[str, Literal["image", "video"]] = {"image_url": "image", "video_url": "video"}
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mpeg"}


def turns(request: Fields) -> list[Turn]:
    """All messages. Raises Fault that names the part."""
    reader = _Messages()
    messages = enumerate(request.items("messages"))
    return [replace(reader.turn(message, at), path=message.path) for at, message in messages]


class _Messages:
    """Reads messages in order, for the deprecated function calls have no ids: results are matched by name."""

    def __init__(self) -> None:
        self._functions: dict[str, str] = {}  # function name → id minted for its last call

    def turn(self, message: Fields, at: int) -> Turn:
        role = message.text("role", required=True)
        name = message.text("name")
        if role in ("system", "developer"):
            return Turn("system", _texts(message, "content"), name)
        if role == "user":
            return Turn("user", _parts(message, "content"), name)
        if role == "assistant":
            return Turn("assistant", self._assistant(message, at), name)
        if role == "tool":
            return Turn("user", (self._result(message, message.text("tool_call_id", required=True)),))
        if role == "function":
            return Turn("user", (self._result(message, self._functions.get(name, name)),))
        raise message.wrong("role", f"{role!r} is not a role")

    def _assistant(self, message: Fields, at: int) -> tuple[Part, ...]:
        if message.raw("audio"):
            raise message.wrong("audio", "an earlier audio answer cannot be carried to the provider of this model")
        parts: list[Part] = _thoughts(message)
        if message.is_text("content") or message.raw("content"):
            parts += _parts(message, "content")
        if refusal := message.text("refusal"):
            parts.append(RefusalPart(refusal))
        parts += [_call(call) for call in message.items("tool_calls")]
        if (function := message.inner("function_call")) is not None:
            name, id = function.text("name", required=True), f"call_{at}"
            self._functions[name] = id
            parts.append(ToolCallPart(id, name, function.text("arguments").encode()))
        return tuple(parts)

    @staticmethod
    def _result(message: Fields, id: str) -> ToolResultPart:
        parts = _parts(message, "content")
        kept = tuple(part for part in parts if isinstance(part, (TextPart, MediaPart)))
        if len(kept) != len(parts):
            raise message.wrong("content", "a tool result holds text and media only")
        return ToolResultPart(id, kept, name=message.text("name"), cache=_cache(message))


def _thoughts(message: Fields) -> list[Part]:
    """Replayed thinking: by entries where there are any, for they hold the proofs, else as plain text."""
    details = message.raw("reasoning_details")
    if details:
        return [replayed(row) for row in rows(orjson.loads(details))]
    plain = message.text("reasoning_content") or (message.text("reasoning") if message.is_text("reasoning") else "")
    return [ThoughtPart(plain)] if plain else []


def _call(call: Fields) -> ToolCallPart:
    """One of `tool_calls`; the arguments keep their text."""
    kind = call.text("type") or "function"
    if kind not in ("function", "custom"):
        raise call.wrong("type", "it must be 'function' or 'custom'")
    custom = kind == "custom"
    said = call.inner(kind)
    if said is None:
        raise call.wrong(kind, "it is required")
    google = extra.inner("google") if (extra := call.inner("extra_content")) is not None else None
    proof = google.text("thought_signature") if google is not None else ""
    return ToolCallPart(
        call.text("id", required=True),
        said.text("name", required=True),
        said.text("input" if custom else "arguments").encode(),
        custom=custom,
        signature=OpaqueSignature("gemini", proof) if proof else None,
    )


def _texts(message: Fields, name: str) -> tuple[TextPart, ...]:
    parts = _parts(message, name)
    kept = tuple(part for part in parts if isinstance(part, TextPart))
    if len(kept) != len(parts):
        raise message.wrong(name, "only text parts are allowed in this role")
    return kept


def _parts(message: Fields, name: str) -> tuple[Part, ...]:
    """Content as a string or a list of parts."""
    raw = message.raw(name)
    if not raw:
        return ()
    if raw.startswith(b'"'):
        return (TextPart(message.text(name), _cache(message)),)
    if not raw.startswith(b"["):
        raise message.wrong(name, "it must be a string or a list of parts")
    return tuple(_part(part) for part in message.items(name))


def _part(part: Fields) -> Part:
    kind = part.text("type", required=True)
    if kind == "text":
        return TextPart(part.text("text"), _cache(part))
    if kind == "refusal":
        return RefusalPart(part.text("refusal"))
    if kind == "thinking":  # Mistral
        if part.is_text("thinking"):
            return ThoughtPart(part.text("thinking"))
        return ThoughtPart("".join(inner.text("text") for inner in part.items("thinking")))
    if kind in _URLS:
        return _by_url(part, kind)
    if kind == "input_audio":
        return _audio(part)
    if kind == "file":
        return _file(part)
    raise part.wrong("type", f"{kind!r} parts cannot be carried to the provider of this model")


def _by_url(part: Fields, kind: str) -> MediaPart:
    """An image or video by URL; `data:` URLs are taken apart. A bare string is accepted for the object."""
    if part.is_text(kind):
        url, detail = part.text(kind), ""
    else:
        given = part.inner(kind)
        if given is None:
            raise part.wrong(kind, "it is required")
        url, detail = given.text("url", required=True), given.text("detail")
    if not url.startswith("data:"):
        return MediaPart(_URLS[kind], url=url, detail=detail, cache=_cache(part))
    mime, data = _data_url(part, kind, url)
    return MediaPart(_URLS[kind], data=data, mime=mime, detail=detail, cache=_cache(part))


def _audio(part: Fields) -> MediaPart:
    given = part.inner("input_audio")
    if given is None:
        raise part.wrong("input_audio", "it is required")
    form = given.text("format", required=True)
    data = given.text("data", required=True)
    return MediaPart("audio", data=data, mime=_AUDIO.get(form, f"audio/{form}"), cache=_cache(part))


def _file(part: Fields) -> MediaPart:
    given = part.inner("file")
    if given is None:
        raise part.wrong("file", "it is required")
    name, data, id = given.text("filename"), given.text("file_data"), given.text("file_id")
    if not data and not id:
        raise given.wrong("file_data", "it is required without a file_id")
    if not data:
        return MediaPart("document", file_id=id, name=name, cache=_cache(part))
    if data.startswith(("https:", "http:")):  # OpenRouter
        return MediaPart("document", url=data, name=name, cache=_cache(part))
    mime, data = _data_url(given, "file_data", data) if data.startswith("data:") else ("application/pdf", data)
    return MediaPart("document", data=data, mime=mime, name=name, cache=_cache(part))


def _data_url(part: Fields, name: str, url: str) -> tuple[str, str]:
    """Media type and base64 data of a `data:` URL (RFC 2397)."""
    head, comma, data = url[5:].partition(",")
    mime, *parameters = head.split(";")
    if not comma or "base64" not in parameters:
        raise part.wrong(name, "a data URL must be base64 encoded")
    return (mime or "text/plain").lower(), data


def _cache(fields: Fields) -> CacheMark | None:
    mark = fields.inner("cache_control") or fields.inner("prompt_cache_breakpoint")
    return CacheMark(mark.text("ttl")) if mark is not None else None
