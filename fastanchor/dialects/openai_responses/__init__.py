"""OpenAI Responses: `POST /v1/responses`, and the vendors that speak it.

Source: the OpenAI API reference and the types of its official client library. `read` and `observe` serve calls that
pass through; `parse`, `write`, `decode` and `encode` translate; `state` continues a conversation that was stored.
"""

from __future__ import annotations

from fastanchor.dialects.openai_responses.dialect import DIALECT, OpenAIResponses
from fastanchor.dialects.openai_responses.encode import response_id
from fastanchor.dialects.openai_responses.items import parse_items

__all__ = ["DIALECT", "OpenAIResponses", "parse_items", "response_id"]
