"""The judge finds what is wrong: a promise that cannot be broken would be none."""

from __future__ import annotations

import orjson
import pytest

from fastanchor.core.receipt import AttemptRecord, Receipt
from fastanchor.core.route import Route
from fastanchor.core.usage import Usage
from fastanchor.lab.catalogue import CATALOGUE, Case
from fastanchor.lab.client import MemoryReply
from fastanchor.lab.judge import Setting, complaints, told
from fastanchor.lab.stage import Outcome

SETTING = Setting(Route(), 1, True, 1.2, "one two")
ERROR = b'{"error":{"code":"upstream_error"}}'


def case(name: str) -> Case:
    return next(case for case in CATALOGUE if case.fault.name == name)


def reply(body: bytes, status: int = 200, ended: str = "whole") -> MemoryReply:
    return MemoryReply(status, {}, [(0.0, body)], ended, started=True)


def streamed(*words: str, ended: str = "whole", last: bytes = b"data: [DONE]\n\n") -> MemoryReply:
    pieces = [b"data: " + orjson.dumps({"choices": [{"delta": {"content": word}}]}) + b"\n\n" for word in words]
    return reply(b"".join(pieces) + last, ended=ended)


def outcome(got: MemoryReply, attempts: int = 2, seconds: float = 2.0) -> Outcome:
    records = tuple(AttemptRecord("main", "m", 0, "first", "won") for _ in range(attempts))
    words = ("", "", "", "", "", "m", "m", "main", "")
    receipt = Receipt("r", 0.0, *words, True, 200, "done", seconds, None, 0.0, Usage(), 0, 0, 0, records)
    return Outcome(got, seconds, receipt)


def test_a_kept_promise_has_no_complaint() -> None:
    assert complaints(case("cut40"), SETTING, outcome(streamed("one ", "two"))) == []


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("cut40", outcome(streamed("one "))),
        ("cut40", outcome(streamed("one ", "one ", "two"))),
        ("cut40", outcome(streamed("one ", ended="cut", last=b"data: " + ERROR + b"\n\n"))),
        ("cut40", outcome(streamed("one ", ended="cut", last=b""))),
        ("500", outcome(reply(ERROR, 500))),
        ("500", outcome(streamed("one ", "two"), attempts=4)),
        ("silent", outcome(streamed("one ", "two"), seconds=14.0)),
        ("400, invalid", outcome(streamed("one ", "two"), attempts=1)),
        ("400, invalid", outcome(reply(ERROR, 400), attempts=2)),
        ("cut40", outcome(reply(b"not an event stream"))),
    ],
)
def test_a_broken_promise_has_one(name: str, found: Outcome) -> None:
    assert complaints(case(name), SETTING, found)


@pytest.mark.parametrize(
    ("got", "words"),
    [
        (reply(ERROR, 502), "error 502 upstream_error"),
        (reply(b"<html>", 502), "error 502 "),
        (reply(b"x"), "whole"),
        (reply(b"data: {}\n\ndata: " + ERROR + b"\n\n", ended="cut"), "broken off: upstream_error"),
        (reply(b"data: {}\n\n", ended="cut"), "CUT WITHOUT A WORD"),
        (reply(b"data: {}\n\n", ended=""), "CUT WITHOUT A WORD"),
    ],
)
def test_outcomes_in_words(got: MemoryReply, words: str) -> None:
    assert told(got) == words
