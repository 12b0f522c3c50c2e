"""How Anthropic clients are told of a fault: `{"type": "error", "error": {type, message}, "request_id"}`.

`param` and `retry_after` (seconds, on 429) in the `error` object are ours. The message opens with the field, as
Anthropic's own do. Credits that are used up are a 403 `permission_error` here, as one of the served APIs documents.
Source: "Errors" of the Claude API documentation.
"""

from __future__ import annotations

import math

import orjson

from fastanchor.core.faults import Fault, Kind

_TYPES = {
    # for a rejection by a provider that speaks another dialect: only its status says what Anthropic would call it
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
}


def status(fault: Fault) -> int:
    """The HTTP status for an Anthropic client."""
    return fault.row.anthropic_status or fault.status


def error_body(fault: Fault, request_id: str) -> bytes:
    """The error body; the provider's own, byte for byte, when it rejected the request in this dialect."""
    if fault.rejected and fault.provider_body and fault.provider_dialect == "anthropic":
        return fault.provider_body
    return _own_body(fault, request_id)


def error_event(fault: Fault, request_id: str) -> bytes:
    """The last event of a stream that failed; no `message_stop` follows it."""
    body = error_body(fault, request_id)
    if b"\n" in body or b"\r" in body:  # an event's data is one line here: some readers take only the first
        body = _one_line(body) or _own_body(fault, request_id)
    return b"event: error\ndata: " + body + b"\n\n"


def _own_body(fault: Fault, request_id: str) -> bytes:
    named = fault.param and fault.param not in fault.message
    error: dict[str, object] = {
        "type": _TYPES.get(fault.own_status, fault.row.anthropic_type) if fault.rejected else fault.row.anthropic_type,
        "message": f"{fault.param}: {fault.message}" if named else fault.message,
    }
    if fault.param:
        error["param"] = fault.param
    if fault.retry_after is not None and fault.row.status == 429:
        error["retry_after"] = math.ceil(fault.retry_after)
    return orjson.dumps({"type": "error", "error": error, "request_id": request_id})


def _one_line(body: bytes) -> bytes:
    try:
        return orjson.dumps(orjson.loads(body))
    except orjson.JSONDecodeError:
        return b""


def invalid(param: str, reason: str) -> Fault:
    """A fault in the client's request, at the field `param`."""
    return Fault(Kind.INVALID_REQUEST, f"{param}: {reason}" if param else reason, param=param)
