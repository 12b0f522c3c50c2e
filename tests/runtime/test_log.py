"""One request, one line; nothing waits for a log, and nothing in it can break a line."""

from __future__ import annotations

import os
from dataclasses import replace

import orjson
import pytest

from fastanchor.core.principal import ANYONE
from fastanchor.core.receipt import AttemptRecord, Receipt
from fastanchor.core.usage import Usage
from fastanchor.runtime.log import MAX_PENDING, MAX_VALUE, RENDER, STRANGERS_PER_SECOND, AccessLog, attempt

RECEIPT = Receipt(
    request_id="req_1", started=1.7e9, dialect="openai_chat", endpoint="chat.completions", client="127.0.0.1:1",
    key_id="k", organization="o", model="m", served_model="m", channel="c", provider="openai", stream=True,
    status=200, ending="done", seconds=0.5, first_token=0.1, overhead=0.001, usage=Usage(3, 4), cost=12,
    bytes_in=10, bytes_out=20,
)  # fmt: skip
NASTY = "a\r\nb\x1b[31m\u2028\x00" + "x" * 10_000


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_is_a_line_whatever_a_client_sends(form: str) -> None:
    line = RENDER[form](replace(RECEIPT, model=NASTY))
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b"\x1b" not in line
    assert len(line) < 4 * MAX_VALUE + 1000


def test_attempts_are_told_when_there_was_more_than_one() -> None:
    attempts = [AttemptRecord("a", "m", 0, "first", "reset"), AttemptRecord("b", "m", 0, "next_channel", "won")]
    told = orjson.loads(RENDER["json"](replace(RECEIPT, attempts=tuple(attempts))))
    assert [text.split(":")[:3] for text in told["attempts"]] == [["a", "first", "reset"], ["b", "next_channel", "won"]]
    assert "attempts" not in orjson.loads(RENDER["json"](replace(RECEIPT, attempts=tuple(attempts[1:]))))


def test_what_does_not_fit_is_dropped_and_counted() -> None:
    log = AccessLog("json")
    for _ in range(MAX_PENDING + 3):
        log(RECEIPT)
    assert (len(log.pending), log.dropped) == (MAX_PENDING, 3)


def test_strangers_have_so_many_lines_in_a_second() -> None:
    log = AccessLog("json")
    stranger = replace(RECEIPT, key_id=ANYONE.key_id, status=401, ending="invalid_api_key")
    for second in range(2):
        for _ in range(STRANGERS_PER_SECOND + 5):
            log(replace(stranger, started=RECEIPT.started + second))
    for other in (RECEIPT, replace(RECEIPT, status=400), replace(stranger, status=200), replace(stranger, status=503)):
        log(other)
    assert (len(log.pending), log.dropped) == (2 * STRANGERS_PER_SECOND + 4, 10)


def test_lines_reach_the_descriptor() -> None:
    reader, writer = os.pipe()
    log = AccessLog("json", writer)
    log.write([RECEIPT, RECEIPT])
    os.close(writer)
    with os.fdopen(reader, "rb") as lines:
        assert [orjson.loads(line)["request_id"] for line in lines] == ["req_1", "req_1"]


def test_a_reader_that_has_gone_costs_its_lines_only() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    log = AccessLog("json", writer)
    log.write([RECEIPT])
    os.close(writer)
    assert log.dropped == 1


def test_an_attempt_is_told_with_what_it_used() -> None:
    used = AttemptRecord("a", "m", 0, "first", "lost", seconds=0.0123, usage=Usage(90, 5), cost=480)
    assert attempt(used) == "a:first:lost:12ms:90/5:0.000480"
    assert attempt(AttemptRecord("a", "m", 0, "first", "reset", seconds=0.5)) == "a:first:reset:500ms"
