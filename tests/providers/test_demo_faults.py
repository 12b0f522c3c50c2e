"""The demo provider's pace and faults: each where it was asked for, and the grammar they are asked in."""

from __future__ import annotations

import orjson
import pytest

from fastanchor.providers.demo import Cut, Script, Send, SlowHead, Stall, Step, Wait
from fastanchor.providers.demo.manner import Manner, UnknownWord, manner
from tests.providers.demo import LANGUAGES, ask, deltas, events, plain, sent

# pace


def waits(script: Script) -> list[float]:
    return [step.seconds for step in script.steps if isinstance(step, Wait)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_stream_waits_before_each_token(language: str) -> None:
    assert waits(ask(language, "demo-n4-p30-ttft500", stream=True)) == [0.5, 0.03, 0.03, 0.03]
    assert waits(ask(language, "demo-n4-fast", stream=True)) == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_plain_answer_waits_once(language: str) -> None:
    assert waits(ask(language, "demo-n4-p30-ttft500")) == [0.5]


@pytest.mark.parametrize("stream", [False, True])
def test_a_slow_head_comes_before_everything(stream: bool) -> None:
    for model in ("demo-slowhead3000", "demo-slowhead3000-fail503", "demo-slowhead3000-reset"):
        steps = list(ask("chat", model, stream=stream).steps)
        assert steps[0] == SlowHead(3.0)
        assert not any(isinstance(step, SlowHead) for step in steps[1:])


# faults


FAULTS_IN_STREAM: list[tuple[str, Step | None]] = [
    ("cut", Cut()),
    ("stall", Stall()),
    ("end", None),
]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(("word", "last"), FAULTS_IN_STREAM)
@pytest.mark.parametrize("k", [0, 1, 5, 10])
def test_a_fault_comes_after_exactly_its_tokens(language: str, word: str, last: Step | None, k: int) -> None:
    steps = list(ask(language, f"demo-n10-fast-{word}{k}", stream=True).steps)
    if last is not None:
        assert steps.pop() == last
    assert all(isinstance(step, Send) for step in steps)
    whole = sent(ask(language, "demo-n10-fast", stream=True))
    got = b"".join(step.data for step in steps if isinstance(step, Send))
    named = got.replace(f"demo-n10-fast-{word}{k}".encode(), b"demo-n10-fast")
    assert len(deltas(language, got)) == k
    assert whole.startswith(named)
    assert whole != named


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_malformed_event_is_one_more_and_loses_nothing(language: str) -> None:
    got = sent(ask(language, "demo-n10-fast-malformed4", stream=True)).replace(b"-malformed4", b"")
    whole = sent(ask(language, "demo-n10-fast", stream=True))
    at = next(i for i, (a, b) in enumerate(zip(got, whole, strict=False)) if a != b)
    extra = len(got) - len(whole)
    kept = [got[:i] + got[i + extra :] == whole for i in range(at + 1)]
    assert any(kept)
    with pytest.raises(orjson.JSONDecodeError):
        events(got)


IN_BAND = {
    "chat": b'data: {"error":{"message"',
    "completions": b'data: {"error":{"message"',
    "responses": b"event: error\ndata: ",
    "messages": b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error"',
    "gemini": b'{\n  "error": {\n    "code": 503,',
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_error_in_band_ends_the_stream(language: str) -> None:
    *steps, last = ask(language, "demo-n10-fast-errorinband4", stream=True).steps
    assert isinstance(last, Send)
    assert last.data.startswith(IN_BAND[language])
    text = b"".join(step.data for step in steps if isinstance(step, Send))
    assert len(deltas(language, text)) == 4


TERMINAL = {
    "chat": b"[DONE]",
    "completions": b"[DONE]",
    "responses": b"response.completed",
    "messages": b"message_stop",
    "gemini": b"finishReason",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_nodone_leaves_only_the_terminal_marker_out(language: str) -> None:
    whole = sent(ask(language, "demo-n5", stream=True))
    got = sent(ask(language, "demo-n5-nodone", stream=True)).replace(b"-nodone", b"")
    assert TERMINAL[language] in whole
    assert TERMINAL[language] not in got
    assert whole.startswith(got)
    assert len(deltas(language, got)) == 5


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503, 529])
def test_a_status_comes_with_the_dialects_error(language: str, stream: bool, status: int) -> None:
    script = ask(language, f"demo-fail{status}", stream=stream)
    assert script.status == status
    error = plain(script)
    if language == "messages":
        assert error["type"] == "error"
    assert str(status) in error["error"]["message"]
    assert b"retry-after" not in dict(script.headers)


def test_a_status_may_say_when_to_come_back() -> None:
    script = ask("chat", "demo-fail429r2")
    assert (script.status, dict(script.headers)[b"retry-after"]) == (429, b"2")
    assert plain(script)["error"]["type"] == "rate_limit_error"


def test_an_error_may_be_a_page() -> None:
    script = ask("chat", "demo-fail502-html", stream=True)
    assert (script.status, dict(script.headers)[b"content-type"]) == (502, b"text/html")
    assert sent(script).startswith(b"<html>")


@pytest.mark.parametrize("stream", [False, True])
def test_reset_and_empty_say_nothing(stream: bool) -> None:
    assert list(ask("chat", "demo-reset", stream=stream).steps) == [Cut()]
    script = ask("chat", "demo-empty", stream=stream)
    assert (script.status, list(script.steps)) == (200, [])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_plain_answer_breaks_in_its_own_ways(language: str) -> None:
    whole = sent(ask(language, "demo-fast"))
    assert list(ask(language, "demo-fast-stall20").steps) == [Stall()]
    for word, last in (("cut40", [Cut()]), ("end40", [])):
        script = ask(language, f"demo-fast-{word}")
        first, *rest = script.steps
        assert script.stream
        assert rest == last
        assert isinstance(first, Send)
        assert 0 < len(first.data) < len(whole)
    with pytest.raises(orjson.JSONDecodeError):
        plain(ask(language, "demo-fast-malformed15"))
    script = ask(language, "demo-fast-errorinband10")
    assert script.status == 200
    assert "error" in plain(script)


# the grammar


@pytest.mark.parametrize(
    ("model", "fields", "expected"),
    [
        ("demo", (), Manner()),
        ("gpt-4o-n5", (), Manner()),
        ("demo-fast", (), Manner(pace=0.0, first_token=0.0)),
        ("demo-slow", (), Manner(pace=0.1, first_token=1.0)),
        ("demo-n200-p20", (), Manner(tokens=200, pace=0.02)),
        ("demo-embed-d256", (), Manner(dimensions=256)),
        ("demo-fail429r2", (), Manner(fail=429, retry_after=2)),
        ("demo-fast-ttft500", (), Manner(pace=0.0, first_token=0.5)),
        ("demo", ("cut=40, ttft=500", " n=3 ,"), Manner(cut=40, first_token=0.5, tokens=3)),
        ("demo-cut40", ("cut=2",), Manner(cut=2)),
        ("gpt-4o", ("fail=503",), Manner(fail=503)),
        ("demo", ("reset", "empty,html,nodone,nousage"),
         Manner(reset=True, empty=True, html=True, no_done=True, no_usage=True)),
        ("demo", ("stall1,end2,malformed3,errorinband4,slowhead5,variant6,every7,first8",),
         Manner(stall=1, end=2, malformed=3, error_in_band=4, slow_head=0.005, variant=6, every=7, first=8)),
    ],
)  # fmt: skip
def test_names_and_fields_are_read(model: str, fields: tuple[str, ...], expected: Manner) -> None:
    assert manner(model, *fields) == expected


@pytest.mark.parametrize(
    "word", ["x", "cut", "cut-1", "20", "", "n", "fail", "fail200", "fail999", "cut4r2", "CUT4", "cut٣", "fast5", "n5x"]
)
def test_an_unknown_word_is_an_unknown_model(word: str) -> None:
    with pytest.raises(UnknownWord):
        manner(f"demo-{word}")
    script = ask("chat", f"demo-{word}")
    assert script.status == 404
    assert plain(script)["error"]["code"] == "model_not_found"


def test_header_fields_ask_for_faults_too() -> None:
    headers = [(b"x-demo-fault", b"cut=2"), (b"x-demo-pace", b"n=9, p=0, ttft=0"), (b"accept", b"*/*")]
    steps = list(ask("chat", stream=True, headers=headers).steps)
    assert steps[-1] == Cut()
    assert len(deltas("chat", sent(ask("chat", stream=True, headers=headers)))) == 2


def test_faults_of_some_requests_only() -> None:
    statuses = [ask("chat", "demo-fail503-every3", number=i).status for i in range(1, 8)]
    assert statuses == [200, 200, 503, 200, 200, 503, 200]
    statuses = [ask("chat", "demo-fail503-first2", number=i).status for i in range(1, 5)]
    assert statuses == [503, 503, 200, 200]


def test_a_slow_first_token_of_some_requests_only() -> None:
    firsts = [waits(ask("chat", "demo-n2-p7-ttft900-every2", stream=True, number=i)) for i in (1, 2)]
    assert firsts == [[0.05, 0.007], [0.9, 0.007]]
