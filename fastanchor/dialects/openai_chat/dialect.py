"""The dialect object: nothing but the parts of this package put together."""

from __future__ import annotations

from collections.abc import Mapping

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault
from fastanchor.core.usage import Usage
from fastanchor.dialects.openai_chat.faults import fault_body, fault_event
from fastanchor.dialects.openai_chat.observe import ChatObserver
from fastanchor.dialects.openai_chat.read import edit, read
from fastanchor.dialects.openai_chat.usage import whole_usage


class OpenAIChat:
    """See `contract.Dialect`."""

    name = "openai_chat"
    stream_type = b"text/event-stream; charset=utf-8"
    keep_alive = b": keep-alive\n\n"

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        return read(body, headers, self.name)

    def edit(self, call: Call, model: str, quirks: frozenset[str] = frozenset()) -> bytes:
        return edit(call, model, quirks)

    def observer(self, call: Call) -> ChatObserver:
        return ChatObserver(asked=call.include_usage, choices=call.choices)

    def usage_of(self, body: bytes) -> Usage:
        return whole_usage(body)

    def fault(self, fault: Fault, request_id: str) -> bytes:
        return fault_body(fault, request_id)

    def fault_event(self, fault: Fault, request_id: str) -> bytes:
        return fault_event(fault, request_id)


DIALECT = OpenAIChat()
