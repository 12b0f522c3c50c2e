"""From an upstream's answer to the client's: pass-through when both speak the same, else one decoder and one encoder.

The engine sees one kind of thing, a `Relay`: bytes in, bytes out, and what is known so far. Faults never become bytes
here: `fault` is set, nothing more is given out, and the engine tells it in the client's dialect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from fastanchor.core.call import Call
from fastanchor.core.events import (
    CONTENT,
    Arguments,
    BlockStart,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Refusal,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering, Dialect, Observer, Target, Written
from fastanchor.dialects.embedding import EmbeddingDialect

BYTES_PER_TOKEN = 4

Relay: TypeAlias = Observer
"""What carries a streamed answer: an observer of equal dialects, or a `Translation`."""


def request(client: Dialect, source: Dialect, call: Call, target: Target) -> Written:
    """A call in the language of a provider that does not speak the client's.

    Raises:
        Fault: the call, or one of its fields, cannot be carried there.
    """
    if call.operation == "embeddings":
        return embedding(source).write_embedding(embedding(client).parse_embedding(call), target)
    if call.prompt is None:
        call.prompt = client.parse(call)
    return source.write(call.prompt, target)


def embedding(dialect: Dialect) -> EmbeddingDialect:
    """The dialect as one that has embeddings. Raises Fault when it has none."""
    if not isinstance(dialect, EmbeddingDialect):
        raise Fault(Kind.INVALID_REQUEST, "This model does not offer embeddings.", param="model")
    return dialect


def passthrough(dialect: Dialect, call: Call) -> Relay:
    """For an upstream that speaks the client's dialect."""
    return dialect.observer(call)


def translate(source: Dialect, client: Dialect, call: Call, answering: Answering) -> Relay:
    """For an upstream that speaks `source` to a client that speaks `client`."""
    return Translation(source, client, answering)


def whole(source: Dialect, client: Dialect, body: bytes, answering: Answering) -> bytes:
    """A complete answer, from one dialect to another.

    Raises:
        Fault: the answer is an error in disguise, or cannot be read.
    """
    if answering.call.operation == "embeddings":
        return embedding(client).write_embedding_answer(embedding(source).read_embedding(body), answering)
    events = source.read_answer(body)
    for event in events:
        if isinstance(event, Failed):
            raise event.fault
    if not any(isinstance(event, End) for event in events):
        raise Fault(Kind.MALFORMED_ANSWER)
    return client.write_answer(named(events, answering.renamed), answering)


def named(events: Iterable[Event], renamed: Mapping[str, str]) -> list[Event]:
    """The events with the client's own tool names."""
    if not renamed:
        return list(events)
    return [
        replace(event, tool_name=renamed[event.tool_name])
        if isinstance(event, BlockStart) and event.tool_name in renamed
        else event
        for event in events
    ]


class Translation:
    """One streamed answer on its way through events. See `contract.Observer`."""

    def __init__(self, source: Dialect, client: Dialect, answering: Answering) -> None:
        self.usage = Usage()
        self.stop: Stop | None = None
        self.started = False
        self.complete = False
        self.fault: Fault | None = None
        self._decoder = source.decoder()
        self._encoder = client.encoder(answering)
        self._renamed = answering.renamed
        self._size = 0

    @property
    def output_estimate(self) -> int:
        """Tokens: a quarter of the bytes of all text, thinking and arguments."""
        return -(-self._size // BYTES_PER_TOKEN)

    def feed(self, data: bytes) -> bytes:
        if self.complete or self.fault is not None:
            return b""
        return self._carry(self._decoder.feed(data))

    def end(self) -> bytes:
        if self.complete or self.fault is not None:
            return b""
        out = self._carry(self._decoder.end())
        if not self.complete and self.fault is None:
            self.fault = Fault(Kind.TRUNCATED)
        return out

    def _carry(self, events: list[Event]) -> bytes:
        for at, event in enumerate(events):
            if isinstance(event, Failed):
                self.fault = event.fault
                events = events[:at]
                break
            self._note(event)
        return self._encoder.feed(named(events, self._renamed)) if events else b""

    def _note(self, event: Event) -> None:
        if isinstance(event, CONTENT):
            self.started = True
        if isinstance(event, (Text, Thought, Refusal)):
            self._size += len(event.text.encode("utf-8", "replace")) if not event.text.isascii() else len(event.text)
        elif isinstance(event, Arguments):
            self._size += len(event.data)
        elif isinstance(event, Counted):
            self.usage.update(event.usage)
        elif isinstance(event, Finish):
            self.stop = event.stop
        elif isinstance(event, End):
            self.complete = True
