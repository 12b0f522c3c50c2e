"""One candidate of an answer on its way in: its parts become blocks.

Gemini has no marks for the beginning and the end of a block: a change of kind closes what was open. A function call is
whole in one part, or, with argument streaming, opened by a named part and closed by an empty one, by any other part, or
by the end (the closing part can be missing).
"""

from __future__ import annotations

from msgspec import Raw

from fastanchor.core.events import (
    Arguments,
    Block,
    BlockEnd,
    BlockStart,
    Citation,
    Event,
    Finish,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.events import Raw as RawEvent
from fastanchor.dialects.gemini import words
from fastanchor.dialects.gemini.answers import Candidate, FunctionCall, Part, given, part
from fastanchor.dialects.gemini.partial import PartialArguments

NAME = "gemini"
MAX_BLOCKS = 4096
MAX_CALLS = 512

_PLAIN = frozenset({b"{}", b""})


class Numbers:
    """The numbers of blocks and calls over the whole answer, within bounds."""

    def __init__(self) -> None:
        self.response_id = ""
        self._blocks = 0
        self._calls = 0

    def block(self) -> int:
        """The next block. Raises ValueError over the bound."""
        if self._blocks == MAX_BLOCKS:
            raise ValueError("too many blocks")
        self._blocks += 1
        return self._blocks - 1

    def call(self, given_id: str | None) -> str:
        """The id of the next call: Gemini's, else one made from the response id. Raises ValueError over the bound."""
        if self._calls == MAX_CALLS:
            raise ValueError("too many calls")
        self._calls += 1
        return given_id or "_".join(filter(None, ("call", self.response_id, str(self._calls - 1))))


class CandidateReader:
    """The state of one candidate."""

    def __init__(self, index: int, numbers: Numbers) -> None:
        self.finish = ""  # the last finishReason; held, since parts may follow it
        self.content = False  # anything that makes an answer
        self._index = index
        self._numbers = numbers
        self._block = -1
        self._kind: Block | None = None
        self._partial: PartialArguments | None = None
        self._called = False

    def take(self, candidate: Candidate) -> list[Event]:
        """The events of one document. Raises ValueError (DecodeError, Misplaced) for what cannot be read."""
        scores = words.scores_in(candidate.logprobs_result)
        events: list[Event] = []
        for raw in candidate.content.parts or () if candidate.content else ():
            read = part(raw)
            if read.text and scores and not read.thought:
                events += self._text(read, scores)
                scores = b""
            else:
                events += self._part(read, raw)
        events += self._citations(candidate)
        if candidate.finish_reason not in (None, *words.UNSPECIFIED):
            self.finish = candidate.finish_reason or ""
        return events

    def end(self) -> list[Event]:
        """Close what is open."""
        return self._close()

    def finished(self) -> Finish:
        """Why it ended. Only a plain end becomes TOOL_CALLS: a truncated call must not look like one to run."""
        stop = words.STOPS.get(self.finish, Stop.UNKNOWN)
        if stop is Stop.END and self._called:
            stop = Stop.TOOL_CALLS
        return Finish(stop, self._index, native=self.finish)

    def _part(self, read: Part, raw: Raw) -> list[Event]:
        if read.function_call is not None:
            return self._call(read.function_call, read.thought_signature or "")
        if read.text is not None:
            return self._text(read)
        if bytes(raw).strip() in _PLAIN:
            return []
        self.content = True
        number = self._numbers.block()
        hosted = BlockStart(number, Block.HOSTED, self._index, dialect=NAME, data=bytes(raw))
        return [*self._close(), hosted, BlockEnd(number)]

    def _text(self, read: Part, scores: bytes = b"") -> list[Event]:
        events: list[Event] = []
        kind = Block.THOUGHT if read.thought else Block.TEXT
        if read.text:
            events += self._open(kind)
            events.append(Thought(self._block, read.text) if read.thought else Text(self._block, read.text, scores))
            self.content = True
        if not read.thought_signature:
            return events
        if self._kind in (Block.TEXT, Block.THOUGHT):
            return [*events, Signature(self._block, NAME, read.thought_signature)]
        return [*events, RawEvent(None, NAME, b'{"thoughtSignature":"%s"}' % read.thought_signature.encode())]

    def _call(self, call: FunctionCall, signature: str) -> list[Event]:
        if not call.name:
            return self._continue(call)
        events = self._close()
        self._block, self._kind = self._numbers.block(), Block.TOOL
        self._called = self.content = True
        tool_id = self._numbers.call(call.id)
        events.append(BlockStart(self._block, Block.TOOL, self._index, tool_id=tool_id, tool_name=call.name))
        if signature:
            events.append(Signature(self._block, NAME, signature))
        if call.will_continue or call.partial_args:
            self._partial = PartialArguments()
            return [*events, *self._continue(call)]
        events += [Arguments(self._block, given(call.args) or b"{}"), BlockEnd(self._block)]
        self._kind = None
        return events

    def _continue(self, call: FunctionCall) -> list[Event]:
        """A part of a streamed call. Without an open call, an empty one says nothing."""
        if self._partial is None:
            if call.partial_args or given(call.args) not in _PLAIN:
                raise ValueError("arguments of a call without a name")
            return []
        for piece in call.partial_args or ():
            self._partial.add(piece)
        return [] if call.will_continue else self._close()

    def _open(self, kind: Block) -> list[Event]:
        if self._kind is kind:
            return []
        events = self._close()
        self._block, self._kind = self._numbers.block(), kind
        return [*events, BlockStart(self._block, kind, self._index)]

    def _close(self) -> list[Event]:
        if self._kind is None:
            return []
        self._kind = None
        events: list[Event] = []
        if self._partial is not None:
            events.append(Arguments(self._block, self._partial.json()))
            self._partial = None
        return [*events, BlockEnd(self._block)]

    def _citations(self, candidate: Candidate) -> list[Event]:
        """What a candidate says about its text; on its own when no text is open."""
        found = (
            (b"citationMetadata", given(candidate.citation_metadata)),
            (b"groundingMetadata", given(candidate.grounding_metadata)),
            (b"urlContextMetadata", given(candidate.url_context_metadata)),
        )
        told = [b'{"%s":%s}' % (name, data) for name, data in found if data not in _PLAIN]
        if self._kind is Block.TEXT:
            return [Citation(self._block, NAME, data) for data in told]
        return [RawEvent(None, NAME, data) for data in told]
