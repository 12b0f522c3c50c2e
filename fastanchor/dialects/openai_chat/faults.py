"""How the OpenAI family is told of a fault: one body for all its endpoints, and one stream event.

Source: `{"error": {message, type, param, code}}` of the OpenAI API reference; `retry_after` (seconds) is ours, on 429.
"""

from __future__ import annotations

import math

import orjson

from fastanchor.core.faults import Fault, Kind

FAMILY = frozenset({"openai_chat", "openai_completions", "openai_responses", "openai_embeddings", "anchor"})
"""Dialects that share the error body, so that a provider's own is passed on unmodified."""


def fault_body(fault: Fault, request_id: str) -> bytes:
    """The error body."""
    if fault.rejected and fault.provider_body and fault.provider_dialect in FAMILY:
        return fault.provider_body
    error: dict[str, object] = {
        "message": fault.message,
        "type": (fault.own_type if fault.rejected else "") or fault.row.openai_type,
        "param": fault.param or None,
        "code": fault.code,
    }
    if fault.kind is Kind.INTERNAL_ERROR:
        error["request_id"] = request_id
    if fault.retry_after is not None and fault.status == 429:
        error["retry_after"] = math.ceil(fault.retry_after)
    return orjson.dumps({"error": error})


def fault_event(fault: Fault, request_id: str) -> bytes:
    """The last bytes of a stream that failed: the error as one event, and no `[DONE]`."""
    body = fault_body(fault, request_id)
    return b"data: " + b" ".join(body.splitlines()) + b"\n\n"
