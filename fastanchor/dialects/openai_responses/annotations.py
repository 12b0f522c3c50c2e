"""Citations of any vendor as annotations of output text."""

from __future__ import annotations

from typing import Any

import orjson

from fastanchor.core.events import Citation
from fastanchor.dialects.openai_responses.words import NAME


def annotation_of(citation: Citation, length: int) -> bytes:
    """The annotation, or b"" when the citation points at nothing that this API can name.

    Another vendor's web citation becomes a `url_citation` over the text so far: `length` characters.
    """
    if citation.dialect == NAME:
        return citation.data
    try:
        told: Any = orjson.loads(citation.data)
    except orjson.JSONDecodeError:
        return b""
    if not isinstance(told, dict):
        return b""
    inner = told.get("url_citation", told.get("web", told))  # OpenAI chat, Gemini grounding chunks, Anthropic
    source = inner if isinstance(inner, dict) else {}
    url = source.get("url") or source.get("uri")
    if not isinstance(url, str):
        return b""
    start, end = source.get("start_index"), source.get("end_index")
    return orjson.dumps({
        "type": "url_citation",
        "start_index": start if isinstance(start, int) else 0,
        "end_index": end if isinstance(end, int) else length,
        "title": str(source.get("title") or ""),
        "url": url,
    })
