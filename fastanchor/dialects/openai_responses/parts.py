"""Content parts of input: `input_text`, `input_image`, `input_file`, `input_audio`, and parts of earlier answers."""

from __future__ import annotations

import msgspec

from fastanchor.core.prompt import CacheMark, MediaPart, RefusalPart, TextPart
from fastanchor.dialects.openai_responses.reading import decode, invalid

_TEXTS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


class _Breakpoint(msgspec.Struct):
    ttl: str | None = None


class _Audio(msgspec.Struct):
    data: str
    format: str


class _Part(msgspec.Struct):
    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None
    file_id: str | None = None
    file_data: str | None = None
    file_url: str | None = None
    filename: str | None = None
    input_audio: _Audio | None = None
    prompt_cache_breakpoint: _Breakpoint | None = None


def read_content(raw: msgspec.Raw, where: str) -> tuple[TextPart | MediaPart | RefusalPart, ...]:
    """Content: a string, or a list of parts."""
    if bytes(raw).startswith(b'"'):
        return (TextPart(decode(raw, str, where)),)
    parts = decode(raw, list[_Part], where)
    return tuple(_part(part, f"{where}[{number}]") for number, part in enumerate(parts))


def read_output(raw: msgspec.Raw, where: str) -> tuple[TextPart | MediaPart, ...]:
    """A tool's output: content without refusals."""
    return tuple(part for part in read_content(raw, where) if not isinstance(part, RefusalPart))


def _part(part: _Part, where: str) -> TextPart | MediaPart | RefusalPart:
    mark = part.prompt_cache_breakpoint
    cache = CacheMark(mark.ttl or "") if mark is not None else None
    if part.type in _TEXTS:
        if part.text is None:
            raise invalid(f"{where}.text", "it is missing.")
        return TextPart(part.text, cache)
    if part.type == "refusal":
        return RefusalPart(part.refusal or "")
    if part.type == "input_image":
        return _image(part, cache, where)
    if part.type == "input_file":
        return _file(part, cache, where)
    if part.type == "input_audio" and part.input_audio is not None:
        return MediaPart("audio", data=part.input_audio.data, mime=f"audio/{part.input_audio.format}", cache=cache)
    raise invalid(f"{where}.type", f"{part.type!r} is not a kind of content.")


def _image(part: _Part, cache: CacheMark | None, where: str) -> MediaPart:
    if not part.image_url and not part.file_id:
        raise invalid(where, "an image needs an image_url or a file_id.")
    mime, data = split_data_url(part.image_url or "")
    url = "" if data else part.image_url or ""
    file_id = "" if part.image_url else part.file_id or ""
    return MediaPart("image", url=url, data=data, file_id=file_id, mime=mime, detail=part.detail or "", cache=cache)


def _file(part: _Part, cache: CacheMark | None, where: str) -> MediaPart:
    name = part.filename or ""
    if part.file_data:
        mime, data = split_data_url(part.file_data)
        return MediaPart("document", data=data or part.file_data, mime=mime or _mime(name), name=name, cache=cache)
    if part.file_url:
        return MediaPart("document", url=part.file_url, name=name, cache=cache)
    if part.file_id:
        return MediaPart("document", file_id=part.file_id, name=name, cache=cache)
    raise invalid(where, "a file needs file_data, a file_url or a file_id.")


def split_data_url(url: str) -> tuple[str, str]:
    """MIME type and base64 text of a `data:` URL (RFC 2397); two empty strings for any other URL."""
    head, comma, data = url.partition(",")
    if not comma or not head.startswith("data:") or not head.endswith(";base64"):
        return "", ""
    return head[len("data:") :].partition(";")[0], data


def _mime(filename: str) -> str:
    return "application/pdf" if filename.lower().endswith(".pdf") else ""
