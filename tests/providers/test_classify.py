"""Failures of providers: each row of the tables, the words of the vendors, and every form of Retry-After."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.providers import classify

NOW = 1_700_000_000.0


def headers(**fields: bytes) -> Callable[[bytes], bytes | None]:
    return lambda name: fields.get(name.decode().replace("-", "_"))


def judged(status: int, body: object = b"", **fields: bytes) -> Fault:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return classify.from_answer(status, headers(**fields), data, "openai_chat", NOW)


@pytest.mark.parametrize(("status", "kind"), sorted(classify.BY_STATUS.items()))
@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", b'{"error":{}}', b'"text"', b"[]", b"\xff"])
def test_the_status_decides_where_the_body_says_nothing(status: int, kind: Kind, body: bytes) -> None:
    assert judged(status, body).kind is kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, Kind.MALFORMED_ANSWER), (307, Kind.MALFORMED_ANSWER), (204, Kind.UPSTREAM_ERROR),
        (418, Kind.PROVIDER_REJECTED), (451, Kind.PROVIDER_REJECTED), (500, Kind.UPSTREAM_ERROR),
        (502, Kind.UPSTREAM_ERROR), (504, Kind.UPSTREAM_ERROR), (520, Kind.UPSTREAM_ERROR), (599, Kind.UPSTREAM_ERROR),
    ],
)  # fmt: skip
def test_statuses_without_a_row(status: int, kind: Kind) -> None:
    assert judged(status).kind is kind


@pytest.mark.parametrize(("code", "kind"), sorted(classify.BY_CODE.items()))
@pytest.mark.parametrize("place", ["code", "type", "status"])
def test_the_vendors_code_refines_a_client_error(code: str, kind: Kind, place: str) -> None:
    assert judged(400, {"error": {"message": "no", place: code}}).kind is kind
    assert judged(429, {"error": {"message": "no", place: code}}).kind is kind


@pytest.mark.parametrize("code", ["context_length_exceeded", "invalid_api_key", "model_not_found"])
def test_a_5xx_stays_the_providers_failure(code: str) -> None:
    assert judged(500, {"error": {"code": code}}).kind is Kind.UPSTREAM_ERROR


def test_a_5xx_may_say_that_it_is_overload() -> None:
    assert judged(500, {"error": {"type": "overloaded_error"}}).kind is Kind.UPSTREAM_OVERLOADED


@pytest.mark.parametrize(("words", "kind"), classify.BY_WORDS)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_words_decide_where_there_is_no_code(words: str, kind: Kind, status: int) -> None:
    assert judged(status, {"error": {"message": f"Sorry: {words.capitalize()} of 7 exceeded"}}).kind is kind


@pytest.mark.parametrize("status", [404, 429, 500])
def test_words_decide_nothing_elsewhere(status: int) -> None:
    found = judged(status, {"error": {"message": "prompt is too long"}})
    assert found.kind is judged(status).kind


REAL = [
    # (status, body, kind) as the vendors send them
    (400, {"error": {"message": "This model's maximum context length is 8192 tokens.", "type": "invalid_request_error",
                     "param": "messages", "code": "context_length_exceeded"}}, Kind.CONTEXT_LENGTH),
    (400, {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > "
                                      "200000 maximum"}}, Kind.CONTEXT_LENGTH),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Kind.UPSTREAM_OVERLOADED),
    (429, {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota",
                     "code": "insufficient_quota"}}, Kind.UPSTREAM_AUTH),
    (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key.",
                      "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}], Kind.UPSTREAM_AUTH),
    (413, {"error": {"message": "Request too large for model", "type": "tokens", "code": "rate_limit_exceeded"}},
     Kind.UPSTREAM_RATE_LIMITED),
    (400, {"error": {"code": "content_filter", "message": "The response was filtered"}}, Kind.CONTENT_FILTER),
    (400, {"error": {"message": "Your credit balance is too low", "type": "invalid_request_error"}},
     Kind.UPSTREAM_AUTH),
    (404, {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}, Kind.UPSTREAM_NOT_FOUND),
    (400, {"detail": "Input is too long for requested model."}, Kind.CONTEXT_LENGTH),
    (403, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>", Kind.UPSTREAM_AUTH),
]  # fmt: skip


@pytest.mark.parametrize(("status", "body", "kind"), REAL)
def test_what_vendors_really_send(status: int, body: object, kind: Kind) -> None:
    assert judged(status, body).kind is kind


def test_a_rejection_keeps_the_providers_words() -> None:
    body = {"error": {"message": "bad", "type": "invalid_request_error", "param": "top_p", "code": "x"}}
    found = judged(400, body)
    assert (found.message, found.param, found.own_status, found.own_code) == ("bad", "top_p", 400, "x")
    assert found.provider_body == orjson.dumps(body)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_any_other_failure_keeps_nothing_of_the_providers_text(status: int) -> None:
    found = judged(status, {"error": {"message": "key sk-secret of org-secret is wrong"}})
    assert "secret" not in repr(found) + found.message + str(found)
    assert found.provider_body == b""


# -- Retry-After ------------------------------------------------------------------------------------------------------


def date(seconds: float) -> bytes:
    return formatdate(NOW + seconds, usegmt=True).encode()


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"2", 2.0),
        (b"0", 0.0),
        (b"1.5", 1.5),
        (b".5", 0.5),
        (b"1000000000", 86_400.0),
        (b"9" * 40, 86_400.0),
        (b"9" * 5000, None),
        (date(30), 30.0),
        (date(-30), 0.0),
        (date(10**8), 86_400.0),
        (format_datetime(datetime.fromtimestamp(NOW + 7, UTC)).encode(), 7.0),
        (b"Tue, 14 Nov 2023 22:13:50 -0000", 30.0),
        (b"Tue, 14 Nov 2023 22:13:50", 30.0),
        (b"-1", None),
        (b"1e9", None),
        (b"soon", None),
        (b"", None),
        (b"1.2.3", None),
        (b"Mon, 99 Foo 99999 00:00:00 GMT", None),
        (b"Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("٣".encode(), None),
        (b"\xff\xfe", None),
        (b"NaN", None),
        (b"inf", None),
    ],
)
def test_retry_after(value: bytes, seconds: float | None) -> None:
    assert judged(429, retry_after=value).retry_after == seconds


@pytest.mark.parametrize(("value", "seconds"), [(b"1500", 1.5), (b"0", 0.0), (b"-5", 4.0), (b"junk", 4.0), (b"", 4.0)])
def test_milliseconds_win_where_they_can_be_read(value: bytes, seconds: float) -> None:
    assert judged(429, retry_after_ms=value, retry_after=b"4").retry_after == seconds


@pytest.mark.parametrize(("delay", "seconds"), [("34s", 34.0), ("1.5s", 1.5), ("-3s", None), ("x", None), (7, None)])
def test_geminis_retry_info(delay: object, seconds: float | None) -> None:
    body = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": [{"retryDelay": delay}]}}
    assert judged(429, body).retry_after == seconds


@given(st.binary(max_size=40))
def test_no_retry_after_breaks_anything(value: bytes) -> None:
    found = judged(429, retry_after=value, retry_after_ms=value).retry_after
    assert found is None or 0.0 <= found <= 86_400.0


# -- errors inside a 200 ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "boom"}}, Kind.IN_BAND_ERROR),
        ({"error": "boom"}, Kind.IN_BAND_ERROR),
        ({"error": {"type": "overloaded_error"}}, Kind.UPSTREAM_OVERLOADED),
        ({"error": {"code": 502, "message": "upstream"}}, Kind.UPSTREAM_ERROR),
        ({"error": {"code": 429, "message": "slow down"}}, Kind.UPSTREAM_RATE_LIMITED),
        ({"error": {"code": "context_length_exceeded", "message": "too long"}}, Kind.CONTEXT_LENGTH),
        ({"error": {"code": True}}, Kind.IN_BAND_ERROR),
        ([], Kind.IN_BAND_ERROR),
        (None, Kind.IN_BAND_ERROR),
    ],
)
def test_errors_in_band(body: object, kind: Kind) -> None:
    assert classify.from_event(orjson.dumps(body)).kind is kind


def test_an_in_band_rejection_keeps_its_words() -> None:
    found = classify.from_event(b'{"error":{"code":"context_length_exceeded","message":"too long"}}')
    assert (found.message, found.own_code) == ("too long", "context_length_exceeded")


@given(st.binary(max_size=200))
def test_no_body_breaks_anything(body: bytes) -> None:
    judged(400, body)
    classify.from_event(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 999) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["error", "code", "type", "message", "details", "status", "reason", "retryDelay"]), inner
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_shape_of_a_body_breaks_anything(document: object) -> None:
    judged(400, document)
    classify.from_event(orjson.dumps(document))
