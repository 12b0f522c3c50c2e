"""OpenAI Chat Completions: `POST /v1/chat/completions`, and the many vendors that speak it.

Source: the OpenAI API reference and the types of its official client library; vendors' additions where a
module names them. `read` and `observe` serve calls that pass through; `parse`, `write`, `decode`, `encode` translate.
"""

from __future__ import annotations

from fastanchor.dialects.openai_chat.dialect import DIALECT, OpenAIChat

__all__ = ["DIALECT", "OpenAIChat"]
