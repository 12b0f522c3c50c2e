"""Events as a Responses stream, with the whole life of every item, or as one response object.

- Consecutive text and refusal blocks are parts of one message; it ends when another kind of block opens, or with the
  answer, so that its status can tell an answer that was cut off. Calls may be open side by side, and end with their
  block.
- Ids are minted from the request id, with the prefixes that OpenAI checks on replay (`msg_`, `fc_`, `ctc_`, `rs_`).
- A foreign signature travels in the `encrypted_content` of a reasoning item (see `envelope`).
- A custom tool that the upstream only knows as a function comes back as a custom call.
- Hosted items of other vendors have no words here and are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import orjson

from fastanchor.core.events import (
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
    Refusal,
    Signature,
    Stop,
    Text,
    Thought,
)
from fastanchor.core.prompt import OpaqueSignature
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.openai_responses.annotations import annotation_of
from fastanchor.dialects.openai_responses.echo import ResponseObject
from fastanchor.dialects.openai_responses.envelope import Envelope, seal
from fastanchor.dialects.openai_responses.errors import error_object, response_error
from fastanchor.dialects.openai_responses.frames import Frames
from fastanchor.dialects.openai_responses.output import (
    Message,
    OutputItem,
    Reasoning,
    TextContent,
    ToolCall,
    Whole,
    output_json,
)
from fastanchor.dialects.openai_responses.tools import namespaced
from fastanchor.dialects.openai_responses.usage import write_usage
from fastanchor.dialects.openai_responses.words import NAME, REASONS


def response_id(request_id: str) -> str:
    """The id of the response that a request is answered with: what clients send as `previous_response_id`."""
    return f"resp_{request_id}"


class Encoder:
    """One answer. See `contract.Encoder`."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._frames = Frames()
        self._object = ResponseObject(
            answering.call, response_id(answering.request_id), answering.model, answering.created
        )
        self._items: list[OutputItem] = []
        self._message: Message | None = None
        self._texts: dict[int, TextContent] = {}
        self._thoughts: dict[int, Reasoning] = {}
        self._calls: dict[int, ToolCall] = {}
        self._wrapped: dict[int, bytearray] = {}  # arguments of custom calls that arrive as function calls
        self._call_ids: dict[int, str] = {}
        self._pending: list[Envelope] = []
        self._custom_names = _custom_names(answering)
        self._namespaced = namespaced(answering.call.body)
        self._stop: Stop | None = None
        self._usage: Usage | None = None
        self._begun = self._refused = False
        self.final = b""  # the response object, once the answer has ended
        self._writers: dict[type, Callable[[Any], bytes]] = {
            Begin: self._begin,
            BlockStart: self._block_start,
            Text: self._text,
            Refusal: self._text,
            Thought: self._thought,
            Signature: self._signature,
            Arguments: self._arguments,
            Citation: self._citation,
            BlockEnd: self._block_end,
            Counted: self._counted,
            Finish: self._finish,
            End: self._end,
            Failed: self._failed,
        }

    @property
    def number(self) -> int:
        """The sequence number of the next event."""
        return self._frames.number

    @number.setter
    def number(self, number: int) -> None:
        self._frames.number = number

    def feed(self, events: Iterable[Event]) -> bytes:
        out = []
        for event in events:
            writer = self._writers.get(type(event))
            if writer is not None and not self.final:
                out.append(writer(event))
        return b"".join(out)

    # the answer

    def _begin(self, event: Begin | None = None) -> bytes:
        if self._begun:
            return b""
        self._begun = True
        snapshot = b'"response":%b' % self._object.json("in_progress")
        return self._frames.frame(b"response.created", snapshot) + self._frames.frame(b"response.in_progress", snapshot)

    def _counted(self, event: Counted) -> bytes:
        self._usage = self._usage or Usage()
        self._usage.update(event.usage)
        return b""

    def _finish(self, event: Finish) -> bytes:
        if event.choice == 0 and self._stop is None:
            self._stop = event.stop
        return b""

    def _end(self, event: End) -> bytes:
        begun = self._begin()
        reason = self._reason()
        status = "incomplete" if reason else "completed"
        rest = self._end_message(status) + b"".join(item.finish(self._frames, status) for item in self._items)
        self.final = self._object.json(status, output_json(self._items), usage=write_usage(self._usage), reason=reason)
        return begun + rest + self._frames.frame(b"response." + status.encode(), b'"response":%b' % self.final)

    def _reason(self) -> str:
        """Why the answer is incomplete, or "". A refusal that the model wrote down completes it."""
        if self._stop is Stop.REFUSAL and not self._refused:
            return REASONS[Stop.CONTENT_FILTER]
        return REASONS.get(self._stop or Stop.END, "")

    def _failed(self, event: Failed) -> bytes:
        """What was open stays open: the snapshot holds it with the status it had."""
        begun = self._begin()
        self.final = self._object.json(
            "failed", output_json(self._items), usage=write_usage(self._usage), error=response_error(event.fault)
        )
        told = self._frames.frame(b"error", b'"error":%b' % error_object(event.fault))
        return begun + told + self._frames.frame(b"response.failed", b'"response":%b' % self.final)

    # blocks

    def _block_start(self, event: BlockStart) -> bytes:
        if event.choice != 0:  # this API has one choice
            return b""
        if event.kind in (Block.TEXT, Block.REFUSAL):
            return self._begin() + self._start_text(event)
        if event.kind is Block.HOSTED and event.dialect != NAME:
            return b""
        ended = self._begin() + self._end_message()
        if event.kind in (Block.TOOL, Block.CUSTOM):
            return ended + self._start_call(event)
        if event.kind is Block.THOUGHT:
            self._thoughts[event.block] = thought = Reasoning(self._mint("rs"), len(self._items))
            self._items.append(thought)
            return ended + thought.start(self._frames)
        if event.dialect == NAME:
            return ended + self._whole(event.data)
        return ended + self._sealed(Envelope(OpaqueSignature(event.dialect, _redacted(event.data)), "redacted"))

    def _block_end(self, event: BlockEnd) -> bytes:
        if event.block in self._texts:
            return self._texts.pop(event.block).finish(self._frames)
        if event.block in self._thoughts:
            return self._thoughts.pop(event.block).finish(self._frames, "completed")
        if event.block in self._calls:
            return self._end_call(event.block)
        return b""

    def _mint(self, prefix: str) -> str:
        return f"{prefix}_{self._answering.request_id}_{len(self._items)}"

    # text

    def _start_text(self, event: BlockStart) -> bytes:
        out = b""
        if self._message is None:
            self._message = Message(self._mint("msg"), len(self._items))
            self._items.append(self._message)
            out = self._message.start(self._frames)
        self._refused = self._refused or event.kind is Block.REFUSAL
        out += self._message.add(self._frames, refusal=event.kind is Block.REFUSAL)
        self._texts[event.block] = self._message.parts[-1]
        return out

    def _end_message(self, status: str = "completed") -> bytes:
        message, self._message = self._message, None
        if message is None:
            return b""
        self._texts.clear()
        return message.finish(self._frames, status) + self._seal_pending()

    def _text(self, event: Text | Refusal) -> bytes:
        part = self._texts.get(event.block)
        return part.delta(self._frames, event.text, event.logprobs) if part is not None else b""

    def _citation(self, event: Citation) -> bytes:
        part = self._texts.get(event.block)
        annotation = annotation_of(event, part.length) if part is not None else b""
        return part.annotate(self._frames, annotation) if part is not None and annotation else b""

    # reasoning

    def _thought(self, event: Thought) -> bytes:
        thought = self._thoughts.get(event.block)
        return thought.delta(self._frames, event.text, summary=event.summary) if thought is not None else b""

    def _signature(self, event: Signature) -> bytes:
        """A signature over thinking goes into its own item; one over a call or a text waits for the end of that."""
        signature = OpaqueSignature(event.dialect, event.data)
        thought = self._thoughts.get(event.block)
        if thought is not None:
            thought.encrypted = event.data if event.dialect == NAME else seal(Envelope(signature))
        elif event.dialect != NAME and event.block in self._call_ids:
            self._pending.append(Envelope(signature, "call", self._call_ids[event.block]))
        elif event.dialect != NAME and event.block in self._texts:
            self._pending.append(Envelope(signature))
        return b""

    def _seal_pending(self) -> bytes:
        pending, self._pending = self._pending, []
        return b"".join(map(self._sealed, pending))

    def _sealed(self, envelope: Envelope) -> bytes:
        item = Reasoning(self._mint("rs"), len(self._items))
        item.encrypted = seal(envelope)
        self._items.append(item)
        return item.start(self._frames) + item.finish(self._frames, "completed")

    # calls, and items that arrive whole

    def _start_call(self, event: BlockStart) -> bytes:
        self._call_ids[event.block] = event.tool_id
        if event.kind is Block.TOOL and event.tool_name in self._custom_names:
            self._wrapped[event.block] = bytearray()
        custom = event.kind is Block.CUSTOM or event.block in self._wrapped
        namespace, name = self._namespaced.get(event.tool_name, ("", event.tool_name))
        item_id = self._mint("ctc" if custom else "fc")
        call = ToolCall(item_id, len(self._items), event.tool_id, name, namespace=namespace, custom=custom)
        self._calls[event.block] = call
        self._items.append(call)
        return call.start(self._frames)

    def _arguments(self, event: Arguments) -> bytes:
        if event.block in self._wrapped:
            self._wrapped[event.block] += event.data
            return b""
        call = self._calls.get(event.block)
        return call.delta(self._frames, event.data) if call is not None else b""

    def _end_call(self, block: int) -> bytes:
        call = self._calls.pop(block)
        wrapped = self._wrapped.pop(block, None)
        text = call.delta(self._frames, _unwrapped(bytes(wrapped))) if wrapped is not None else b""
        del self._call_ids[block]
        return text + call.finish(self._frames, "completed") + self._seal_pending()

    def _whole(self, data: bytes) -> bytes:
        item = Whole(len(self._items), data)
        self._items.append(item)
        return item.start(self._frames) + item.finish(self._frames, "completed")


def _custom_names(answering: Answering) -> frozenset[str]:
    prompt = answering.call.prompt
    return frozenset(tool.name for tool in prompt.tools if tool.kind == "custom") if prompt is not None else frozenset()


def _unwrapped(arguments: bytes) -> bytes:
    """The input of a custom tool that was offered as a function with one string property `input`."""
    try:
        document: Any = orjson.loads(arguments)
    except orjson.JSONDecodeError:
        return arguments
    text = document.get("input") if isinstance(document, dict) else None
    return text.encode() if isinstance(text, str) else arguments


def _redacted(data: bytes) -> str:
    """What a vendor wants back of redacted thinking: the `data` of its block, or the whole of it."""
    try:
        document: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data.decode("utf-8", "replace")
    held = document.get("data") if isinstance(document, dict) else document
    return held if isinstance(held, str) else data.decode()
