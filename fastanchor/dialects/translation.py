"""One streamed answer on its way through events: a decoder, an encoder, and a lane that knows the way of plain deltas.

The general way is decoder → encoder, event by event. Between formats whose streams consist of small deltas a lane goes
beside it (see `_speedups.translate`): it repeats what the general way did with the last delta. What it asks of decoders
and encoders, and what those in the tables below keep:

- A delta that came alone, or with counters, changes nothing but counters when it comes again with another text: the
  decoder's state is the same before and after, and the encoder's, but for sums over texts and the texts themselves.
- So what the lane has carried is told to the encoder afterwards as one delta with all the texts, and the bytes that it
  makes of that are thrown away. `number` of the encoder, if it has one, is set to where the lane has come.
- Counters of a source are cumulative: of those that the lane has seen, the last are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

import orjson

from fastanchor._speedups import _translate_pure, translate
from fastanchor._speedups.pump import Middle
from fastanchor.core.events import (
    CONTENT,
    Arguments,
    BlockEnd,
    BlockStart,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Refusal,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering, Dialect, FinalEncoder
from fastanchor.dialects.numbering import Numbered
from fastanchor.dialects.stop_sequences import decoder
from fastanchor.dialects.unwrapping import wanted

BYTES_PER_TOKEN = 4

Delta: TypeAlias = Text | Refusal | Thought | Arguments

_IDLE = {"anthropic": (), "gemini": (), "openai_chat": (b"obfuscation",)}
"""Sources whose deltas a lane may carry, and the members of their events that no decoder reads."""

_COUNTS = {"gemini": b"usageMetadata", "openai_chat": b"usage"}

_COUNTERS = {"anthropic": b"", "openai_chat": b"", "openai_responses": b'"sequence_number":'}
"""Clients whose events a lane may write, and the member that numbers them."""


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
    """See `contract.Observer`."""

    def __init__(self, source: Dialect, client: Dialect, answering: Answering) -> None:
        self.stop: Stop | None = None
        self.started = False
        self.complete = False
        self.fault: Fault | None = None
        self._usage = Usage()
        self._decoder = decoder(source, answering)
        self._encoder = client.encoder(answering)
        self._renamed = answering.renamed
        self._size = 0
        self._lane = lane(source.name, client.name, learns=not answering.stops and not wanted(answering))
        self._delta: Delta | None = None  # what the lane has learned last
        self._numbered = self._encoder if isinstance(self._encoder, Numbered) else None

    @property
    def usage(self) -> Usage:
        self._settle()
        return self._usage

    @property
    def final(self) -> bytes:
        """The whole answer as its terminal event tells it, where the client's dialect has that (Responses)."""
        return self._encoder.final if isinstance(self._encoder, FinalEncoder) else b""

    def failed(self, fault: Fault) -> bytes:
        """The fault as the end of this stream, which goes on from what it has said."""
        self._settle()
        return self._encoder.feed((Failed(fault),))

    @property
    def output_estimate(self) -> int:
        """Tokens: a quarter of the bytes of all text, thinking and arguments."""
        self._settle()
        return -(-self._size // BYTES_PER_TOKEN)

    @property
    def middle(self) -> Middle:
        return self._lane.feed, self._general

    def feed(self, data: bytes) -> bytes:
        if self.complete or self.fault is not None:
            return b""
        return self._lane.feed(data, self._general)

    def end(self) -> bytes:
        if self.complete or self.fault is not None:
            return b""
        self._settle()
        out = self._carry(self._decoder.end())
        if not self.complete and self.fault is None:
            self.fault = Fault(Kind.TRUNCATED)
        return out

    def _general(self, data: bytes, whole: bool) -> bytes:
        """The general way. `whole`: these are the bytes of one event."""
        if self.complete or self.fault is not None:
            return b""
        self._settle()
        events = self._decoder.feed(data)
        out = self._carry(events)
        self._teach(data if whole else b"", events, out)
        if self._numbered is not None:
            self._lane.number = self._numbered.number
        return out

    def _teach(self, raw: bytes, events: list[Event], out: bytes) -> None:
        """Show the lane what became of one event."""
        delta = alone(events) if raw else None
        text = quoted(delta) if delta is not None else b""
        if text:
            self._delta = delta
            self._lane.learn(raw, text, out)
        elif not raw or events != [_PING]:
            self._lane.forget()

    def _settle(self) -> None:
        """Tell everybody what the lane has carried."""
        text, last = self._lane.take()
        if not text or self._delta is None:
            return
        self._tell(again(self._delta, orjson.loads(text)))
        for event in self._decoder.feed(last) if last else ():
            if isinstance(event, Counted):
                self._tell(event)
        if self._numbered is not None:
            self._numbered.number = self._lane.number

    def _tell(self, event: Event) -> None:
        """Take note of an event that has already been written."""
        self._note(event)
        self._encoder.feed([event])

    def _carry(self, events: list[Event]) -> bytes:
        for at, event in enumerate(events):
            if isinstance(event, Failed):
                self.fault = event.fault
                events = _broken_off(events[:at])
                break
            self._note(event)
        return self._encoder.feed(named(events, self._renamed)) if events else b""

    def _note(self, event: Event) -> None:
        if isinstance(event, CONTENT):
            self.started = True
        if isinstance(event, (Text, Thought, Refusal, Arguments)):
            self._size += size(event)
        elif isinstance(event, Counted):
            self._usage.update(event.usage)
        elif isinstance(event, Finish):
            self.stop = event.stop
        elif isinstance(event, End):
            self.complete = True


_PING = Ping()


def size(event: Event) -> int:
    """Bytes of text, thinking or arguments, 0 for other events."""
    if isinstance(event, (Text, Thought, Refusal)):
        return len(event.text) if event.text.isascii() else len(event.text.encode("utf-8", "replace"))
    return len(event.data) if isinstance(event, Arguments) else 0


def lane(source: str, client: str, *, learns: bool) -> translate.Lane:
    """The lane between two dialects; where none pays, or the decoder heeds what a text says, one that never learns."""
    if not learns or source not in _IDLE or client not in _COUNTERS:
        return _translate_pure.Lane()
    return translate.Lane(idle=_IDLE[source], counts=_COUNTS.get(source, b""), counter=_COUNTERS[client])


def alone(events: list[Event]) -> Delta | None:
    """The delta that came alone or with counters, and has nothing but a text."""
    if not events or len(events) > 2 or (len(events) == 2 and not isinstance(events[1], Counted)):
        return None
    first = events[0]
    if not isinstance(first, (Text, Refusal, Thought, Arguments)):
        return None
    return first if isinstance(first, (Thought, Arguments)) or not first.logprobs else None


def quoted(delta: Delta) -> bytes:
    """The text of a delta as a JSON string; b"" when it is none, as a character cut in two."""
    try:
        return orjson.dumps(delta.data.decode() if isinstance(delta, Arguments) else delta.text)
    except (UnicodeDecodeError, orjson.JSONEncodeError):
        return b""


def again(delta: Delta, text: str) -> Delta:
    """The same delta with another text."""
    return replace(delta, data=text.encode()) if isinstance(delta, Arguments) else replace(delta, text=text)


def _broken_off(events: list[Event]) -> list[Event]:
    """What came before a failure: blocks that were closed only because of it stay open, for another answer may go on
    with them."""
    while events and isinstance(events[-1], BlockEnd):
        events = events[:-1]
    return events
