"""The message language of `/v1/ws`: what is read, and what bytes of a chat answer become, however they are cut."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects import socket, socket_responses
from fastanchor.dialects.socket import Auth, Cancel, Inference, Telling, fault_message, read

STREAM = (
    b': keep-alive\n\ndata: {"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"H\xc3\xa4"}},'
    b'{"index":1,"delta":{"content":"B"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"reasoning_content":"hm","type":"x"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"length"}]}\n\ndata: {"choices":[]}\n\ndata: [DONE]\n\n'
)


def test_messages() -> None:
    assert read('{"type":"auth","api_key":"k"}') == Auth("k")
    assert read('{"type":"cancel","id":7}') == Cancel(7)
    assert read('{"type":"cancel"}') == Cancel(None)
    message = read('{"id":"a","type":"inference","model":"m","x":{"id":1.50,"type":2},"seed":9007199254740993}')
    assert message == Inference("a", b'{"model":"m","x":{"id":1.50,"type":2},"seed":9007199254740993}')
    assert "k" not in repr(Auth("k")).replace("Auth", "")


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for reader in (read, socket_responses.read):
        refusal = None
        try:
            reader(text)
        except Fault as fault:
            refusal = fault
        assert refusal is None or refusal.kind is Kind.INVALID_REQUEST
    socket.id_of(text)
    socket_responses.lane_of(text)


@pytest.mark.parametrize("size", [1, 2, 7, 50, 1000])
def test_a_stream_however_it_is_cut(size: int) -> None:
    telling = Telling("i", "req_1")
    told = [m for at in range(0, len(STREAM), size) for m in telling.stream(STREAM[at : at + size])]
    told += telling.end(Usage(3, 2))
    *tokens, done = map(orjson.loads, told)
    assert tokens == [
        {"type": "token", "id": "i", "content": "Hä"},
        {"type": "token", "id": "i", "content": "B", "index": 1},
        {"type": "token", "id": "i", "content": "", "reasoning_content": "hm"},
    ]
    assert (done["type"], done["model"], done["finish_reason"], done["usage"]["total_tokens"]) == (
        "done",
        "m",
        "length",
        5,
    )


@given(st.binary(max_size=100))
def test_no_bytes_of_a_stream_break_it(data: bytes) -> None:
    telling = Telling(None, "")
    for message in telling.stream(b"data: " + data + b"\n\n") + telling.whole(
        data if data[:1] == b"{" else b"{}", Usage()
    ):
        assert message.startswith(b'{"type":')


@pytest.mark.parametrize(
    "odd",
    [
        b'{"choices":7}',
        b'{"choices":[7]}',
        b'{"choices":[{"delta":"x"}]}',
        b'{"choices":[{"delta":{"content":null}}]}',
        b"7",
        b"[]",
    ],
)
def test_odd_chunks_say_nothing(odd: bytes) -> None:
    assert Telling(None, "").stream(b"data: " + odd + b"\n\n") == []


def test_faults_have_the_shape_of_http() -> None:
    told = orjson.loads(fault_message(Fault(Kind.RATE_LIMIT, retry_after=2.5), 7))
    assert (told["type"], told["id"], told["status"]) == ("error", 7, 429)
    assert (told["error"]["type"], told["error"]["retry_after"]) == ("rate_limit_error", 3)
