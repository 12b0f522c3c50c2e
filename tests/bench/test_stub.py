"""The stub provider speaks each dialect as its vendor does, as far as a gateway can tell."""

from __future__ import annotations

import http.client
import json
import re
import socket
from typing import Any

import pytest

from bench.rig import Load, Rig
from bench.subjects import direct

CHAT = "/v1/chat/completions"


def ask(rig: Rig, path: str, body: dict[str, Any]) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", rig.stub_port, timeout=10)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        return response, response.read()
    finally:
        connection.close()


def prompt(number: int, **more: Any) -> dict[str, Any]:
    message = {"role": "user", "content": f"stream-{number:09} hello"}
    return {"model": "bench-n4-p0", "messages": [message], **more}


def data(raw: bytes) -> list[Any]:
    lines = [line[6:] for line in raw.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def marks(raw: bytes) -> list[tuple[int, int]]:
    return [(int(m[1]), int(m[2])) for m in re.finditer(rb"~(\d{9})\.(\d{6})\.\d{20}~", raw)]


def test_a_chat_stream_has_its_events_finish_and_done(running: Rig) -> None:
    response, raw = ask(running, CHAT, prompt(7, stream=True))
    events = data(raw)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert marks(raw) == [(7, i) for i in range(4)]
    assert [e["choices"][0]["finish_reason"] for e in events[:-1]] == [None] * 4 + ["stop"]
    assert events[-1] == "[DONE]"
    assert not any("usage" in e for e in events[:-1])


def test_usage_comes_when_it_is_asked_for(running: Rig) -> None:
    _, raw = ask(running, CHAT, prompt(7, stream=True, stream_options={"include_usage": True}))
    events = data(raw)
    assert [e["usage"] for e in events[:-2]] == [None] * 5
    assert (events[-2]["choices"], events[-2]["usage"]["total_tokens"]) == ([], 300)


def test_a_plain_chat_answer_is_about_a_kilobyte_with_usage(running: Rig) -> None:
    _, raw = ask(running, CHAT, prompt(8))
    answer = json.loads(raw)
    assert 900 < len(raw) < 1300
    assert marks(raw) == [(8, 0)]
    assert answer["usage"]["total_tokens"] == 300
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_messages_speak_anthropic(running: Rig) -> None:
    _, raw = ask(running, "/v1/messages", prompt(9, stream=True))
    kinds = [event["type"] for event in data(raw)]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * 4,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [line[7:] for line in raw.decode().splitlines() if line.startswith("event: ")] == kinds
    assert json.loads(ask(running, "/v1/messages", prompt(9))[1])["usage"]["output_tokens"] == 100


def test_generate_content_speaks_gemini(running: Rig) -> None:
    path = "/v1beta/models/bench-n3-p0:"
    body = {"contents": [{"parts": [{"text": "stream-000000010"}]}]}
    _, raw = ask(running, path + "streamGenerateContent?alt=sse", body)
    assert marks(raw) == [(10, i) for i in range(3)]
    assert data(raw)[-1]["candidates"][0]["finishReason"] == "STOP"
    assert json.loads(ask(running, path + "generateContent", body)[1])["usageMetadata"]["totalTokenCount"] == 300


@pytest.mark.parametrize("size", [100, 2047, 2048, 2049, 70_000, 400_000])
def test_orders_are_read_from_bodies_of_any_size(running: Rig, size: int) -> None:
    body = prompt(11, padding="x" * size, stream=True, stream_options={"include_usage": True})
    _, raw = ask(running, CHAT, body)
    assert marks(raw) == [(11, i) for i in range(4)]
    assert b'"choices":[]' in raw


def test_a_request_without_a_length_is_refused(running: Rig) -> None:
    with socket.create_connection(("127.0.0.1", running.stub_port), timeout=10) as connection:
        connection.sendall(b"POST %b HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n" % CHAT.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 411 ")


def test_an_open_loop_of_so_many_requests_ends_with_the_last(running: Rig) -> None:
    window = running.measure(direct(running), Load(30, requests=30, rate=300, events=20, pace_ms=20))
    assert (window.requests, window.seen["most"]) == (30, 30)


@pytest.mark.parametrize("dialect", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("events", [0, 20])
def test_the_load_generator_takes_every_dialect(running: Rig, dialect: str, events: int) -> None:
    window = running.measure(direct(running), Load(4, requests=40, events=events, dialect=dialect))
    assert (window.requests, window.events) == (40, 40 * events)


def test_paced_events_come_at_their_pace(running: Rig) -> None:
    window = running.measure(direct(running), Load(4, requests=4, events=6, pace_ms=20))
    assert window.percentile("latency", "max") >= 4 * 20_000  # the first gap may be any part of the pace
    assert window.events == 24


def test_an_open_loop_sends_what_was_intended(running: Rig) -> None:
    window = running.measure(direct(running), Load(16, seconds=0.5, rate=200))
    assert 60 <= window.requests <= 140  # 100 are expected; the gaps are exponential, from a fixed seed
    assert window.seen["failures"]["all"] == 0
