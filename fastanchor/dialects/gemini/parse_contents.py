"""`contents` and `systemInstruction` as turns."""

from __future__ import annotations

from typing import Literal, TypeAlias

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import (
    HostedPart,
    MediaPart,
    OpaqueSignature,
    Part,
    Role,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects.gemini.proto import Message

NAME = "gemini"

_ROLES: dict[str, Role] = {"": "user", "user": "user", "function": "user", "tool": "user", "model": "assistant"}
_HOSTED = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")

MediaKind: TypeAlias = Literal["image", "audio", "document", "video"]

_KINDS: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}


class Contents:
    """Reads the turns of one request; knows the calls so far, which results are matched with."""

    def __init__(self) -> None:
        self._calls = 0
        self._waiting: list[tuple[str, str]] = []  # (id, name) of calls without a result yet

    def system(self, request: Message) -> list[Turn]:
        instruction = request.message("systemInstruction")
        if instruction is None:
            return []
        parts = tuple(TextPart(part.string("text")) for part in instruction.messages("parts") if part.raw("text"))
        return [Turn("system", parts, path=instruction.path)] if parts else []

    def turns(self, request: Message) -> list[Turn]:
        contents = request.messages("contents")
        if not contents:
            raise Fault(Kind.INVALID_REQUEST, "Missing required parameter: 'contents'.", param="contents")
        return [self._turn(content) for content in contents]

    def _turn(self, content: Message) -> Turn:
        role = _ROLES.get(content.string("role"))
        if role is None:
            raise content.refuse("it must be user or model.", "role")
        parts = content.messages("parts")
        if not parts:
            raise content.refuse("a content needs parts.", "parts")
        return Turn(role, tuple(self._part(part) for part in parts), path=content.path)

    def _part(self, part: Message) -> Part:
        signature = part.string("thoughtSignature")
        sealed = OpaqueSignature(NAME, signature) if signature else None
        if part.raw("text"):
            text = part.string("text")
            thought = part.flag("thought") or (sealed is not None and not text)
            return ThoughtPart(text, sealed) if thought else TextPart(text)
        if (call := part.message("functionCall")) is not None:
            return self._call(call, sealed)
        if (result := part.message("functionResponse")) is not None:
            return self._result(result)
        if (media := _media(part)) is not None:
            return media
        for name in _HOSTED:
            if data := part.raw(name):
                return HostedPart(NAME, b'{"%s":%s}' % (name.encode(), data))
        if sealed:
            return ThoughtPart("", sealed)
        raise part.refuse("a part needs text, data, a call or a result.")

    def _call(self, call: Message, signature: OpaqueSignature | None) -> ToolCallPart:
        name = call.string("name")
        if not name:
            raise call.refuse("a call needs a name.", "name")
        arguments = call.raw("args") or b"{}"
        if not arguments.startswith(b"{"):
            raise call.refuse("it must be an object.", "args")
        tool_id = call.string("id") or f"call_{self._calls}"
        self._calls += 1
        self._waiting.append((tool_id, name))
        return ToolCallPart(tool_id, name, arguments, signature=signature)

    def _result(self, result: Message) -> ToolResultPart:
        name = result.string("name")
        response = result.raw("response") or b"{}"
        if not response.startswith(b"{"):
            raise result.refuse("it must be an object.", "response")
        tool_id = self._answers(result.string("id"), name)
        if not tool_id:
            raise result.refuse(f"no call to {name!r} waits for a result.", "name")
        text, is_error = _unwrapped(Message(response, result.at("response")), response)
        media = [found for part in result.messages("parts") if (found := _media(part)) is not None]
        return ToolResultPart(tool_id, (TextPart(text), *media), name, is_error)

    def _answers(self, tool_id: str, name: str) -> str:
        """The id of the call that a result answers: by id, else the first of that name; "" when there is none."""
        for i, (waiting, called) in enumerate(self._waiting):
            if (waiting == tool_id) if tool_id else (called == name):
                del self._waiting[i]
                return waiting
        return ""


def _unwrapped(response: Message, raw: bytes) -> tuple[str, bool]:
    """A response object as text, and whether it is an error.

    `output`, `result` and `error` alone are how vendors' SDKs wrap a plain value; any other object is its JSON.
    """
    names = list(response.names())
    if len(names) != 1 or names[0] not in ("output", "result", "error"):
        return raw.decode("utf-8", "replace"), False
    inner = response.raw(names[0])
    text = response.string(names[0]) if inner.startswith(b'"') else inner.decode("utf-8", "replace")
    return text, names[0] == "error"


def _media(part: Message) -> MediaPart | None:
    if (blob := part.message("inlineData")) is not None:
        mime, data = blob.string("mimeType"), blob.string("data")
        if not mime or not data:
            raise blob.refuse("it needs mimeType and data.")
        return MediaPart(_kind(mime), data=data, mime=mime, name=blob.string("displayName"))
    if (file := part.message("fileData")) is not None:
        uri, mime = file.string("fileUri"), file.string("mimeType")
        if not uri:
            raise file.refuse("it needs a fileUri.")
        if uri.startswith("gs://") or "/files/" in uri:  # a file of Google's stores, not a public address
            return MediaPart(_kind(mime), file_id=uri, mime=mime)
        return MediaPart(_kind(mime), url=uri, mime=mime)
    return None


def _kind(mime: str) -> MediaKind:
    return _KINDS.get(mime.partition("/")[0], "document")
