"""Going on with a stream that broke, by a model that continues a begun answer: no text has to come again.

What the client has becomes the beginning of the model's own turn, and what the model adds is appended to it, once:

- Only for a half answer that is one open block of plain text (`beginning`): never inside or after a tool call, and
  never after thinking, signed or not.
- Providers refuse a beginning that ends in white space, so it is sent without; where the model says that white space
  itself, what the client has of it is withheld.
- A provider that takes no notice and begins anew must not be appended: an answer that repeats the beginning is
  withheld for as long as it does (all of it repeated: what follows goes on), and DIVERGED when it then differs.

Source: "Prefill Claude's response" of the Claude API documentation.
"""

from __future__ import annotations

from dataclasses import replace

from fastanchor.core.call import Call
from fastanchor.core.events import (
    Block,
    BlockEnd,
    BlockStart,
    Citation,
    End,
    Event,
    Finish,
    Raw,
    Refusal,
    Text,
    Thought,
)
from fastanchor.dialects.contract import Answering, Dialect
from fastanchor.dialects.splice import Splice, Transcript

LEAST_REPEAT = 32
"""Characters: an answer that begins with as many of the beginning's has begun anew; fewer may well be said twice."""


def beginning(half: Transcript) -> str:
    """The text that a model can go on from, without white space at its end; "" when it cannot."""
    if len(half.blocks) != 1 or any(isinstance(event, (Citation, Raw)) for event in half.events):
        return ""
    only = half.blocks[0]
    return "" if only.ended or only.kind is not Block.TEXT else only.text.rstrip()


class Seam:
    """Where new text meets what the client has."""

    def __init__(self, text: str) -> None:
        self._sent = text.rstrip()
        self._space = text[len(self._sent) :]
        self._held = ""
        self._may_repeat = len(self._sent) >= LEAST_REPEAT
        self.begun_anew = False

    def feed(self, text: str) -> str:
        """What of it is new."""
        held, self._held = self._held + text, ""
        if self._may_repeat:
            if held != self._sent and self._sent.startswith(held):
                self._held = held
                return ""
            held = self._not_repeated(held)
        if self._space.startswith(held) and held != self._space:
            self._held = held
            return ""
        return self._without_space(held)

    def end(self) -> str:
        """What was withheld, once nothing follows that could tell more."""
        held, self._held = self._held, ""
        return self._without_space(self._not_repeated(held) if self._may_repeat else held)

    def _not_repeated(self, text: str) -> str:
        self._may_repeat = False
        same = _same(self._sent, text)
        if same == len(self._sent):
            return text[same:]
        self.begun_anew = same >= LEAST_REPEAT
        return "" if self.begun_anew else text

    def _without_space(self, text: str) -> str:
        space, self._space = self._space, ""
        return text[_same(space, text) :]


def _same(one: str, other: str) -> int:
    """How many characters at their beginnings are the same."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


class Continuation(Splice):
    """A `relay.Relay` for what a model adds to the half answer."""

    def __init__(
        self, source: Dialect, client: Dialect, call: Call, answering: Answering, half: Transcript
    ) -> None:
        super().__init__(source, client, call, answering, half)
        self._offset = len(self._half[0].text)
        self._seam = Seam(self._half[0].text)

    def _open(self, event: BlockStart) -> list[Event]:
        if event.kind is Block.TEXT and not self._at and not self._blocks:
            self._blocks[event.block] = self._half[0].block
            return []
        return [*self._closed(), *super()._open(event)] if event.kind is not Block.THOUGHT else self._differ()

    def _text(self, event: Text | Refusal | Thought) -> list[Event]:
        if self._at:
            return super()._text(event)
        return self._said(event, self._seam.feed(event.text))

    def _close(self, event: BlockEnd) -> list[Event]:
        if self._at or event.block not in self._blocks:
            return super()._close(event)
        del self._blocks[event.block]
        return self._closed()

    def _finish(self, event: Finish | End) -> list[Event]:
        closed = self._closed()
        return closed if self.fault is not None else [*closed, *super()._finish(event)]

    def _moved(self, event: Event) -> list[Event]:
        if not self._at and isinstance(event, Citation) and event.block in self._blocks:
            return [replace(event, block=self._blocks[event.block])]
        return super()._moved(event)

    def _closed(self) -> list[Event]:
        """The end of the block that the client has the beginning of, unless it has come."""
        if self._at:
            return []
        block = self._half[0].block
        last = self._said(Text(block, ""), self._seam.end())
        self._at = 1
        return [] if self.fault is not None else [*last, BlockEnd(block)]

    def _said(self, event: Text | Refusal | Thought, new: str) -> list[Event]:
        if self._seam.begun_anew:
            return self._differ()
        return [replace(event, block=self._half[0].block, text=new)] if new else []

