"""From an upstream's answer to the client's: pass-through when both speak the same, else one decoder and one encoder.

The engine sees one kind of thing, a `Relay`: bytes in, bytes out, and what is known so far. Faults never become bytes
here: `fault` is set, nothing more is given out, and the engine tells it in the client's dialect.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, TypeAlias, runtime_checkable

from fastanchor.core.call import Call
from fastanchor.core.events import End, Failed, Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering, Dialect, Observer, Target, Written
from fastanchor.dialects.embedding import EmbeddingDialect
from fastanchor.dialects.stop_sequences import cut
from fastanchor.dialects.translation import BYTES_PER_TOKEN, Translation, named, size
from fastanchor.providers.contract import Unframer

_HEAD = re.compile(r"[^.\[]+")

Relay: TypeAlias = Observer
"""What carries a streamed answer: an observer of equal dialects, or a `Translation`."""


def request(client: Dialect, source: Dialect, call: Call, target: Target) -> Written:
    """A call in the language of a provider that does not speak the client's.

    Raises:
        Fault: the call, or one of its fields, cannot be carried there.
    """
    if call.operation == "embeddings":
        written = embedding(source).write_embedding(embedding(client).parse_embedding(call), target)
    else:
        if call.prompt is None:
            call.prompt = client.parse(call)
        try:
            written = source.write(call.prompt, target)
        except Fault as fault:
            raise told(fault, client.words) from None
    return replace(written, dropped=tuple(dict.fromkeys(own_name(name, client.words) for name in written.dropped)))


def own_name(name: str, words: Mapping[str, str]) -> str:
    """A writer's name of a field, or of something below it, in the client's words."""
    head = _HEAD.match(name)
    return words[head[0]] + name[head.end() :] if head is not None and head[0] in words else name


def told(fault: Fault, words: Mapping[str, str]) -> Fault:
    """A writer's complaint about a field, in the client's words."""
    name, own = fault.param, own_name(fault.param, words)
    if own == name:
        return fault
    message = fault.message.replace(f"'{name}'", f"'{own}'")
    if message.startswith(f"{name}: "):
        message = own + message[len(name) :]
    return Fault(fault.kind, message, param=own)


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
    events = cut(source.read_answer(body), answering)
    for event in events:
        if isinstance(event, Failed):
            raise event.fault
    if not any(isinstance(event, End) for event in events):
        raise Fault(Kind.MALFORMED_ANSWER)
    return client.write_answer(named(events, answering.renamed), answering)


def fault_event(carrier: Relay | None, client: Dialect, fault: Fault, request_id: str) -> bytes:
    """The end of a stream that failed, in the client's dialect: where an encoder wrote the stream, as it goes on."""
    inner = carrier.inner if isinstance(carrier, Unframed) else carrier
    return inner.failed(fault) if isinstance(inner, Failing) else client.fault_event(fault, request_id)


def output_estimate(source: Dialect, body: bytes) -> int:
    """Tokens of a whole answer whose provider does not count them."""
    return -(-sum(map(size, source.read_answer(body))) // BYTES_PER_TOKEN)


@runtime_checkable
class Failing(Protocol):
    """A relay that can tell a fault in the words and numbers of its own stream."""

    def failed(self, fault: Fault) -> bytes: ...


class Unframed:
    """A relay behind what takes a provider's own framing off (`Provider.unframer`). See `contract.Observer`."""

    def __init__(self, inner: Relay, unframer: Unframer) -> None:
        self.inner = inner
        self._unframer = unframer

    def feed(self, data: bytes) -> bytes:
        return self.inner.feed(self._unframer.feed(data))

    def end(self) -> bytes:
        return self.inner.end()

    @property
    def usage(self) -> Usage:
        return self.inner.usage

    @property
    def stop(self) -> Stop | None:
        return self.inner.stop

    @property
    def output_estimate(self) -> int:
        return self.inner.output_estimate

    @property
    def started(self) -> bool:
        return self.inner.started

    @property
    def complete(self) -> bool:
        return self.inner.complete

    @property
    def fault(self) -> Fault | None:
        return self.inner.fault
