"""Where new text meets what the client has: nothing twice, nothing lost, however it is cut into pieces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.events import Arguments, BlockEnd, BlockStart, Event, Finish, Text, Thought
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.prefill import LEAST_REPEAT, Continuation, Seam, beginning
from fastanchor.dialects.registry import dialect
from fastanchor.dialects.splice import transcript

LONG = "It is a heavy thing on a rope that holds a ship."
ANTHROPIC = dialect("anthropic")


def through(half: str, new: str, size: int = 1) -> str | None:
    """What a client gets to hear of the new text; None when it begins anew with other words."""
    seam = Seam(half)
    out = [seam.feed(new[i : i + size]) for i in range(0, len(new), size)] + [seam.end()]
    return None if seam.begun_anew else "".join(out)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize(
    ("half", "new", "heard"),
    [
        ("It is", " an anchor", " an anchor"),
        ("It is ", " an anchor", "an anchor"),  # refused at the end of a beginning, so said again
        ("It is ", "an anchor", "an anchor"),
        ("One.\n\n", "\n\nTwo.", "Two."),
        ("One.\n\n", "\nTwo.", "Two."),
        ("One.\n", "\n\nTwo.", "\nTwo."),
        ("ha", "ha", "ha"),  # too short to tell a repetition from what is meant
        ("ha", "haha", "haha"),
        (LONG, "", ""),
        (LONG, LONG, ""),
        (LONG, LONG + " And more.", " And more."),
        (LONG + " ", LONG + " And more.", "And more."),
        (LONG, "It is old.", "It is old."),
        (LONG, LONG[:LEAST_REPEAT] + "!", None),
        (LONG, LONG[: LEAST_REPEAT + 3], None),
        (LONG, LONG[:5], LONG[:5]),
    ],
)
def test_the_seam(half: str, new: str, heard: str | None, size: int) -> None:
    assert through(half, new, size) == heard


@given(half=st.text("ab \n", min_size=1), new=st.text("ab \n"), size=st.integers(1, 9))
def test_pieces_make_no_difference(half: str, new: str, size: int) -> None:
    assert through(half, new, size) == through(half, new, 1000)


@given(half=st.text("ab \n", min_size=LEAST_REPEAT), new=st.text("ab \n"))
def test_a_whole_repetition_is_never_heard(half: str, new: str) -> None:
    assert through(half, half + new) == new or len(half.rstrip()) < LEAST_REPEAT


def answering() -> Answering:
    return Answering(Call("anthropic", "m", b"{}"), "m", "req_1", 0)


def block(number: int, kind: str, delta: str) -> bytes:
    return (
        b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%s}\n\n'
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%s}\n\n'
        % (number, kind.encode(), number, delta.encode())
    )


START = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
)
STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
SAID = block(0, '{"type":"text","text":""}', '{"type":"text_delta","text":"It is "}')
THOUGHT = block(0, '{"type":"thinking","thinking":"","signature":""}', '{"type":"thinking_delta","thinking":"Hm"}')
SIGNED = b"".join(
    (
        THOUGHT,
        b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,',
        b'"delta":{"type":"signature_delta","signature":"s"}}\n\n',
    )
)
CALL = block(1, '{"type":"tool_use","id":"c","name":"f","input":{}}', '{"type":"input_json_delta","partial_json":"{"}')


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        (SAID, "It is"),
        (SAID + STOP % 0, ""),
        (THOUGHT, ""),
        (THOUGHT + STOP % 0 + SAID.replace(b'"index":0', b'"index":1'), ""),
        (block(0, '{"type":"text","text":""}', '{"type":"text_delta","text":" \\n"}'), ""),
    ],
    ids=["text", "ended text", "thinking", "text after thinking", "white space"],
)
def test_what_can_be_gone_on_from(sent: bytes, text: str) -> None:
    half = transcript(ANTHROPIC, START + sent)
    assert half is not None
    assert beginning(half) == text


@pytest.mark.parametrize("sent", [SIGNED, SIGNED + STOP % 0, SAID + STOP % 0 + CALL], ids=["signed", "ended", "call"])
def test_nothing_goes_on_behind_a_signature_or_in_a_call(sent: bytes) -> None:
    assert transcript(ANTHROPIC, START + sent) is None


def continued(answer: bytes) -> tuple[Continuation, list[Event]]:
    """The events that a client has in the end, its beginning first."""
    half = transcript(ANTHROPIC, START + SAID)
    assert half is not None
    relay = Continuation(ANTHROPIC, ANTHROPIC, answering().call, answering(), half)
    client = ANTHROPIC.decoder()
    return relay, [*client.feed(START + SAID), *client.feed(relay.feed(answer) + relay.end()), *client.end()]


FINISH = (
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":2}}\n\nevent: message_stop\ndata: {"type":"message_stop"}\n\n'
)
MORE = block(0, '{"type":"text","text":""}', '{"type":"text_delta","text":"old."}') + STOP % 0


def texts(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def test_one_block_goes_on() -> None:
    relay, events = continued(START + MORE + FINISH)
    assert relay.complete
    assert texts(events) == "It is old."
    assert sum(isinstance(event, BlockStart) for event in events) == 1
    assert sum(isinstance(event, BlockEnd) for event in events) == 1


def test_a_model_that_has_nothing_to_add_ends_the_answer() -> None:
    relay, events = continued(START + FINISH)
    assert relay.complete
    assert texts(events) == "It is "
    assert sum(isinstance(event, Finish) for event in events) == 1
    assert sum(isinstance(event, BlockEnd) for event in events) == 1


@pytest.mark.parametrize("text", [b"", MORE], ids=["at once", "after more text"])
def test_a_call_that_follows_has_a_block_of_its_own(text: bytes) -> None:
    number = 1 if text else 0
    call = CALL.replace(b'"index":1', b'"index":%d' % number) + STOP % number
    relay, events = continued(START + text + call + FINISH)
    assert relay.fault is None
    starts = [event for event in events if isinstance(event, BlockStart)]
    assert [start.block for start in starts] == [0, 1]
    assert [event.block for event in events if isinstance(event, Arguments)] == [1]


def test_thinking_in_the_midst_is_not_sent_on() -> None:
    relay, events = continued(START + THOUGHT)
    assert relay.fault is not None
    assert not any(isinstance(event, Thought) for event in events)
