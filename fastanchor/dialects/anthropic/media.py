"""Images and documents of a prompt as content blocks.

Anthropic takes JPEG, PNG, GIF and WebP images, PDF and plain-text documents; a link must be https. The declared type of
inline data is checked against its first bytes, because a wrong one is refused.
Source: "Vision" and "PDF support" of the Claude API documentation.
"""

from __future__ import annotations

import binascii
from base64 import b64decode

from fastanchor.core.prompt import MediaPart
from fastanchor.dialects.anthropic.faults import invalid
from fastanchor.dialects.anthropic.tools import cache_control

IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")
PDF = "application/pdf"
_MAGIC = (  # of base64 text, so that only its beginning is looked at
    ("/9j/", "image/jpeg"),
    ("iVBORw0KGgo", "image/png"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
    ("JVBERi", PDF),
)


def media(part: MediaPart, param: str) -> dict[str, object]:
    """An `image` or `document` block. Raises Fault(INVALID_REQUEST) for what has none."""
    part = _inlined(part, param)
    if part.kind not in ("image", "document"):
        raise invalid(param, f"{part.kind} input is not available on this model")
    block: dict[str, object] = {"type": part.kind, "source": _source(part, param)}
    if part.kind == "document" and part.name:
        block["title"] = part.name
    if part.cache is not None:
        block["cache_control"] = cache_control(part.cache)
    return block


def _inlined(part: MediaPart, param: str) -> MediaPart:
    """A `data:` URL (RFC 2397) as inline data."""
    if not part.url.startswith("data:"):
        return part
    head, comma, data = part.url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise invalid(param, "a data URL must hold base64")
    mime = head.removesuffix(";base64").split(";")[0]
    return MediaPart(part.kind, data=data, mime=mime or part.mime, name=part.name, cache=part.cache)


def _source(part: MediaPart, param: str) -> dict[str, str]:
    if part.file_id:
        return {"type": "file", "file_id": part.file_id}
    if part.url:
        if not part.url.startswith("https://"):
            raise invalid(param, "a link must begin with https:// for this model")
        return {"type": "url", "url": part.url}
    if part.text:
        return {"type": "text", "media_type": "text/plain", "data": part.text}
    mime = _type(part)
    if part.kind == "image" and mime not in IMAGES:
        raise invalid(param, f"images of type {mime or 'unknown'} are not available on this model")
    if part.kind == "document" and mime.startswith("text/"):
        return {"type": "text", "media_type": "text/plain", "data": _decoded(part.data, param)}
    if part.kind == "document" and mime != PDF:
        raise invalid(param, f"documents of type {mime or 'unknown'} are not available on this model")
    return {"type": "base64", "media_type": mime, "data": part.data}


def _type(part: MediaPart) -> str:
    """What the data is, by its first bytes where they tell, else as declared."""
    declared = part.mime.lower().split(";")[0].strip()
    found = next((mime for magic, mime in _MAGIC if part.data.startswith(magic)), "")
    return found or ("image/jpeg" if declared == "image/jpg" else declared)


def _decoded(data: str, param: str) -> str:
    try:
        return b64decode(data, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise invalid(param, "a text document must be base64 of UTF-8") from None
