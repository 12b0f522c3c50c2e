"""What a dialect is: one API language, spoken on both sides, without I/O.

As the client's language a dialect reads requests (`read`, then `parse` when the call must be translated), encodes
answers and tells faults. As the provider's language it writes requests and decodes answers. There is never code for
a pair: `relay` puts one decoder and one encoder together, or passes bytes through when both sides speak the same.

Rules:
- Bad input from the client raises `Fault(Kind.INVALID_REQUEST, message, param=field)`; nothing else escapes.
- Decoders never raise on what an upstream sends: they yield `Failed` or skip, and stay within bounds of size, depth
  and count.
- Encoders take events in the grammar of `core.events` and keep their wire's own invariants (contiguous indices, one
  open block at a time where the wire demands it) by buffering.
- A dialect is stateless; its decoders, encoders and observers live for one answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from fastanchor._speedups.pump import Middle
from fastanchor.core.call import Call
from fastanchor.core.events import Event, Stop
from fastanchor.core.faults import Fault
from fastanchor.core.model import ModelCard
from fastanchor.core.prompt import Prompt
from fastanchor.core.usage import Usage

NO_QUIRKS: frozenset[str] = frozenset()
EVENT_STREAM = b"text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a translated request goes. `quirks` are words of the origin (see `providers`), `strict` rejects what
    lenient routes drop."""

    model: str  # the upstream's name
    card: ModelCard | None = None
    quirks: frozenset[str] = frozenset()
    options: Mapping[str, str] = field(default_factory=dict)
    stream: bool = False
    strict: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    """A request in the provider's language. `dropped` names the client's fields that could not be carried;
    `renamed` maps the tool names sent back to the client's (reversible renaming), and to "" a tool that is none of the
    client's: what it is called with is the answer (see `unwrapping`); `stops` are the stop sequences that
    the provider knows nothing of, and that are for the reader of its answer to find."""

    body: bytes
    dropped: tuple[str, ...] = ()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    stops: tuple[str, ...] = ()


@dataclass(slots=True)
class Answering:
    """What an encoder must know of the answer it writes: facts of the request, and minted values (no clock here)."""

    call: Call
    model: str  # the name the client is told
    request_id: str  # seed of minted ids: "chatcmpl-" + request_id …
    created: int  # unix seconds
    renamed: Mapping[str, str] = field(default_factory=dict)
    stops: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)  # e.g. anthropic_done


class Decoder(Protocol):
    """Upstream stream bytes → events."""

    def feed(self, data: bytes) -> list[Event]:
        """Events that are complete now."""

    def end(self) -> list[Event]:
        """The transport ended cleanly: the remaining events, with End, or Failed(TRUNCATED) if it is not whole."""


class Encoder(Protocol):
    """Events → client stream bytes. A `Failed` event is written as the dialect's own in-stream error."""

    def feed(self, events: Iterable[Event]) -> bytes:
        """The bytes that these events become (may be empty)."""


@runtime_checkable
class FinalEncoder(Protocol):
    """An encoder whose dialect tells the whole answer once more at its end (Responses)."""

    @property
    def final(self) -> bytes:
        """That whole answer, b"" before the end."""


class Observer(Protocol):
    """Watches an answer that passes through unchanged."""

    @property
    def stop(self) -> Stop | None:
        """Why the last choice ended, once it has."""

    @property
    def usage(self) -> Usage:
        """What the answer has said of its usage so far."""

    @property
    def output_estimate(self) -> int:
        """Tokens, for answers whose usage never comes."""

    def feed(self, data: bytes) -> bytes:
        """Take bytes from the upstream; return what goes to the client (whole events only)."""

    def end(self) -> bytes:
        """The transport ended cleanly: what is left to forward. Sets `fault` when the answer is not whole."""

    @property
    def started(self) -> bool:
        """The first content of the answer has been seen: the commit point."""

    @property
    def complete(self) -> bool:
        """The terminal marker has been seen."""

    @property
    def fault(self) -> Fault | None:
        """An in-band error or a broken answer; bytes returned before it are good, nothing after it is forwarded."""


class Plain(Protocol):
    """An observer that says what it does with the plain middle of an answer, so that others can do it for it."""

    @property
    def middle(self) -> Middle:
        """(through, odd): while neither `complete` nor `fault` is set, `feed(data)` is `through(data, odd)`; and only
        where that calls `odd`, anything else of the observer changes but counters, `middle` itself included."""


class Dialect(Protocol):
    """One API language."""

    name: str
    keep_alive: bytes  # bytes that clients ignore while the provider is silent, or b""
    words: Mapping[str, str]
    """What the fields are called that have another name here than in OpenAI chat, whose names writers use: for the
    client to be told of its own fields."""

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        """Peek at a request. Checks the required fields and types of the facts in `Call`. Raises Fault."""

    def parse(self, call: Call) -> Prompt:
        """The whole request, format-free. Raises Fault that names the field."""

    def write(self, prompt: Prompt, target: Target) -> Written:
        """The request in this language. Raises Fault for what cannot be expressed."""

    def edit(self, call: Call, model: str, quirks: frozenset[str] = NO_QUIRKS) -> bytes:
        """The client's own body for an upstream of the same dialect: spliced model name, forced usage, nothing else."""

    def stream_type(self, call: Call) -> bytes:
        """The content type of the streamed answer to this call."""

    def observer(self, call: Call) -> Observer:
        """For a stream that passes through."""

    def decoder(self) -> Decoder: ...

    def encoder(self, answering: Answering) -> Encoder: ...

    def read_answer(self, body: bytes) -> list[Event]:
        """A whole, non-streamed answer as events (grammar of `core.events`); Failed when it cannot be read."""

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        """The non-streamed answer."""

    def usage_of(self, body: bytes) -> Usage:
        """Usage of a whole answer that passes through, without building it."""

    def fault(self, fault: Fault, request_id: str) -> bytes:
        """The error body."""

    def fault_event(self, fault: Fault, request_id: str) -> bytes:
        """The in-stream error: the last bytes of a stream that failed."""


@runtime_checkable
class CountingDialect(Protocol):
    """The part of a dialect that counts tokens."""

    def count_tokens_answer(self, call: Call) -> bytes:
        """The answer where no provider can be asked: an estimate."""
