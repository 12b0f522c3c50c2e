"""Answers that a model was made to give as the arguments of a tool, because it has no other way to keep to a schema.

The writer of such a request names the tool with "" in `Written.renamed`: the client has no tool of that name. What the
model calls it with is then the answer's text, and a call of nothing else is a plain end.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import replace

from fastanchor.core.events import Arguments, Block, BlockEnd, BlockStart, Event, Finish, Signature, Stop, Text
from fastanchor.dialects.contract import Answering, Decoder


def wanted(answering: Answering) -> bool:
    """Whether there is such a tool."""
    return "" in answering.renamed.values()


class Unwrapping:
    """A decoder of such an answer. See `contract.Decoder`."""

    def __init__(self, decoder: Decoder, answering: Answering) -> None:
        self._decoder = decoder
        self._events = Unwrapped(answering)

    def feed(self, data: bytes) -> list[Event]:
        return self._events.feed(self._decoder.feed(data))

    def end(self) -> list[Event]:
        return self._events.feed(self._decoder.end())


class Unwrapped:
    """The events of one answer, with the tool's arguments for its text."""

    def __init__(self, answering: Answering) -> None:
        self._names = {sent for sent, own in answering.renamed.items() if not own}
        self._texts: dict[int, codecs.IncrementalDecoder] = {}  # open blocks that are the answer
        self._said: set[int] = set()
        self._called = False  # a tool of the client's own

    def feed(self, events: Iterable[Event]) -> list[Event]:
        return [one for event in events for one in self._take(event)]

    def _take(self, event: Event) -> list[Event]:
        if isinstance(event, BlockStart) and event.kind is Block.TOOL:
            return [self._start(event)]
        if isinstance(event, Finish) and event.stop is Stop.TOOL_CALLS and not self._called:
            return [replace(event, stop=Stop.END)]
        if not isinstance(event, (Arguments, BlockEnd, Signature)) or event.block not in self._texts:
            return [event]
        if isinstance(event, Arguments):
            return self._text(event.block, event.data)
        return self._end(event) if isinstance(event, BlockEnd) else []

    def _start(self, event: BlockStart) -> Event:
        if event.tool_name not in self._names:
            self._called = True
            return event
        self._texts[event.block] = codecs.getincrementaldecoder("utf-8")("replace")
        return BlockStart(event.block, Block.TEXT, event.choice)

    def _text(self, block: int, data: bytes, *, last: bool = False) -> list[Event]:
        text = self._texts[block].decode(data, last)
        if text:
            self._said.add(block)
        return [Text(block, text)] if text else []

    def _end(self, event: BlockEnd) -> list[Event]:
        """No arguments at all are an empty object."""
        rest = self._text(event.block, b"", last=True)
        if event.block not in self._said:
            rest = [Text(event.block, "{}")]
        del self._texts[event.block]
        return [*rest, event]
