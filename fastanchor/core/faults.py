"""What can go wrong, in one table.

A `Fault` is the only exception that crosses a layer. Its `Kind` says everything that is decided by kind alone: whose
fault it was, whether another attempt may help, whether the channel is to blame, and how each family of clients is told
(HTTP status, code, type). The text may be changed per fault; the row may not.

Rules:
- One row per kind; nobody else maps a fault to a status.
- `message` is shown to clients: no key, no URL, no upstream body, no stack ever goes in there.
- A provider's own rejection carries its body in `provider_body`, to be passed unmodified where the dialect is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Side(Enum):
    """Who is to blame."""

    CLIENT = "client"
    US = "us"
    UPSTREAM = "upstream"


class Retry(Enum):
    """Where another attempt could succeed."""

    NO = "no"  # nowhere: the request itself is refused
    SAME = "same"  # the same channel, after a wait
    KEY = "key"  # the same channel with another of its keys, else another channel
    OTHER = "other"  # another channel
    MODEL = "model"  # only another model


class Kind(Enum):
    """Every kind of fault. The value is the name in logs and metrics."""

    # the client
    INVALID_REQUEST = "invalid_request"
    REQUEST_TOO_LARGE = "request_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    INVALID_API_KEY = "invalid_api_key"
    INSUFFICIENT_QUOTA = "insufficient_quota"
    PERMISSION_DENIED = "permission_denied"
    MODEL_NOT_FOUND = "model_not_found"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    UPGRADE_REQUIRED = "upgrade_required"
    RATE_LIMIT = "rate_limit"
    CLIENT_GONE = "client_gone"
    # the upstream rejects what the client asked
    PROVIDER_REJECTED = "provider_rejected"
    CONTEXT_LENGTH = "context_length"
    CONTENT_FILTER = "content_filter"
    # the upstream fails
    UPSTREAM_RATE_LIMITED = "upstream_rate_limited"
    UPSTREAM_OVERLOADED = "upstream_overloaded"
    UPSTREAM_ERROR = "upstream_error"
    UPSTREAM_AUTH = "upstream_auth"
    UPSTREAM_NOT_FOUND = "upstream_not_found"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS_FAILED = "tls_failed"
    RESET = "reset"
    SILENT = "silent"  # no first token in time
    STALLED = "stalled"  # silence after content
    TRUNCATED = "truncated"
    DIVERGED = "diverged"  # another answer that does not continue what the client has
    IN_BAND_ERROR = "in_band_error"
    EMPTY_ANSWER = "empty_answer"
    MALFORMED_ANSWER = "malformed_answer"
    # us
    DEADLINE = "deadline"
    SERVICE_UNAVAILABLE = "service_unavailable"
    LEDGER_UNAVAILABLE = "ledger_unavailable"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class Row:
    """How a kind is judged and told. `anthropic_status` is set only where a documented service differs."""

    side: Side
    retry: Retry
    penalty: bool  # counts against the channel's health
    status: int
    code: str  # FastAnchor code: `error.code` in OpenAI bodies
    openai_type: str
    anthropic_type: str
    gemini_status: str
    message: str
    anthropic_status: int = 0


_C, _U, _X = Side.CLIENT, Side.UPSTREAM, Side.US
_INVALID = ("invalid_request_error", "invalid_request_error", "INVALID_ARGUMENT")
_MODEL = ("model_error", "api_error")
_BUSY = ("service_unavailable", "server_error", "overloaded_error", "UNAVAILABLE")


def _failed(kind_message: str, retry: Retry = Retry.OTHER, *, penalty: bool = True) -> Row:
    """An upstream that answered wrongly: 500 `upstream_error` once all attempts are used up."""
    return Row(_U, retry, penalty, 500, "upstream_error", *_MODEL, "INTERNAL", kind_message)


def _absent(kind_message: str, retry: Retry = Retry.OTHER, *, penalty: bool = True) -> Row:
    """An upstream that did not answer: 502 `model_unavailable` once all attempts are used up."""
    return Row(_U, retry, penalty, 502, "model_unavailable", *_MODEL, "UNAVAILABLE", kind_message)


ROWS: dict[Kind, Row] = {
    Kind.INVALID_REQUEST: Row(_C, Retry.NO, False, 400, "invalid_request", *_INVALID, "The request is not valid."),
    Kind.REQUEST_TOO_LARGE: Row(_C, Retry.NO, False, 413, "invalid_request", "invalid_request_error",
                                "request_too_large", "INVALID_ARGUMENT", "The request body is too large."),
    Kind.UNSUPPORTED_MEDIA_TYPE: Row(_C, Retry.NO, False, 415, "invalid_request", *_INVALID,
                                     "This content type or content encoding is not supported."),
    Kind.INVALID_API_KEY: Row(_C, Retry.NO, False, 401, "invalid_api_key", "authentication_error",
                              "authentication_error", "UNAUTHENTICATED", "Invalid or missing API key."),
    Kind.INSUFFICIENT_QUOTA: Row(_C, Retry.NO, False, 402, "insufficient_quota", "insufficient_quota",
                                 "permission_error", "RESOURCE_EXHAUSTED", "The credits are used up.",
                                 anthropic_status=403),
    Kind.PERMISSION_DENIED: Row(_C, Retry.NO, False, 403, "permission_denied", "authorization_error",
                                "permission_error", "PERMISSION_DENIED", "This key does not permit the request."),
    Kind.MODEL_NOT_FOUND: Row(_C, Retry.NO, False, 404, "model_not_found", "invalid_request_error",
                              "not_found_error", "NOT_FOUND", "The model does not exist."),
    Kind.NOT_FOUND: Row(_C, Retry.NO, False, 404, "not_found", "invalid_request_error", "not_found_error",
                        "NOT_FOUND", "Not found."),
    Kind.METHOD_NOT_ALLOWED: Row(_C, Retry.NO, False, 405, "method_not_allowed", "invalid_request_error",
                                 "invalid_request_error", "INVALID_ARGUMENT", "Method not allowed on this path."),
    Kind.UPGRADE_REQUIRED: Row(_C, Retry.NO, False, 426, "upgrade_required", *_INVALID,
                               "This path does not take the requested upgrade."),
    Kind.RATE_LIMIT: Row(_C, Retry.NO, False, 429, "rate_limit", "rate_limit_error", "rate_limit_error",
                         "RESOURCE_EXHAUSTED", "Rate limit exceeded."),
    Kind.CLIENT_GONE: Row(_C, Retry.NO, False, 499, "client_gone", *_INVALID, "The client closed the connection."),
    Kind.PROVIDER_REJECTED: Row(_U, Retry.NO, False, 400, "invalid_request", *_INVALID,
                                "The provider rejected the request."),
    Kind.CONTEXT_LENGTH: Row(_U, Retry.MODEL, False, 400, "context_length_exceeded", *_INVALID,
                             "The request is longer than the model's context."),
    Kind.CONTENT_FILTER: Row(_U, Retry.NO, False, 400, "content_filter", *_INVALID,
                             "The provider's content filter rejected the request."),
    Kind.UPSTREAM_RATE_LIMITED: Row(_U, Retry.KEY, False, 429, "rate_limit", "rate_limit_error", "rate_limit_error",
                                    "RESOURCE_EXHAUSTED", "The provider's rate limit was hit."),
    Kind.UPSTREAM_OVERLOADED: Row(_U, Retry.OTHER, True, 503, *_BUSY, "The provider is overloaded."),
    Kind.UPSTREAM_ERROR: _failed("The model provider returned an error."),
    Kind.UPSTREAM_AUTH: _absent("The model is not available at its provider.", Retry.KEY, penalty=False),
    Kind.UPSTREAM_NOT_FOUND: _absent("The model is not available at its provider.", penalty=False),
    Kind.CONNECT_FAILED: _absent("The model provider could not be reached."),
    Kind.CONNECT_TIMEOUT: _absent("The model provider could not be reached in time."),
    Kind.TLS_FAILED: _absent("No secure connection to the model provider."),
    Kind.RESET: _absent("The model provider closed the connection without an answer.", Retry.SAME),
    Kind.SILENT: _absent("The model provider did not answer in time."),
    Kind.STALLED: _absent("The model provider stopped in the middle of the answer."),
    Kind.TRUNCATED: _failed("The model provider cut the answer off."),
    Kind.DIVERGED: _failed("The model provider cut the answer off.", penalty=False),
    Kind.IN_BAND_ERROR: _failed("The model provider reported an error."),
    Kind.EMPTY_ANSWER: _failed("The model provider sent an empty answer.", Retry.SAME),
    Kind.MALFORMED_ANSWER: _failed("The model provider sent an answer that cannot be read."),
    Kind.DEADLINE: Row(_X, Retry.NO, False, 504, "model_unavailable", *_MODEL, "DEADLINE_EXCEEDED",
                       "The request took longer than its deadline."),
    Kind.SERVICE_UNAVAILABLE: Row(_X, Retry.OTHER, False, 503, *_BUSY,
                                  "All channels for this model are at capacity or down."),
    Kind.LEDGER_UNAVAILABLE: Row(_X, Retry.NO, False, 503, *_BUSY, "Requests cannot be accounted for at the moment."),
    Kind.INTERNAL_ERROR: Row(_X, Retry.NO, False, 500, "internal_error", "server_error", "api_error", "INTERNAL",
                             "Internal error."),
}


class Fault(Exception):
    """One thing that went wrong.

    Args:
        kind: the row of the table.
        message: text for the client; the row's text when empty. Must not hold secrets.
        param: the request field at fault, as the client wrote it (`messages[2].content`), or "".
        status: the provider's own HTTP status, when the fault is a provider's answer.
        code: the provider's own error code, likewise.
        type: the provider's own error type, likewise.
        retry_after: seconds to wait before another attempt, or None.
        provider_dialect: dialect of `provider_body`.
        provider_body: the provider's error body, byte for byte.
    """

    def __init__(
        self,
        kind: Kind,
        message: str = "",
        *,
        param: str = "",
        status: int = 0,
        code: str = "",
        type: str = "",
        retry_after: float | None = None,
        provider_dialect: str = "",
        provider_body: bytes = b"",
    ) -> None:
        super().__init__(message or ROWS[kind].message)
        self.kind = kind
        self.message = message or ROWS[kind].message
        self.param = param
        self.own_status = status
        self.own_code = code
        self.own_type = type
        self.retry_after = retry_after
        self.provider_dialect = provider_dialect
        self.provider_body = provider_body

    @property
    def row(self) -> Row:
        return ROWS[self.kind]

    @property
    def side(self) -> Side:
        return self.row.side

    @property
    def retry(self) -> Retry:
        return self.row.retry

    @property
    def penalty(self) -> bool:
        return self.row.penalty

    @property
    def rejected(self) -> bool:
        """Whether this is a provider's judgement of the client's own request, told as the provider told it."""
        return self.kind in (Kind.PROVIDER_REJECTED, Kind.CONTEXT_LENGTH, Kind.CONTENT_FILTER)

    @property
    def status(self) -> int:
        """The HTTP status for the client (OpenAI families)."""
        return self.own_status if self.rejected and self.own_status else self.row.status

    @property
    def code(self) -> str:
        return self.own_code if self.rejected and self.own_code else self.row.code

    def __repr__(self) -> str:
        return f"Fault({self.kind.value}, {self.message!r}, param={self.param!r})"
