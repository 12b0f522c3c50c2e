"""The table of faults is whole, and what it tells is what product documents promise."""

from __future__ import annotations

import pytest

from fastanchor.core.faults import ROWS, Fault, Kind, Retry, Side


def test_every_kind_has_a_row() -> None:
    assert set(ROWS) == set(Kind)


@pytest.mark.parametrize(
    ("kind", "status", "code", "openai", "anthropic"),
    [
        (Kind.INVALID_REQUEST, 400, "invalid_request", "invalid_request_error", "invalid_request_error"),
        (Kind.REQUEST_TOO_LARGE, 413, "invalid_request", "invalid_request_error", "request_too_large"),
        (Kind.INVALID_API_KEY, 401, "invalid_api_key", "authentication_error", "authentication_error"),
        (Kind.INSUFFICIENT_QUOTA, 402, "insufficient_quota", "insufficient_quota", "permission_error"),
        (Kind.PERMISSION_DENIED, 403, "permission_denied", "authorization_error", "permission_error"),
        (Kind.MODEL_NOT_FOUND, 404, "model_not_found", "invalid_request_error", "not_found_error"),
        (Kind.NOT_FOUND, 404, "not_found", "invalid_request_error", "not_found_error"),
        (Kind.RATE_LIMIT, 429, "rate_limit", "rate_limit_error", "rate_limit_error"),
        (Kind.UPSTREAM_ERROR, 500, "upstream_error", "model_error", "api_error"),
        (Kind.SILENT, 502, "model_unavailable", "model_error", "api_error"),
        (Kind.CONNECT_FAILED, 502, "model_unavailable", "model_error", "api_error"),
        (Kind.SERVICE_UNAVAILABLE, 503, "service_unavailable", "server_error", "overloaded_error"),
        (Kind.INTERNAL_ERROR, 500, "internal_error", "server_error", "api_error"),
    ],
)
def test_documented_rows(kind: Kind, status: int, code: str, openai: str, anthropic: str) -> None:
    row = ROWS[kind]
    assert (row.status, row.code, row.openai_type, row.anthropic_type) == (status, code, openai, anthropic)


def test_credits_used_up_are_403_in_the_anthropic_dialect() -> None:
    assert ROWS[Kind.INSUFFICIENT_QUOTA].anthropic_status == 403


@pytest.mark.parametrize("kind", [kind for kind in Kind if ROWS[kind].side is Side.CLIENT])
def test_a_clients_mistake_is_neither_retried_nor_blamed_on_a_channel(kind: Kind) -> None:
    assert ROWS[kind].retry is Retry.NO
    assert not ROWS[kind].penalty


def test_only_a_providers_judgement_keeps_the_providers_status() -> None:
    assert Fault(Kind.PROVIDER_REJECTED, status=422).status == 422
    assert Fault(Kind.UPSTREAM_AUTH, status=401).status == 502
    assert Fault(Kind.UPSTREAM_ERROR, status=599).status == 500


def test_repr_shows_no_body() -> None:
    assert "secret" not in repr(Fault(Kind.PROVIDER_REJECTED, provider_body=b"secret"))
