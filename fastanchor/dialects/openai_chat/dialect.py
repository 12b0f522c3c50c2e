"""The dialect object: nothing but the parts of this package put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.core.faults import Fault
from fastanchor.core.prompt import Prompt
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import EVENT_STREAM, NO_QUIRKS, Answering, Dialect, Encoder, Target, Written
from fastanchor.dialects.openai_chat.answer import write_answer
from fastanchor.dialects.openai_chat.decode import ChatDecoder
from fastanchor.dialects.openai_chat.encode import ChatEncoder
from fastanchor.dialects.openai_chat.faults import fault_body, fault_event
from fastanchor.dialects.openai_chat.observe import ChatObserver
from fastanchor.dialects.openai_chat.parse import parse
from fastanchor.dialects.openai_chat.read import edit, read
from fastanchor.dialects.openai_chat.usage import whole_usage
from fastanchor.dialects.openai_chat.write import write


class OpenAIChat:
    """See `contract.Dialect`."""

    name = "openai_chat"
    keep_alive = b": keep-alive\n\n"
    words: Mapping[str, str] = {
        "reasoning": "reasoning_effort", "detail": "image_url.detail", "cache_control": "prompt_cache_breakpoint",
    }  # fmt: skip

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        return read(body, headers, self.name)

    def parse(self, call: Call) -> Prompt:
        return parse(call)

    def write(self, prompt: Prompt, target: Target) -> Written:
        return write(prompt, target)

    def edit(self, call: Call, model: str, quirks: frozenset[str] = NO_QUIRKS) -> bytes:
        return edit(call, model, quirks)

    def stream_type(self, call: Call) -> bytes:
        return EVENT_STREAM

    def observer(self, call: Call) -> ChatObserver:
        return ChatObserver(asked=call.include_usage, choices=call.choices)

    def decoder(self) -> ChatDecoder:
        return ChatDecoder()

    def encoder(self, answering: Answering) -> Encoder:
        return ChatEncoder(answering)

    def read_answer(self, body: bytes) -> list[Event]:
        return ChatDecoder().read_answer(body)

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        return write_answer(events, answering)

    def usage_of(self, body: bytes) -> Usage:
        return whole_usage(body)

    def fault(self, fault: Fault, request_id: str) -> bytes:
        return fault_body(fault, request_id)

    def fault_event(self, fault: Fault, request_id: str) -> bytes:
        return fault_event(fault, request_id)


DIALECT: Dialect = OpenAIChat()
