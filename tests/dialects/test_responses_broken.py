"""A native stream that breaks on its way through: what is added to it goes on from what the client has.

The parts of the provider are recordings of its API, cut after any of their events.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import openai
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import relay
from fastanchor.dialects.numbering import following
from fastanchor.dialects.openai_responses import DIALECT
from tests.dialects.responses_sdk import frames, read, read_events

ASKED = {"model": "m", "input": "hi", "stream": True}
NAMES = ("background-queued", "function-call", "logprobs", "reasoning-summary-encrypted", "text-final-turn")


def broken(sent: bytes, fault: Fault, size: int = 499) -> tuple[bytes, list[dict[str, Any]]]:
    """What the client gets of a stream that breaks off after these bytes, and the data of its events."""
    carrier = relay.passthrough(DIALECT, read(ASKED))
    out = b"".join(carrier.feed(sent[at : at + size]) for at in range(0, len(sent), size))
    out += relay.fault_event(carrier, DIALECT, fault, "req_1")
    return out, frames(out)


def events_of(recordings: Path, name: str) -> list[bytes]:
    body = (recordings / "openai-responses" / f"{name}.sse").read_bytes()
    return [event + b"\n\n" for event in body.split(b"\n\n") if event.strip()]


@pytest.mark.parametrize("name", NAMES)
def test_the_error_counts_on_wherever_the_stream_breaks(recordings: Path, name: str) -> None:
    events = events_of(recordings, name)
    first = orjson.loads(events[0].split(b"data: ")[1])
    for count in range(1, len(events)):
        _, told = broken(b"".join(events[:count]), Fault(Kind.TRUNCATED))
        assert [frame["sequence_number"] for frame in told] == list(range(count + 2))
        assert [frame["type"] for frame in told[-2:]] == ["error", "response.failed"]
        assert told[-1]["response"]["id"] == first["response"]["id"]
        assert told[-1]["response"]["model"] == first["response"]["model"]
        assert told[-1]["response"]["created_at"] == first["response"]["created_at"]


@pytest.mark.parametrize("name", NAMES)
def test_the_official_client_raises_what_broke(recordings: Path, name: str) -> None:
    out, _ = broken(b"".join(events_of(recordings, name)[:-1]), Fault(Kind.STALLED))
    with pytest.raises(openai.APIError, match="stopped in the middle") as told:
        read_events(out)
    assert told.value.code == "model_unavailable"


def test_a_comment_after_the_last_event_takes_no_number(recordings: Path) -> None:
    sent = b"".join(events_of(recordings, "text-final-turn")[:6])
    told = broken(sent + b": keep-alive\n\n", Fault(Kind.RESET), size=len(sent))[1]
    assert [frame["sequence_number"] for frame in told] == list(range(8))


def test_a_stream_without_numbers_gets_errors_from_zero() -> None:
    told = broken(b'data: {"type":"response.output_text.delta","delta":"x"}\n\n', Fault(Kind.RESET))[1]
    assert [frame.get("sequence_number") for frame in told] == [None, 0, 1]


@given(st.text(max_size=40), st.integers(0, 10**9))
def test_a_text_that_looks_like_a_number_is_none(text: str, number: int) -> None:
    event = {"type": "response.output_text.delta", "sequence_number": number, "delta": f'"sequence_number": 7{text}'}
    assert following(b"data: " + orjson.dumps(event) + b"\n\n") == number + 1
