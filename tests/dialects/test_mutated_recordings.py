"""Recordings with bytes flipped, left out, doubled, put in or in another order, through every decoder.

Whatever comes of it: nothing is raised but a Fault, the events keep the grammar, and the answer ends once, whole or
failed, for every client. `--slow` runs a hundred times as many.
"""

from __future__ import annotations

import re
from pathlib import Path
from random import Random

import pytest

from fastanchor.core.call import Call
from fastanchor.core.events import Ping
from fastanchor.core.faults import Fault
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Answering
from tests.dialects.chat_kit import check_grammar
from tests.interop import cells

TIMES = 200
TOKENS = (
    b"null", b'""', b"[]", b"{}", b"-1", b"1e999", b"true", b"99999999999999999999", b'"\\ud800"', b'"\xff"', b'{"a":',
    b"\n\n", b"data: ", b"[DONE]", b"\r", b"\x00",
)  # fmt: skip
VALUE = re.compile(rb':\s*("(?:[^"\\]|\\.){0,60}"|-?\d+|null|true|false|\{\}|\[\])')


def mutated(random: Random, body: bytes) -> bytes:
    for _ in range(random.choice((1, 1, 1, 2, 3, 8))):
        body = random.choice((_flip, _leave_out, _double, _put_in, _put_in, _replace, _cut, _reorder))(random, body)
    return body


def _span(random: Random, body: bytes) -> tuple[int, int]:
    start = random.randrange(len(body) + 1)
    return start, min(len(body), start + random.choice((1, 2, 5, 40, 400)))


def _flip(random: Random, body: bytes) -> bytes:
    start, _ = _span(random, body)
    return body[:start] + bytes([random.randrange(256)]) + body[start + 1 :]


def _leave_out(random: Random, body: bytes) -> bytes:
    start, end = _span(random, body)
    return body[:start] + body[end:]


def _double(random: Random, body: bytes) -> bytes:
    start, end = _span(random, body)
    return body[:end] + body[start:]


def _put_in(random: Random, body: bytes) -> bytes:
    start, _ = _span(random, body)
    return body[:start] + random.choice(TOKENS) + body[start:]


def _replace(random: Random, body: bytes) -> bytes:
    found = list(VALUE.finditer(body))
    if not found:
        return body
    value = random.choice(found)
    return body[: value.start(1)] + random.choice(TOKENS[:10]) + body[value.end(1) :]


def _cut(random: Random, body: bytes) -> bytes:
    return body[: _span(random, body)[0]]


def _reorder(random: Random, body: bytes) -> bytes:
    events = body.split(b"\n\n")
    events.insert(random.randrange(len(events) + 1), random.choice(events))
    if random.random() < 0.3:
        random.shuffle(events)
    return b"\n\n".join(events)


def check_stream(random: Random, source: str, client: str, body: bytes) -> None:
    decoder = registry.dialect(source).decoder()
    events = [event for piece in cells.split(body, str(random.random())) for event in decoder.feed(piece)]
    check_grammar([event for event in events + decoder.end() if not isinstance(event, Ping)])
    call = Call(client, "m", b"{}", stream=True, include_usage=True, prompt_tokens=7, options={"framing": "sse"})
    one, other = registry.dialect(source), registry.dialect(client)
    answering = Answering(call, "m", "req_1", 1)
    carrier = relay.passthrough(other, call) if one is other else relay.translate(one, other, call, answering)
    for piece in cells.split(body, str(random.random())):
        carrier.feed(piece)
    carrier.end()
    assert carrier.complete or carrier.fault is not None
    assert carrier.output_estimate >= 0
    if carrier.fault is not None:
        assert relay.fault_event(carrier, other, carrier.fault, "req_1")


def check_whole(source: str, client: str, body: bytes) -> None:
    one, other = registry.dialect(source), registry.dialect(client)
    one.usage_of(body)
    call = Call(client, "m", b"{}", prompt_tokens=7)
    try:
        assert relay.whole(one, other, body, Answering(call, "m", "req_1", 1))
    except Fault as fault:
        assert fault.message  # noqa: PT017 - which one it is depends on what was broken


@pytest.mark.parametrize("source", cells.CLIENTS)
def test_a_damaged_recording_never_breaks_more_than_its_own_answer(
    recordings: Path, request: pytest.FixtureRequest, source: str
) -> None:
    random = Random(source)
    names = [name for name in cells.names(recordings) if cells.source_of(name) == source]
    bodies = {name: (recordings / name).read_bytes() for name in names}
    for _ in range(TIMES * (100 if request.config.getoption("--slow") else 1)):
        name, client = random.choice(names), random.choice(cells.CLIENTS)
        body = mutated(random, bodies[name])
        try:
            if cells.is_stream(name):
                check_stream(random, source, client, body)
            else:
                check_whole(source, client, body)
        except Exception as error:
            raise AssertionError(f"{name} for {client}: {body!r}") from error
