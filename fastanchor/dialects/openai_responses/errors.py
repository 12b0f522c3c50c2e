"""Faults inside a Responses stream: an `error` event, and the response that failed.

The `error` event is nested, as OpenAI sends it: only this form makes its client libraries raise. `response.failed`
follows, for clients that watch the response's status.
"""

from __future__ import annotations

import math

import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.openai_responses.frames import Frames

CODES = {
    Kind.RATE_LIMIT: "rate_limit_exceeded",
    Kind.UPSTREAM_RATE_LIMITED: "rate_limit_exceeded",
    Kind.CONTEXT_LENGTH: "context_length_exceeded",
    Kind.CONTENT_FILTER: "invalid_prompt",
    Kind.PROVIDER_REJECTED: "invalid_prompt",
    Kind.INVALID_REQUEST: "invalid_prompt",
    Kind.INSUFFICIENT_QUOTA: "insufficient_quota",
}
"""`response.error.code`, a short list that clients know; every other fault is a `server_error`."""


def error_object(fault: Fault) -> bytes:
    """`{message, type, param, code}`, and `retry_after` in whole seconds for a limit that says when it ends."""
    told: dict[str, object] = {
        "type": (fault.own_type if fault.rejected else "") or fault.row.openai_type,
        "code": fault.code,
        "message": fault.message,
        "param": fault.param or None,
    }
    if fault.retry_after is not None and fault.status == 429:
        told["retry_after"] = math.ceil(fault.retry_after)
    return orjson.dumps(told)


def response_error(fault: Fault) -> bytes:
    """The `error` of a response that failed."""
    return orjson.dumps({"code": CODES.get(fault.kind, "server_error"), "message": fault.message})


def error_events(fault: Fault, response_id: str, *, number: int = 0, model: str = "", created: int = 0) -> bytes:
    """The last bytes of a stream whose answer is not known here but for these facts.

    Args:
        number: the first of the two events' sequence numbers.
        created: unix seconds.
    """
    failed = orjson.dumps({
        "id": response_id, "object": "response", "created_at": created, "status": "failed",
        "error": orjson.Fragment(response_error(fault)), "incomplete_details": None, "instructions": None,
        "metadata": {}, "model": model, "output": [], "parallel_tool_calls": True, "temperature": None,
        "tool_choice": "auto", "tools": [], "top_p": None, "usage": None,
    })  # fmt: skip
    frames = Frames(number)
    told = frames.frame(b"error", b'"error":%b' % error_object(fault))
    return told + frames.frame(b"response.failed", b'"response":%b' % failed)
