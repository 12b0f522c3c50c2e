"""The dialect object: nothing but the parts of this package put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastanchor.core.call import Call
from fastanchor.core.events import Event, Failed
from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Prompt
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import EVENT_STREAM, NO_QUIRKS, Answering, Target, Written
from fastanchor.dialects.openai_chat.faults import fault_body
from fastanchor.dialects.openai_responses.decode import Decoder
from fastanchor.dialects.openai_responses.encode import Encoder, response_id
from fastanchor.dialects.openai_responses.errors import error_events
from fastanchor.dialects.openai_responses.observe import Observer
from fastanchor.dialects.openai_responses.parse import parse
from fastanchor.dialects.openai_responses.read import edit, read
from fastanchor.dialects.openai_responses.usage import read_usage
from fastanchor.dialects.openai_responses.words import NAME
from fastanchor.dialects.openai_responses.write import write


class OpenAIResponses:
    """See `contract.Dialect`."""

    name = NAME
    keep_alive = b": keep-alive\n\n"
    words: Mapping[str, str] = {
        "messages": "input", "response_format": "text.format", "verbosity": "text.verbosity",
        "logprobs": "include", "cache_control": "prompt_cache_breakpoint",
    }  # fmt: skip

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        return read(body, headers)

    def parse(self, call: Call) -> Prompt:
        return parse(call)

    def write(self, prompt: Prompt, target: Target) -> Written:
        return write(prompt, target)

    def edit(self, call: Call, model: str, quirks: frozenset[str] = NO_QUIRKS) -> bytes:
        return edit(call, model)

    def stream_type(self, call: Call) -> bytes:
        return EVENT_STREAM

    def observer(self, call: Call) -> Observer:
        return Observer()

    def decoder(self) -> Decoder:
        return Decoder()

    def encoder(self, answering: Answering) -> Encoder:
        return Encoder(answering)

    def read_answer(self, body: bytes) -> list[Event]:
        return Decoder().answer(body)

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        """Raises the fault of an answer that failed: it is told by the HTTP status, not by a response object."""
        encoder = Encoder(answering)
        for event in events:
            if isinstance(event, Failed):
                raise event.fault
            encoder.feed((event,))
        if not encoder.final:
            raise Fault(Kind.MALFORMED_ANSWER)
        return encoder.final

    def usage_of(self, body: bytes) -> Usage:
        return read_usage(body)

    def fault(self, fault: Fault, request_id: str) -> bytes:
        return fault_body(fault, request_id)

    def fault_event(self, fault: Fault, request_id: str) -> bytes:
        return error_events(fault, response_id(request_id))


DIALECT = OpenAIResponses()
