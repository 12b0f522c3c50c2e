"""Turns as `contents`, and the leading system turns as `systemInstruction`.

Gemini wants alternating roles, results right after their calls and as many as there are calls, a first turn of the
user's, and system text nowhere but in front: system turns in mid-conversation become user text, wrapped and in place.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import msgspec
import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import (
    HostedPart,
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
from fastanchor.dialects import arguments, turns
from fastanchor.dialects.names import Names

NAME = "gemini"

Json: TypeAlias = dict[str, Any]

_RAW = dict[str, msgspec.Raw]

PLACEHOLDER = "skip_thought_signature_validator"
"""What Gemini 3 takes in place of the signature of a call that another model made (vendor docs)."""

_MAGIC = (
    (b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"GIF8", "image/gif"), (b"%PDF", "application/pdf"),
    (b"ID3", "audio/mpeg"), (b"OggS", "audio/ogg"), (b"fLaC", "audio/flac"),
)  # fmt: skip
_MIMES = {"image/jpg": "image/jpeg", "audio/mp3": "audio/mpeg", "wav": "audio/wav", "mp3": "audio/mpeg"}


class ContentsWriter:
    """Writes the conversation of one prompt. `dropped` names what could not be carried."""

    def __init__(self, names: Names, *, strict: bool, generation_3: bool, call_ids: bool) -> None:
        self.dropped: list[str] = []
        self._names = names
        self._strict = strict
        # from Gemini 3 on every step's first call needs a signature, and results may hold media
        self._generation_3 = generation_3
        self._call_ids = call_ids
        self._path = ""  # of the turn that is being written

    def write(self, given: list[Turn]) -> tuple[Json | None, list[Json]]:
        """`systemInstruction` (None without one) and `contents`. Raises Fault(INVALID_REQUEST)."""
        leading = _leading(given)
        said = (part for turn in given[:leading] for part in turn.parts)
        system = [part.text for part in said if isinstance(part, TextPart) and part.text]
        self._note_caches(given)
        ordered = turns.paired([_as_user(turn) for turn in given[leading:]], strict=self._strict)
        contents = [one for turn in turns.merged(ordered) if (one := self._content(turn)) is not None]
        if not contents or contents[0]["role"] != "user":
            contents.insert(0, {"role": "user", "parts": [{"text": "."}]})
        instruction: Json | None = {"parts": [{"text": text} for text in system]} if system else None
        return instruction, _alternating(contents)

    def _content(self, turn: Turn) -> Json | None:
        parts: list[Json] = []
        self._path = turn.path or "messages"
        for part in turn.parts:
            parts += self._part(part)
        if self._generation_3 and turn.role == "assistant":
            _sign_first_call(parts)
        if turn.role == "user":
            parts.sort(key=lambda part: "functionResponse" not in part)  # results first, media beside them after
        return {"role": "model" if turn.role == "assistant" else "user", "parts": parts} if parts else None

    def _part(self, part: Part) -> list[Json]:
        match part:
            case TextPart():
                self._drop("citations", part.citations)
                return [{"text": part.text}]
            case RefusalPart():
                return [{"text": part.text}]
            case MediaPart():
                return [media(part, self._path)]
            case ThoughtPart():
                return self._thought(part)
            case ToolCallPart():
                return [self._call(part)]
            case ToolResultPart():
                return self._result(part)
            case HostedPart():
                if part.dialect == NAME:
                    return [_members(part.data)]
                self._drop("hosted_tool_items", True)
        return []

    def _thought(self, part: ThoughtPart) -> list[Json]:
        """Only Gemini's own: another vendor's thinking is not told as Gemini's."""
        if part.signature is None or part.signature.dialect != NAME:
            self._drop(f"{self._path}.reasoning", True)
            return []
        return [{"text": part.text, **({"thought": True} if part.text else {}), **_sealed(part.signature)}]

    def _call(self, part: ToolCallPart) -> Json:
        given = (
            arguments.as_input(part.arguments)
            if part.custom
            else arguments.as_object(part.arguments, strict=self._strict, param=self._path)
        )
        call = {**self._id(part.id), "name": self._names.sent(part.name), "args": orjson.Fragment(given)}
        return {"functionCall": call, **_sealed(part.signature)}

    def _result(self, part: ToolResultPart) -> list[Json]:
        """The texts as `output` (or `error`); media inside where the model takes them there, else beside it."""
        text = "\n".join(one.text for one in part.parts if isinstance(one, TextPart))
        response = {"error" if part.is_error else "output": _value(text)}
        result = {**self._id(part.id), "name": self._names.sent(part.name), "response": response}
        beside = [media(one, self._path) for one in part.parts if isinstance(one, MediaPart)]
        if beside and self._generation_3:
            return [{"functionResponse": {**result, "parts": beside}}]
        return [{"functionResponse": result}, *beside]

    def _id(self, tool_id: str) -> Json:
        return {"id": tool_id} if self._call_ids and tool_id else {}

    def _drop(self, name: str, there: object) -> None:
        if there and name not in self.dropped:
            self.dropped.append(name)

    def _note_caches(self, given: Iterable[Turn]) -> None:
        parts = (part for turn in given for part in turn.parts)
        self._drop("cache_control", any(getattr(part, "cache", None) for part in parts))


def media(part: MediaPart, path: str) -> Json:
    """`inlineData` or `fileData`. A public address is refused: Gemini does not fetch it, nor does the gateway."""
    if part.text:
        return {"text": part.text}
    if part.url.startswith("data:"):
        head, _, data = part.url[5:].partition(",")
        part = replace(part, url="", data=data, mime=head.partition(";")[0] or part.mime)
    if part.data:
        return {"inlineData": {"mimeType": _mime(part, path), "data": part.data}}
    address = part.file_id or part.url
    if address.startswith("gs://") or "/files/" in address or (part.kind == "video" and "youtu" in address):
        return {"fileData": {"fileUri": address, **({"mimeType": part.mime} if part.mime else {})}}
    by = "file id" if part.file_id else "address"
    raise Fault(
        Kind.INVALID_REQUEST,
        f"Invalid '{path}': this model takes no {part.kind} by {by}; send it inline as base64 data.",
        param=path,
    )


def _mime(part: MediaPart, path: str) -> str:
    """The type that was given, else the one the first bytes show."""
    if part.mime:
        return _MIMES.get(part.mime.lower(), part.mime.lower())
    try:
        start = base64.b64decode(part.data[:24], validate=True)
    except (binascii.Error, ValueError):
        start = b""
    if start.startswith(b"RIFF"):
        return "image/webp" if start[8:12] == b"WEBP" else "audio/wav"
    found = next((mime for magic, mime in _MAGIC if start.startswith(magic)), "")
    if not found:
        raise Fault(Kind.INVALID_REQUEST, f"The type of an inline {part.kind} is missing.", param=path)
    return found


def _leading(given: list[Turn]) -> int:
    return next((i for i, turn in enumerate(given) if turn.role != "system"), len(given))


def _as_user(turn: Turn) -> Turn:
    """A system turn in mid-conversation as user text, so marked; dropping or moving it would change its meaning."""
    if turn.role != "system":
        return turn
    texts = (part.text for part in turn.parts if isinstance(part, TextPart) and part.text)
    parts = tuple(TextPart(f"<system-reminder>\n{text}\n</system-reminder>") for text in texts)
    return Turn("user", parts, path=turn.path)


def _alternating(contents: list[Json]) -> list[Json]:
    """Turns that became neighbours of one role when what stood between them was dropped."""
    out: list[Json] = []
    for content in contents:
        if out and out[-1]["role"] == content["role"]:
            out[-1]["parts"] += content["parts"]
        else:
            out.append(content)
    return out


def _sign_first_call(parts: list[Json]) -> None:
    for part in parts:
        if "functionCall" in part:
            part.setdefault("thoughtSignature", PLACEHOLDER)
            return


def _sealed(signature: OpaqueSignature | None) -> Json:
    return {"thoughtSignature": signature.data} if signature is not None and signature.dialect == NAME else {}


def _value(text: str) -> object:
    """A result that is a JSON object or array stays one, byte for byte; any other is a string."""
    data = text.strip().encode("utf-8", "replace")
    if data.startswith((b"{", b"[")):
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError:
            return text
        return orjson.Fragment(data)
    return text


def _members(data: bytes) -> Json:
    """The members of a raw object, each keeping its bytes."""
    return {name: orjson.Fragment(bytes(value)) for name, value in msgspec.json.decode(data, type=_RAW).items()}
