"""The Anthropic Messages dialect: the parts of this package under the names of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.core.faults import Fault
from fastanchor.core.prompt import Prompt
from fastanchor.core.usage import Usage
from fastanchor.dialects.anthropic import answer, faults, frames, read
from fastanchor.dialects.anthropic.decode import MessagesDecoder
from fastanchor.dialects.anthropic.encode import MessagesEncoder
from fastanchor.dialects.anthropic.observe import MessagesObserver
from fastanchor.dialects.anthropic.parse import parse
from fastanchor.dialects.anthropic.write import write
from fastanchor.dialects.contract import EVENT_STREAM, NO_QUIRKS, Answering, Target, Written


class Anthropic:
    """`POST /v1/messages` and `POST /v1/messages/count_tokens`, API versions 2023-06-01 and 2026-10-21."""

    name = read.NAME
    keep_alive = frames.PING
    words: Mapping[str, str] = {
        "stop": "stop_sequences", "response_format": "output_config.format", "reasoning": "thinking",
        "user": "metadata.user_id", "parallel_tool_calls": "tool_choice.disable_parallel_tool_use",
    }  # fmt: skip

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        return read.read(body, path, query, headers)

    def parse(self, call: Call) -> Prompt:
        return parse(call)

    def write(self, prompt: Prompt, target: Target) -> Written:
        return write(prompt, target)

    def edit(self, call: Call, model: str, quirks: frozenset[str] = NO_QUIRKS) -> bytes:
        return read.edit(call, model)

    def stream_type(self, call: Call) -> bytes:
        return EVENT_STREAM

    def observer(self, call: Call) -> MessagesObserver:
        return MessagesObserver(done=call.options.get("anthropic_done") == "1")

    def decoder(self) -> MessagesDecoder:
        return MessagesDecoder()

    def encoder(self, answering: Answering) -> MessagesEncoder:
        return MessagesEncoder(answering)

    def read_answer(self, body: bytes) -> list[Event]:
        return answer.read_answer(body)

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        return answer.write_answer(events, answering)

    def usage_of(self, body: bytes) -> Usage:
        return answer.usage_of(body)

    def fault(self, fault: Fault, request_id: str) -> bytes:
        return faults.error_body(fault, request_id)

    def fault_event(self, fault: Fault, request_id: str) -> bytes:
        return faults.error_event(fault, request_id)

    def status(self, fault: Fault) -> int:
        """The HTTP status, which differs from the other dialects' for some faults."""
        return faults.status(fault)

    def count_tokens_answer(self, call: Call) -> bytes:
        """The answer to `count_tokens` where no provider can be asked."""
        return read.count_tokens_answer(call)


DIALECT = Anthropic()
