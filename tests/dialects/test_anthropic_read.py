"""Reading and editing Messages requests, counting tokens, telling faults."""

from __future__ import annotations

from typing import Any

import anthropic
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.faults import ROWS, Fault, Kind
from fastanchor.dialects.anthropic import DIALECT
from tests.kit.anthropic import ASKED, client

HELLO: dict[str, Any] = {"model": "claude-x", "max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}


def read(path: str = "/v1/messages", query: str = "", headers: dict[str, str] | None = None, **changes: Any) -> Call:
    body = {name: value for name, value in (HELLO | changes).items() if value is not ...}
    return DIALECT.read(orjson.dumps(body), path, query, headers or {})


def test_the_facts_of_a_request() -> None:
    call = read(stream=True, metadata={"user_id": "session-1"})
    assert (call.dialect, call.model, call.stream, call.max_output) == ("anthropic", "claude-x", True, 64)
    assert call.operation == "chat"
    assert call.affinity == "session-1"
    assert call.prompt_tokens > 0
    assert call.headers == {"anthropic-version": "2023-06-01"}


def test_version_and_betas_are_kept_and_the_list_of_betas_is_open() -> None:
    sent = {"anthropic-version": "2026-10-21", "anthropic-beta": "a-2026-01-01,unheard-of", "x-api-key": "secret"}
    call = read(headers=sent, query="beta=true")
    assert call.headers == {"anthropic-version": "2026-10-21", "anthropic-beta": "a-2026-01-01,unheard-of"}
    assert call.options["beta"] == "true"


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"model": ...}, "model"), ({"model": 3}, "model"), ({"model": " "}, "model"),
        ({"messages": ...}, "messages"), ({"messages": "Hi"}, "messages"), ({"messages": []}, "messages"),
        ({"max_tokens": ...}, "max_tokens"), ({"max_tokens": "1"}, "max_tokens"), ({"max_tokens": -1}, "max_tokens"),
        ({"stream": "yes"}, "stream"), ({"metadata": 3}, "metadata"),
    ],
)  # fmt: skip
def test_a_bad_field_is_named(changes: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as caught:
        read(**changes)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param == param


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff"])
def test_a_body_that_is_no_object_is_a_400(body: bytes) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read(body, "/v1/messages", "", {})
    assert caught.value.status == 400


def test_a_version_that_is_no_date_is_a_400() -> None:
    with pytest.raises(Fault) as caught:
        read(headers={"anthropic-version": "latest"})
    assert caught.value.param == "anthropic-version"


def test_max_tokens_zero_warms_the_cache() -> None:
    assert read(max_tokens=0).max_output == 0


def test_edit_changes_the_model_and_nothing_else() -> None:
    body = (
        b'{ "messages":[{"role":"user","content":"claude-x"}],\n "unknown":{"b":1,"a":9007199254740993123}, '
        b'"model" : "claude-x","max_tokens":1}'
    )
    call = DIALECT.read(body, "/v1/messages", "", {})
    assert DIALECT.edit(call, "up\"stream") == body.replace(b'"model" : "claude-x"', b'"model" : "up\\"stream"')
    assert DIALECT.edit(call, "claude-x") == body


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8), st.booleans())
def test_edit_survives_any_model_name(model: str, last: bool) -> None:
    members = {"messages": [{"role": "user", "content": model}], "max_tokens": 1}
    body = orjson.dumps(members | {"model": "claude-x"} if last else {"model": "claude-x"} | members)
    call = DIALECT.read(body, "/v1/messages", "", {})
    assert orjson.loads(DIALECT.edit(call, model)) == members | {"model": model}


def test_base64_does_not_count_as_text() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 200_000}}
    assert read(messages=[{"role": "user", "content": [image]}]).prompt_tokens < 100


def test_count_tokens_needs_no_max_tokens_and_answers_with_the_estimate() -> None:
    call = read(path="/v1/messages/count_tokens", max_tokens=..., messages=[{"role": "user", "content": "x" * 400}])
    assert call.operation == "count_tokens"
    counted = orjson.loads(DIALECT.count_tokens_answer(call))
    assert counted == {"input_tokens": call.prompt_tokens}
    assert 95 <= call.prompt_tokens <= 110
    with client(200, "application/json", orjson.dumps(counted)) as judge:
        told = judge.messages.count_tokens(model=ASKED["model"], messages=ASKED["messages"])
    assert told.input_tokens == call.prompt_tokens


def test_the_keep_alive_is_a_ping_event() -> None:
    assert DIALECT.keep_alive == b'event: ping\ndata: {"type":"ping"}\n\n'


@pytest.mark.parametrize("kind", list(Kind))
def test_every_fault_is_told_as_the_official_client_expects(kind: Kind) -> None:
    fault = Fault(kind, retry_after=1.2)
    body = DIALECT.fault(fault, "req_9")
    with client(DIALECT.status(fault), "application/json", body) as judge, pytest.raises(anthropic.APIStatusError) as c:
        judge.messages.create(**ASKED)
    told = orjson.loads(body)
    assert told["type"] == "error"
    assert told["error"]["type"] == ROWS[kind].anthropic_type
    assert told["request_id"] == "req_9"
    assert c.value.status_code == (ROWS[kind].anthropic_status or ROWS[kind].status)
    assert ("retry_after" in told["error"]) is (ROWS[kind].status == 429)


def test_used_up_credits_are_a_403_permission_error() -> None:
    fault = Fault(Kind.INSUFFICIENT_QUOTA)
    assert DIALECT.status(fault) == 403
    assert orjson.loads(DIALECT.fault(fault, "r"))["error"]["type"] == "permission_error"


def test_the_message_names_the_field() -> None:
    error = orjson.loads(DIALECT.fault(Fault(Kind.INVALID_REQUEST, "Field required", param="max_tokens"), "r"))["error"]
    assert error["message"] == "max_tokens: Field required"
    assert error["param"] == "max_tokens"


def test_a_rejection_by_an_anthropic_provider_is_unmodified(recordings: Any) -> None:
    body = (recordings / "anthropic" / "error-400.json").read_bytes()
    fault = Fault(Kind.PROVIDER_REJECTED, "no", status=400, provider_dialect="anthropic", provider_body=body)
    assert DIALECT.fault(fault, "r") == body
    event = DIALECT.fault_event(fault, "r")
    assert event.startswith(b"event: error\ndata: {")
    assert event.count(b"\n") == 3
    assert orjson.loads(event.split(b"data: ")[1]) == orjson.loads(body)


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (404, "not_found_error"),
                                             (413, "request_too_large"), (422, "invalid_request_error")])  # fmt: skip
def test_a_rejection_by_another_vendor_is_told_in_anthropics_words(status: int, kind: str) -> None:
    fault = Fault(Kind.PROVIDER_REJECTED, "too big", status=status, provider_dialect="openai_chat", provider_body=b"{}")
    assert DIALECT.status(fault) == status
    error = orjson.loads(DIALECT.fault(fault, "r"))["error"]
    assert error == {"type": kind, "message": "too big"}


def test_the_official_client_raises_on_a_fault_event() -> None:
    event = DIALECT.fault_event(Fault(Kind.STALLED), "req_1")
    with client(200, "text/event-stream", event) as judge, pytest.raises(anthropic.APIStatusError):
        with judge.messages.stream(**ASKED) as stream:
            stream.get_final_message()
