"""Citations of any vendor as chat annotations: `{type, url_citation: {url, title, start_index, end_index}}`."""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor.core.events import Citation
from fastanchor.dialects.openai_chat.documents import child, text
from fastanchor.dialects.openai_chat.reasoning import NAME


def annotation(citation: Citation, length: int) -> bytes:
    """The annotation as JSON, or b"" when the citation points at nothing on the web.

    A citation without offsets covers the text so far: `length` characters.
    """
    if citation.dialect == NAME:
        return citation.data
    try:
        told: Any = orjson.loads(citation.data)
    except orjson.JSONDecodeError:
        return b""
    source = child(told, "web") or (told if isinstance(told, dict) else {})  # Gemini grounding; Anthropic, Responses
    url = text(source.get("url")) or text(source.get("uri"))
    if not url:
        return b""
    start, end = source.get("start_index"), source.get("end_index")
    return orjson.dumps({
        "type": "url_citation",
        "url_citation": {
            "start_index": start if type(start) is int else 0,
            "end_index": end if type(end) is int else length,
            "title": text(source.get("title")),
            "url": url,
        },
    })
