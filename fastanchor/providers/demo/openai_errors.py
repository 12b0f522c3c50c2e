"""Errors as all OpenAI dialects tell them, and the frame of their event streams."""

from __future__ import annotations

import orjson

from fastanchor.providers.demo.ask import Json, Refused

SSE = b"text/event-stream"
IN_BAND = Refused(500, "The demo provider failed in mid-stream, as asked.", code="server_error")

_TYPES = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}


def error(refused: Refused) -> Json:
    """The body of an error."""
    default = ("server_error", None) if refused.status >= 500 else ("invalid_request_error", None)
    kind, code = _TYPES.get(refused.status, default)
    return {"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code or code}}


def data(value: Json) -> bytes:
    """An event without a name."""
    return b"data: " + orjson.dumps(value) + b"\n\n"
