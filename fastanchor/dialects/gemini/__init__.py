"""Google Gemini: generateContent, streamGenerateContent, countTokens, embedContent, batchEmbedContents.

The model is in the path, never in the body; a stream is server-sent events with `alt=sse`, else one JSON array.
Source: google-genai 3.3, ai.google.dev/api; reference wire-formats §1.5.
"""

from __future__ import annotations

from fastanchor.dialects.contract import Dialect
from fastanchor.dialects.gemini.dialect import Gemini

DIALECT: Dialect = Gemini()

__all__ = ["DIALECT", "Gemini"]
