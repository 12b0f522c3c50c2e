"""An event that was cut off within its frame, anywhere in a stream: words may be lost with it, so the answer fails.

In every dialect, where bytes pass through as where they are translated; nothing of it is shown, and nothing after it.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from fastanchor.core.call import Call
from fastanchor.core.faults import Kind
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Answering

STREAMS = {
    "openai_chat": "openai-chat/parallel-tool-calls.sse", "openai_completions": "openai-completions/text.sse",
    "openai_responses": "openai-responses/text-final-turn.sse", "anthropic": "anthropic/thinking-text.sse",
    "gemini": "gemini/thinking-thought-parts.sse",
}  # fmt: skip
CUT = {
    # what a provider's event looks like, up to the middle of a text
    "openai_chat": b'data: {"choices":[{"index":0,"delta":{"content":"lost wo',
    "openai_completions": b'data: {"choices":[{"index":0,"text":"lost wo',
    "openai_responses": b'data: {"type":"response.output_text.delta","output_index":0,"delta":"lost wo',
    "anthropic": b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"lost wo',
    "gemini": b'data: {"candidates":[{"content":{"parts":[{"text":"lost wo',
}
BREAK = b"\n\n"


def events_of(recordings: Path, dialect: str) -> list[bytes]:
    data = (recordings / STREAMS[dialect]).read_bytes().replace(b"\r\n", b"\n")
    return [event + BREAK for event in data.split(BREAK) if event.strip()]


def carrier(source: str, client: str) -> relay.Relay:
    call = Call(client, "m", b"{}", stream=True, include_usage=True, options={"framing": "sse"})
    one, other = registry.dialect(source), registry.dialect(client)
    if one is other:
        return relay.passthrough(one, call)
    return relay.translate(one, other, call, Answering(call, "m", "req_1", 1))


@pytest.mark.parametrize("client", STREAMS)
@pytest.mark.parametrize("source", STREAMS)
def test_a_cut_event_ends_the_answer_wherever_it_comes(recordings: Path, source: str, client: str) -> None:
    events = events_of(recordings, source)
    for at in range(0, len(events), max(1, len(events) // 6)):
        one = carrier(source, client)
        out = b"".join(map(one.feed, events[:at]))
        if one.complete:
            break
        for data in (CUT[source] + BREAK, *events[at:]):
            out += one.feed(data)
        assert one.fault is not None, at
        assert one.fault.kind is Kind.MALFORMED_ANSWER, at
        assert one.end() == b""
        assert b"lost wo" not in out
        if source == client:
            assert b"".join(events).startswith(out)
