"""Gemini's error body: written for clients, and read where a provider puts it into a 200.

Source: google.rpc.Status in JSON; `error_details.proto` for RetryInfo, BadRequest, ErrorInfo and RequestInfo.
"""

from __future__ import annotations

from typing import Any

import msgspec
import orjson

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.gemini.answers import UNREADABLE
from fastanchor.providers import classify

NAME = "gemini"

_TYPE = "type.googleapis.com/google.rpc."
_STATUSES = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    409: "ABORTED", 413: "INVALID_ARGUMENT", 422: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED",
}  # fmt: skip


class _Status(msgspec.Struct):
    code: int | None = None


class _Envelope(msgspec.Struct):
    error: _Status | None = None


_envelopes = msgspec.json.Decoder(_Envelope, strict=False)


def error_body(fault: Fault, request_id: str) -> bytes:
    """The body of an error answer; the provider's own, where it rejected the request in this dialect."""
    if fault.rejected and fault.provider_dialect == NAME and fault.provider_body:
        return fault.provider_body
    status = fault.row.gemini_status
    if fault.rejected:
        status = _STATUSES.get(fault.status, status)
    error: dict[str, Any] = {"code": fault.status, "message": fault.message, "status": status}
    error["details"] = _details(fault, request_id)
    return orjson.dumps({"error": error})


def error_line(fault: Fault, request_id: str) -> bytes:
    """The same without line ends, for a stream: the provider's body may have them, between its tokens only."""
    return error_body(fault, request_id).replace(b"\r", b" ").replace(b"\n", b" ")


def _details(fault: Fault, request_id: str) -> list[dict[str, Any]]:
    details: list[dict[str, Any]] = [
        {"@type": _TYPE + "ErrorInfo", "reason": fault.code.upper(), "domain": "fastanchor"},
        {"@type": _TYPE + "RequestInfo", "requestId": request_id},
    ]
    if fault.param:
        violation = {"field": fault.param, "description": fault.message}
        details.append({"@type": _TYPE + "BadRequest", "fieldViolations": [violation]})
    if fault.retry_after is not None:
        details.append({"@type": _TYPE + "RetryInfo", "retryDelay": f"{max(0.0, fault.retry_after):g}s"})
    return details


def in_band(document: bytes) -> Fault | None:
    """The fault of a document that is an error, None when it is not one.

    Its code is an HTTP status and is judged as one where the tables know it.
    """
    if b'"error"' not in document:
        return None
    document = document.strip()
    if document.startswith(b"["):  # the OpenAI-compatible endpoint wraps it in an array of one
        document = document[1:-1]
    try:
        envelope = _envelopes.decode(document)
    except UNREADABLE:
        return Fault(Kind.IN_BAND_ERROR) if document.startswith(b'{"error"') else None
    if envelope.error is None:
        return None
    status = envelope.error.code or 0
    if status in classify.BY_STATUS:
        return classify.from_answer(status, _no_header, document, NAME, 0.0)
    return Fault(Kind.IN_BAND_ERROR)


def _no_header(name: bytes) -> bytes | None:
    return None
