"""Stop sequences for an upstream that cannot be asked to stop: the answer ends here where the first of them begins.

What may be the beginning of a sequence is held back until it is known not to be. Text only: thinking and tool
arguments are not looked at, as vendors do not. After the end nothing the upstream says counts any more, its usage
neither; the usage told instead is estimated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fastanchor.core.events import (
    Arguments,
    Block,
    BlockEnd,
    BlockStart,
    Counted,
    End,
    Event,
    Finish,
    Refusal,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.usage import Usage
from fastanchor.dialects import unwrapping
from fastanchor.dialects.contract import Answering, Decoder, Dialect

BYTES_PER_TOKEN = 4
MAX_SEQUENCES = 16
MAX_LENGTH = 1024
"""Characters of one sequence."""


class StopSequences:
    """The events of one answer, up to a stop sequence.

    Args:
        prompt_tokens: an estimate, for the usage of an answer that is ended.
    """

    def __init__(self, sequences: Sequence[str], prompt_tokens: int) -> None:
        self._sequences = sequences
        self._longest = max(map(len, sequences))
        self._prompt_tokens = prompt_tokens
        self._open: dict[int, Block] = {}
        self._held: dict[int, str] = {}  # of each open block of text
        self._size = 0
        self._ended = False

    def feed(self, events: Sequence[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            if self._ended:
                break
            out += self._take(event)
        return out

    def _take(self, event: Event) -> list[Event]:
        if isinstance(event, BlockStart):
            self._open[event.block] = event.kind
        elif isinstance(event, Text):
            return self._text(event)
        elif isinstance(event, BlockEnd):
            self._open.pop(event.block, None)
            rest = self._held.pop(event.block, "")
            return [Text(event.block, rest), event] if rest else [event]
        elif isinstance(event, (Thought, Refusal)):
            self._size += len(event.text)
        elif isinstance(event, Arguments):
            self._size += len(event.data)
        return [event]

    def _text(self, event: Text) -> list[Event]:
        held = self._held.get(event.block, "")
        text = held + event.text
        self._size += len(event.text)
        found = min(((at, one) for one in self._sequences if (at := text.find(one)) >= 0), default=None)
        if found is not None:
            return self._stopped(event.block, text[: found[0]], found[1])
        kept = self._beginning(text)
        self._held[event.block] = text[len(text) - kept :]
        if not held and not kept:
            return [event]
        said = text[: len(text) - kept]
        return [replace(event, text=said, logprobs=b"" if held or kept else event.logprobs)] if said else []

    def _beginning(self, text: str) -> int:
        """How many of the last characters may begin a sequence."""
        for size in range(min(self._longest - 1, len(text)), 0, -1):
            tail = text[-size:]
            if any(one.startswith(tail) for one in self._sequences):
                return size
        return 0

    def _stopped(self, block: int, text: str, sequence: str) -> list[Event]:
        self._ended = True
        usage = Usage(input=self._prompt_tokens, output=-(-self._size // BYTES_PER_TOKEN), estimated=True)
        return [
            *([Text(block, text)] if text else []),
            *(BlockEnd(one) for one in self._open),
            Finish(Stop.STOP_SEQUENCE, sequence=sequence),
            Counted(usage),
            End(),
        ]


def decoder(source: Dialect, answering: Answering) -> Decoder:
    """For one streamed answer, which ends where the call's own stop sequences say so, and is not in a tool's call."""
    plain: Decoder = source.decoder()
    if unwrapping.wanted(answering):
        plain = unwrapping.Unwrapping(plain, answering)
    return Stopping(plain, _of(answering)) if answering.stops else plain


def cut(events: list[Event], answering: Answering) -> list[Event]:
    """A whole answer, likewise."""
    if unwrapping.wanted(answering):
        events = unwrapping.Unwrapped(answering).feed(events)
    return _of(answering).feed(events) if answering.stops else events


def _of(answering: Answering) -> StopSequences:
    return StopSequences(answering.stops, answering.call.prompt_tokens)


class Stopping:
    """A decoder whose answer ends at a stop sequence. See `contract.Decoder`."""

    def __init__(self, decoder: Decoder, stops: StopSequences) -> None:
        self._decoder = decoder
        self._stops = stops

    def feed(self, data: bytes) -> list[Event]:
        return self._stops.feed(self._decoder.feed(data))

    def end(self) -> list[Event]:
        return self._stops.feed(self._decoder.end())
