"""Going on with a stream that broke: another answer to the same request, without what the client has already.

The client's half answer is decoded again and becomes a transcript. The new answer is decoded beside it: what equals
the transcript is withheld; when the transcript is used up, the rest goes out through an encoder that has been brought
to the point where the client stands (by encoding the half answer once more and throwing the bytes away). An answer that
differs anywhere in what the client has seen is of no use: `fault` is DIVERGED.

A half answer that cannot be continued is refused from the start (`transcript` returns None): inside or after a tool
call, after thinking that is signed, or with several choices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fastanchor.core.call import Call
from fastanchor.core.events import (
    CONTENT,
    Arguments,
    Begin,
    Block,
    BlockEnd,
    BlockStart,
    Citation,
    Counted,
    End,
    Event,
    Failed,
    Finish,
    Ping,
    Raw,
    Refusal,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering, Dialect, FinalEncoder
from fastanchor.dialects.numbering import Numbered, following
from fastanchor.dialects.stop_sequences import decoder

KINDS = {Text: Block.TEXT, Refusal: Block.REFUSAL, Thought: Block.THOUGHT}
BYTES_PER_TOKEN = 4
_ID = re.compile(rb'"(?:id|item_id)": ?"([^"\\]{1,200})"')


@dataclass(slots=True)
class Said:
    """One block of the half answer: its kind, all its text, and whether the client has seen its end."""

    block: int
    kind: Block
    text: str = ""
    ended: bool = False


@dataclass(slots=True)
class Transcript:
    """What a client has of a broken answer: `sent` byte for byte, as events, and as blocks of text."""

    sent: bytes
    events: list[Event]
    blocks: list[Said]


def transcript(dialect: Dialect, sent: bytes) -> Transcript | None:
    """The half answer that was sent, or None when no other answer can continue it."""
    events = dialect.decoder().feed(sent)
    blocks: dict[int, Said] = {}
    for event in events:
        if isinstance(event, BlockStart):
            if event.kind not in KINDS.values() or event.choice:
                return None
            blocks[event.block] = Said(event.block, event.kind)
        elif isinstance(event, (Text, Refusal, Thought)):
            blocks[event.block].text += event.text
        elif isinstance(event, BlockEnd):
            blocks[event.block].ended = True
        elif isinstance(event, (Signature, Arguments, Failed, Finish, End)):
            return None
    return Transcript(sent, events, list(blocks.values()))


class Splice:
    """A `relay.Relay` for the answer that goes on. It has started when it is past what the client has."""

    def __init__(
        self, source: Dialect, client: Dialect, call: Call, answering: Answering, half: Transcript
    ) -> None:
        self.usage = Usage()
        self.stop: Stop | None = None
        self.complete = False
        self.fault: Fault | None = None
        self.started = False
        self._decoder = decoder(source, answering)
        self._encoder = client.encoder(answering)
        self._names = _renaming(self._encoder.feed(half.events), half.sent)
        if isinstance(self._encoder, Numbered):  # another server may have cut the same answer into more events
            self._encoder.number = following(half.sent)
        self._renamed = answering.renamed
        self._half = half.blocks
        self._at = 0  # the block of the half answer that is being compared
        self._offset = 0  # characters of it that have come again
        self._blocks: dict[int, int] = {}  # block of the new answer → of the client's
        self._next = max((said.block for said in half.blocks), default=-1) + 1
        self._size = 0

    @property
    def final(self) -> bytes:
        """The whole answer as its terminal event tells it; see `translation.Translation`."""
        return self._in_their_ids(self._encoder.final if isinstance(self._encoder, FinalEncoder) else b"")

    def failed(self, fault: Fault) -> bytes:
        """The fault as the end of this stream."""
        return self._in_their_ids(self._encoder.feed((Failed(fault),)))

    @property
    def output_estimate(self) -> int:
        """Tokens: a quarter of the bytes of the whole text, the withheld part included."""
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
        kept: list[Event] = []
        for event in events:
            if isinstance(event, Failed):
                self.fault = event.fault
            else:
                kept += self._judge(event)
            if self.fault is not None:
                break
        if not kept:
            return b""
        self.started = self.started or any(isinstance(event, CONTENT) for event in kept)
        return self._in_their_ids(self._encoder.feed(kept))

    def _in_their_ids(self, out: bytes) -> bytes:
        """With the ids that the client has seen in place of the minted ones."""
        for ours, theirs in self._names.items():
            out = out.replace(ours, theirs)
        return out

    def _judge(self, event: Event) -> list[Event]:
        """What of one event is new to the client."""
        if isinstance(event, (Begin, Ping)):
            return []
        if isinstance(event, Counted):
            self.usage.update(event.usage)
            return [event]
        if isinstance(event, BlockStart):
            return self._open(event)
        if isinstance(event, (Text, Refusal, Thought)):
            self._size += len(event.text.encode("utf-8", "replace"))
            return self._text(event)
        if isinstance(event, BlockEnd):
            return self._close(event)
        if isinstance(event, (Finish, End)):
            return self._finish(event)
        return self._moved(event)

    @property
    def _caught_up(self) -> bool:
        """Whether everything that the client has has come again."""
        last = len(self._half) - 1
        return self._at > last or (self._at == last and self._offset == len(self._half[last].text))

    def _open(self, event: BlockStart) -> list[Event]:
        if self._at < len(self._half):
            said = self._half[self._at]
            if event.kind is said.kind and not event.choice and self._offset == 0:
                self._blocks[event.block] = said.block
                return []
            return self._differ()
        self._blocks[event.block] = self._next
        self._next += 1
        name = self._renamed.get(event.tool_name, event.tool_name)
        return [replace(event, block=self._blocks[event.block], tool_name=name)]

    def _text(self, event: Text | Refusal | Thought) -> list[Event]:
        block = self._blocks.get(event.block)
        if block is None:
            return []
        if self._at >= len(self._half):
            return [replace(event, block=block)]
        said = self._half[self._at]
        known = said.text[self._offset : self._offset + len(event.text)]
        if not event.text.startswith(known):
            return self._differ()
        self._offset += len(known)
        new = event.text[len(known) :]
        if not new:
            return []
        if said.ended or self._at < len(self._half) - 1:
            return self._differ()
        return [replace(event, block=block, text=new)]

    def _close(self, event: BlockEnd) -> list[Event]:
        block = self._blocks.pop(event.block, None)
        if block is None:
            return []
        if self._at >= len(self._half):
            return [BlockEnd(block)]
        said = self._half[self._at]
        if self._offset < len(said.text):
            return self._differ()
        self._at += 1
        self._offset = 0
        return [] if said.ended else [BlockEnd(block)]

    def _finish(self, event: Finish | End) -> list[Event]:
        if not self._caught_up:
            return self._differ()
        if isinstance(event, Finish):
            self.stop = event.stop
        else:
            self.complete = True
        return [event]

    def _moved(self, event: Event) -> list[Event]:
        """Any other event of a block: passed on under the client's number, withheld where the client has it."""
        if self._at < len(self._half) or not isinstance(event, (Signature, Arguments, Citation, Raw)):
            return []
        if event.block not in self._blocks:
            return []
        return [replace(event, block=self._blocks[event.block])]

    def _differ(self) -> list[Event]:
        self.fault = Fault(Kind.DIVERGED)
        return []


def _renaming(ours: bytes, theirs: bytes) -> Mapping[bytes, bytes]:
    """Ids that the encoder has minted → those that the client has seen, in order of appearance."""
    mine, seen = (list(dict.fromkeys(_ID.findall(text))) for text in (ours, theirs))
    return {a: b for a, b in zip(mine, seen, strict=False) if a != b} if len(mine) == len(seen) else {}
