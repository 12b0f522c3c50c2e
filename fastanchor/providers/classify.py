"""From a provider's failure to a Fault: every table in one place, each row with its reason.

The status decides first, then the vendor's own code, then, where vendors use one code for several things, words in the
message. What is the client's own mistake is passed on as it came; what is the provider's, or between it and the
gateway, is told in the gateway's words and never with the provider's text (it may hold keys, URLs or HTML).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import orjson

from fastanchor.core.faults import Fault, Kind

LONGEST_RETRY_AFTER = 86_400.0
"""Seconds. What is told beyond a day is taken for a day."""

BY_STATUS: dict[int, Kind] = {
    400: Kind.PROVIDER_REJECTED,  # the request itself; codes below refine it
    401: Kind.UPSTREAM_AUTH,  # the channel's key, never the client's
    402: Kind.UPSTREAM_AUTH,  # the channel's account is out of money: another key may have some
    403: Kind.UPSTREAM_AUTH,  # the channel's key may not use the model
    404: Kind.UPSTREAM_NOT_FOUND,  # the channel's model name is wrong there; another channel may have it
    405: Kind.UPSTREAM_NOT_FOUND,  # the channel has no such endpoint
    408: Kind.UPSTREAM_ERROR,  # the provider gave up waiting
    409: Kind.UPSTREAM_ERROR,  # lock conflicts are documented as worth a retry
    413: Kind.PROVIDER_REJECTED,
    415: Kind.PROVIDER_REJECTED,
    422: Kind.PROVIDER_REJECTED,
    425: Kind.UPSTREAM_ERROR,
    429: Kind.UPSTREAM_RATE_LIMITED,
    498: Kind.UPSTREAM_OVERLOADED,  # Groq: flex capacity exceeded
    503: Kind.UPSTREAM_OVERLOADED,
    529: Kind.UPSTREAM_OVERLOADED,  # Anthropic
}

BY_CODE: dict[str, Kind] = {
    "context_length_exceeded": Kind.CONTEXT_LENGTH,  # OpenAI
    "string_above_max_length": Kind.CONTEXT_LENGTH,
    "exceed_context_size_error": Kind.CONTEXT_LENGTH,  # llama.cpp
    "content_filter": Kind.CONTENT_FILTER,  # Azure
    "content_policy_violation": Kind.CONTENT_FILTER,
    "moderation_blocked": Kind.CONTENT_FILTER,  # OpenAI, images
    "ResponsibleAIPolicyViolation": Kind.CONTENT_FILTER,
    "insufficient_quota": Kind.UPSTREAM_AUTH,  # a 429 that no wait will heal: another key may have money
    "invalid_api_key": Kind.UPSTREAM_AUTH,
    "API_KEY_INVALID": Kind.UPSTREAM_AUTH,  # Gemini tells a bad key with 400
    "billing_error": Kind.UPSTREAM_AUTH,  # Anthropic
    "authentication_error": Kind.UPSTREAM_AUTH,
    "permission_error": Kind.UPSTREAM_AUTH,
    "model_not_found": Kind.UPSTREAM_NOT_FOUND,
    "rate_limit_exceeded": Kind.UPSTREAM_RATE_LIMITED,
    "rate_limit_error": Kind.UPSTREAM_RATE_LIMITED,
    "RESOURCE_EXHAUSTED": Kind.UPSTREAM_RATE_LIMITED,
    "overloaded_error": Kind.UPSTREAM_OVERLOADED,
    "UNAVAILABLE": Kind.UPSTREAM_OVERLOADED,
    "server_error": Kind.UPSTREAM_ERROR,
    "api_error": Kind.UPSTREAM_ERROR,
    "INTERNAL": Kind.UPSTREAM_ERROR,
}

BY_WORDS: tuple[tuple[str, Kind], ...] = (
    # only for statuses 400, 413 and 422, where several vendors have a message and no code
    ("maximum context length", Kind.CONTEXT_LENGTH),  # OpenAI-compatible servers
    ("prompt is too long", Kind.CONTEXT_LENGTH),  # Anthropic
    ("input token count", Kind.CONTEXT_LENGTH),  # Gemini: "The input token count (…) exceeds the maximum"
    ("context window", Kind.CONTEXT_LENGTH),
    ("maximum prompt length", Kind.CONTEXT_LENGTH),  # xAI
    ("input is too long", Kind.CONTEXT_LENGTH),  # Bedrock
    ("too many tokens", Kind.CONTEXT_LENGTH),  # Cohere
    ("content filtering policy", Kind.CONTENT_FILTER),  # Anthropic: "Output blocked by content filtering policy"
    ("content management policy", Kind.CONTENT_FILTER),  # Azure
    ("api key not valid", Kind.UPSTREAM_AUTH),  # Gemini
    ("credit balance is too low", Kind.UPSTREAM_AUTH),  # Anthropic tells an empty account with 400
)


@dataclass(frozen=True, slots=True)
class Told:
    """What an error body says, whatever its shape."""

    message: str = ""
    code: str = ""
    type: str = ""
    param: str = ""
    status: int = 0  # where the code is a number
    reasons: tuple[str, ...] = ()  # Gemini `details[].reason`
    retry_delay: float | None = None  # Gemini RetryInfo, seconds


def from_answer(
    status: int, header: Callable[[bytes], bytes | None], body: bytes, dialect: str, now: float
) -> Fault:
    """The fault of an HTTP answer that is not a 2xx.

    Args:
        header: looks up a response header by lower-case name.
        dialect: the language the provider answered in.
        now: unix seconds, for `Retry-After` dates.
    """
    told = read_error(body)
    kind = judge(status, told)
    wait = retry_after(header, now)
    if wait is None:
        wait = told.retry_delay
    if Fault(kind).rejected:
        return Fault(
            kind, told.message[:2000], status=status, code=told.code, type=told.type, param=told.param,
            provider_dialect=dialect, provider_body=body,
        )
    return Fault(kind, status=status, retry_after=wait)


def from_event(data: bytes) -> Fault:
    """The fault of an error that arrived inside a 200 stream or body."""
    told = read_error(data)
    kind = BY_CODE.get(told.code) or BY_CODE.get(told.type)
    if kind is None:  # OpenRouter has the HTTP status as its code
        kind = judge(told.status, told) if 400 <= told.status <= 599 else Kind.IN_BAND_ERROR
    if Fault(kind).rejected:
        return Fault(kind, told.message[:2000], code=told.code, type=told.type, param=told.param)
    return Fault(kind, retry_after=told.retry_delay)


def judge(status: int, told: Told) -> Kind:
    """The kind of a failed answer."""
    for word in (told.code, told.type, *told.reasons):
        refined = BY_CODE.get(word)
        if refined is not None and _refines(status, refined):
            return refined
    if status in (400, 413, 422):
        text = told.message.lower()
        for words, kind in BY_WORDS:
            if words in text:
                return kind
    if 300 <= status < 400:
        return Kind.MALFORMED_ANSWER  # redirects are never followed: the key would go to another origin
    return BY_STATUS.get(status, Kind.PROVIDER_REJECTED if 400 <= status < 500 else Kind.UPSTREAM_ERROR)


def _refines(status: int, kind: Kind) -> bool:
    """Codes sharpen a client error or a 429; a 5xx stays the provider's failure whatever it says."""
    return status < 500 or kind in (Kind.UPSTREAM_OVERLOADED, Kind.UPSTREAM_RATE_LIMITED)


def read_error(body: bytes) -> Told:
    """The parts of an error body in any vendor's shape; empty when there is none."""
    try:
        document: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Told()
    if isinstance(document, list) and document:  # Gemini's OpenAI endpoint wraps the error in a list
        document = document[0]
    if not isinstance(document, dict):
        return Told()
    error = document.get("error", document)
    if isinstance(error, str):
        return Told(message=error)
    if not isinstance(error, dict):
        return Told()
    return _told(error, document)


def _told(error: dict[str, Any], document: dict[str, Any]) -> Told:
    details = error.get("details")
    rows = [row for row in details if isinstance(row, dict)] if isinstance(details, list) else []
    return Told(
        message=_text(error.get("message") or document.get("message") or document.get("detail")),
        code=_text(error.get("code")) or _text(error.get("status")),
        type=_text(error.get("type")) or _text(error.get("status")),
        param=_text(error.get("param")),
        status=_status(error.get("code")),
        reasons=tuple(_text(row.get("reason")) for row in rows if row.get("reason")),
        retry_delay=next((_seconds(row["retryDelay"]) for row in rows if "retryDelay" in row), None),
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _status(value: object) -> int:
    return value if isinstance(value, int) and 0 < value < 1000 else 0


def _seconds(value: object) -> float | None:
    """A protobuf Duration in JSON: "34s", "1.5s"."""
    return _decimal(_text(value).removesuffix("s"))


def retry_after(header: Callable[[bytes], bytes | None], now: float) -> float | None:
    """Seconds from `retry-after-ms` or `Retry-After` (RFC 9110 §10.2.3; vendors also send fractions), or None if absent
    or junk. Dates in the past are 0."""
    milliseconds = _decimal((header(b"retry-after-ms") or b"").decode("latin-1"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = (header(b"retry-after") or b"").decode("latin-1")
    seconds = _decimal(value)
    return _until(value, now) if seconds is None else seconds


def _decimal(text: str) -> float | None:
    """A number of digits with at most one point, bounded by a day; None for anything else."""
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 100:
        return None
    return min(float(text), LONGEST_RETRY_AFTER)


def _until(date: str, now: float) -> float | None:
    """Seconds until an HTTP date, None if it is none."""
    from email.utils import parsedate_to_datetime  # a date is rare

    try:
        when = parsedate_to_datetime(date)
        stamp = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(0.0, stamp - now), LONGEST_RETRY_AFTER)
