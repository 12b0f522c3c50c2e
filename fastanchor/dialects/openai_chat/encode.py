"""Events as a chat stream: `chat.completion.chunk` objects in `data:` frames, then `[DONE]`.

- A choice opens with a role chunk; its `content` is null when a tool call comes first, as OpenAI sends it.
- Tool calls are numbered from 0 in each choice; `id`, `type` and `name` are sent once, in the first fragment.
- Thinking goes out as `reasoning_content`; its proof as `reasoning_details`, and the proof on a tool call as
  `extra_content.google.thought_signature`, so that clients which send these back keep it.
- The usage chunk is sent to clients that asked for it, just before `[DONE]`; the other chunks then say `usage: null`.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable
from dataclasses import dataclass, field

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
    Ping,
    Refusal,
    Signature,
    Text,
    Thought,
)
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.openai_chat.citations import annotation
from fastanchor.dialects.openai_chat.documents import quoted
from fastanchor.dialects.openai_chat.faults import fault_event
from fastanchor.dialects.openai_chat.observe import BYTES_PER_TOKEN, DONE
from fastanchor.dialects.openai_chat.reasoning import redacted_row, signed_row
from fastanchor.dialects.openai_chat.stops import write_stop
from fastanchor.dialects.openai_chat.usage import write_usage

LEGACY = "functions"  # in Call.options: the client used `functions`, so it is answered with `function_call`


def minted(prefix: str, request_id: str) -> str:
    """An id of ours: the request's, under a prefix."""
    return prefix + request_id.removeprefix("req_")


@dataclass(slots=True)
class _Choice:
    """What a choice has sent so far."""

    tools: int = 0
    details: int = 0
    refused: bool = False
    characters: int = 0


@dataclass(slots=True)
class _Block:
    kind: Block
    choice: int
    tool: int = 0
    silent: bool = True  # nothing of the arguments has been sent
    thought: list[str] = field(default_factory=list)
    utf8: codecs.IncrementalDecoder | None = None


class ChatEncoder:
    """See `contract.Encoder`. `prefix` starts the ids of the answers."""

    def __init__(self, answering: Answering, prefix: str = "chatcmpl-") -> None:
        call = answering.call
        self._answering = answering
        self._prefix = prefix
        self._legacy = LEGACY in call.options
        self._asked = call.include_usage
        self._head = b""
        self._tail = b',"usage":null}\n\n' if self._asked else b"}\n\n"
        self._choices: dict[int, _Choice] = {}
        self._blocks: dict[int, _Block] = {}
        self._usage = Usage()
        self._size = 0  # bytes of text sent, for the usage of an answer that has none

    def feed(self, events: Iterable[Event]) -> bytes:
        return b"".join([self._encode(event) for event in events])

    def _encode(self, event: Event) -> bytes:
        match event:
            case Text():
                return self._text(event.block, b"content", event.text, event.logprobs)
            case Thought():
                return self._thought(event)
            case Arguments():
                return self._arguments(event)
            case Refusal():
                return self._text(event.block, b"refusal", event.text, event.logprobs)
            case BlockStart():
                return self._start(event)
            case Begin():
                self._begin(event)
            case Signature():
                return self._signature(event)
            case Citation():
                return self._citation(event)
            case Counted():
                self._usage.update(event.usage)
            case BlockEnd():
                return self._end_block(event)
            case Finish():
                return self._finish(event)
            case Ping():
                return b": ping\n\n"
            case End():
                return self._usage_chunk() + DONE
            case Failed():
                return fault_event(event.fault, self._answering.request_id)
        return b""

    def _begin(self, event: Begin) -> None:
        told = {
            "id": minted(self._prefix, self._answering.request_id),
            "object": "chat.completion.chunk",
            "created": event.created or self._answering.created,
            "model": self._answering.model,
        }
        self._head = b"data: " + orjson.dumps(told)[:-1] + b',"choices":['

    def _chunk(self, choice: int, delta: bytes, reason: bytes = b"null", *, logprobs: bytes = b"null") -> bytes:
        return b'%b{"index":%d,"delta":{%b},"logprobs":%b,"finish_reason":%b}]%b' % (
            self._head, choice, delta, logprobs, reason, self._tail,
        )  # fmt: skip

    def _opened(self, number: int, kind: Block | None) -> bytes:
        """The role chunk, when nothing of this choice has been sent yet."""
        if number in self._choices:
            return b""
        self._choices[number] = _Choice()
        content = b"null" if kind in (Block.TOOL, Block.CUSTOM) else b'""'
        return self._chunk(number, b'"role":"assistant","content":' + content + b',"refusal":null')

    def _start(self, event: BlockStart) -> bytes:
        if event.kind is Block.HOSTED:
            return b""
        role = self._opened(event.choice, event.kind)
        block = self._blocks[event.block] = _Block(event.kind, event.choice)
        choice = self._choices[event.choice]
        if event.kind is Block.REDACTED:
            row = redacted_row(event, choice.details)
            return role + (self._detail(event.choice, orjson.dumps(row)) if row else b"")
        if event.kind in (Block.TOOL, Block.CUSTOM):
            block.tool = choice.tools
            choice.tools += 1
            block.utf8 = codecs.getincrementaldecoder("utf-8")("replace")
            return role + self._tool(event, block)
        choice.refused = choice.refused or event.kind is Block.REFUSAL
        return role

    def _tool(self, event: BlockStart, block: _Block) -> bytes:
        name = quoted(event.tool_name)
        if self._legacy:
            return b"" if block.tool else self._chunk(
                block.choice, b'"function_call":{"name":%b,"arguments":""}' % name
            )  # fmt: skip
        number = f"_{block.choice}_{block.tool}"
        id = quoted(event.tool_id or minted("call_", self._answering.request_id) + number)
        kind, argument = (b"custom", b"input") if event.kind is Block.CUSTOM else (b"function", b"arguments")
        return self._chunk(
            block.choice,
            b'"tool_calls":[{"index":%d,"id":%b,"type":"%b","%b":{"name":%b,"%b":""}}]'
            % (block.tool, id, kind, kind, name, argument),
        )

    def _arguments(self, event: Arguments) -> bytes:
        block = self._blocks.get(event.block)
        if block is None or block.utf8 is None:
            return b""
        return self._argument_text(block, block.utf8.decode(event.data))

    def _end_block(self, event: BlockEnd) -> bytes:
        block = self._blocks.pop(event.block, None)
        if block is None or block.utf8 is None:
            return b""
        text = block.utf8.decode(b"", True)
        if block.silent and not text and block.kind is Block.TOOL:
            text = "{}"  # what a whole answer says of a call without arguments
        return self._argument_text(block, text)

    def _argument_text(self, block: _Block, text: str) -> bytes:
        if not text:
            return b""
        block.silent = False
        self._size += len(text)
        said = quoted(text)
        if self._legacy:
            return b"" if block.tool else self._chunk(block.choice, b'"function_call":{"arguments":%b}' % said)
        kind = b'"custom":{"input":%b}' if block.kind is Block.CUSTOM else b'"function":{"arguments":%b}'
        return self._chunk(block.choice, b'"tool_calls":[{"index":%d,%b}]' % (block.tool, kind % said))

    def _text(self, number: int, field: bytes, text: str, scores: bytes) -> bytes:
        block = self._blocks.get(number)
        if block is None:
            return b""
        choice = self._choices[block.choice]
        choice.characters += len(text)
        self._size += len(text)
        delta = b'"%b":%b' % (field, quoted(text))
        if not scores:
            return self._chunk(block.choice, delta)
        other = b"refusal" if field == b"content" else b"content"
        return self._chunk(block.choice, delta, logprobs=b'{"%b":%b,"%b":null}' % (field, scores, other))

    def _thought(self, event: Thought) -> bytes:
        block = self._blocks.get(event.block)
        if block is None:
            return b""
        block.thought.append(event.text)
        self._size += len(event.text)
        return self._chunk(block.choice, b'"reasoning_content":' + quoted(event.text))

    def _signature(self, event: Signature) -> bytes:
        block = self._blocks.get(event.block)
        if block is None:
            return b""
        if block.kind is not Block.TOOL:
            row = signed_row(event, "".join(block.thought), self._choices[block.choice].details)
            return self._detail(block.choice, orjson.dumps(row))
        if event.dialect != "gemini" or self._legacy:
            return b""
        proof = b'"extra_content":{"google":{"thought_signature":%b}}' % quoted(event.data)
        empty = b'"function":{"arguments":""}'  # the official client's accumulator fails without a function
        return self._chunk(block.choice, b'"tool_calls":[{"index":%d,%b,%b}]' % (block.tool, empty, proof))

    def _detail(self, choice: int, row: bytes) -> bytes:
        self._choices[choice].details += 1
        return self._chunk(choice, b'"reasoning_details":[' + row + b"]")

    def _citation(self, event: Citation) -> bytes:
        block = self._blocks.get(event.block)
        if block is None:
            return b""
        row = annotation(event, self._choices[block.choice].characters)
        return self._chunk(block.choice, b'"annotations":[' + row + b"]") if row else b""

    def _finish(self, event: Finish) -> bytes:
        role = self._opened(event.choice, None)
        choice = self._choices[event.choice]
        reason = write_stop(event.stop, tools=choice.tools > 0, refused=choice.refused)
        if self._legacy and reason == "tool_calls":
            reason = "function_call"
        return role + self._chunk(event.choice, b"", b'"' + reason.encode() + b'"')

    def _usage_chunk(self) -> bytes:
        if not self._asked:
            return b""
        usage = self._usage.completed(self._answering.call.prompt_tokens, -(-self._size // BYTES_PER_TOKEN))
        return self._head + b'],"usage":' + orjson.dumps(write_usage(usage)) + b"}\n\n"
