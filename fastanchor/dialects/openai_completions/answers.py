"""Completion answers: their chunks read as chat chunks, and events written as `text_completion` objects.

Thinking and tool calls have no place in this format and are left out; a refusal is told as text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from fastanchor.core.events import Begin, BlockStart, Counted, End, Event, Failed, Finish, Ping, Refusal, Stop, Text
from fastanchor.core.usage import Usage
from fastanchor.dialects.contract import Answering
from fastanchor.dialects.openai_chat.answer import Choice, Gathered
from fastanchor.dialects.openai_chat.decode import ChatDecoder
from fastanchor.dialects.openai_chat.documents import child, quoted, rows, text
from fastanchor.dialects.openai_chat.encode import minted
from fastanchor.dialects.openai_chat.faults import fault_event
from fastanchor.dialects.openai_chat.observe import BYTES_PER_TOKEN, DONE
from fastanchor.dialects.openai_chat.stops import write_stop
from fastanchor.dialects.openai_chat.usage import write_usage
from fastanchor.dialects.openai_completions.requests import ECHO

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")


class CompletionsDecoder(ChatDecoder):
    """The same stream as chat's but for where the text is."""

    def take(self, chunk: dict[str, Any]) -> None:
        super().take({**chunk, "choices": [_as_chat(choice) for choice in rows(chunk.get("choices"))]})


def _as_chat(choice: dict[str, Any]) -> dict[str, Any]:
    entries = _entries(child(choice, "logprobs"))
    return {
        "index": choice.get("index"),
        "delta": {"content": text(choice.get("text"))},
        "logprobs": {"content": entries},
        "finish_reason": choice.get("finish_reason"),
    }


def _entries(logprobs: dict[str, Any]) -> list[dict[str, Any]]:
    """Parallel lists as chat's list of entries."""
    tokens, scores, tops = (_list(logprobs.get(name)) for name in ("tokens", "token_logprobs", "top_logprobs"))
    out = []
    for at, token in enumerate(tokens):
        top = tops[at] if at < len(tops) and isinstance(tops[at], dict) else {}
        others = [{"token": other, "logprob": score, "bytes": None} for other, score in top.items()]
        score = scores[at] if at < len(scores) else None
        out.append({"token": token, "logprob": score, "bytes": None, "top_logprobs": others})
    return out


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _scores(arrays: list[bytes], offset: int) -> dict[str, list[Any]] | None:
    """Chat's entries as parallel lists; `offset` is where the first token stands in the text."""
    entries = [entry for array in arrays for entry in rows(orjson.loads(array))]
    if not entries:
        return None
    tokens = [text(entry.get("token")) for entry in entries]
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token)
    tops = [
        {text(top.get("token")): top.get("logprob") for top in rows(entry.get("top_logprobs"))} for entry in entries
    ]
    scores = [entry.get("logprob") for entry in entries]
    return {"tokens": tokens, "token_logprobs": scores, "top_logprobs": tops, "text_offset": offsets}


def _reason(finish: Finish, refused: bool) -> str:
    stop = Stop.END if finish.stop is Stop.TOOL_CALLS else finish.stop
    return write_stop(stop, refused=refused)


def _usage(usage: Usage) -> dict[str, object]:
    whole = write_usage(usage)
    return {name: whole[name] for name in _COUNTS}


class CompletionsEncoder:
    """Events as a stream. See `contract.Encoder`."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._asked = answering.call.include_usage
        self._echo = answering.call.options.get(ECHO, "")
        self._head = b""
        self._choices: dict[int, int] = {}  # block → choice
        self._lengths: dict[int, int] = {}  # characters sent, by choice
        self._refused: set[int] = set()
        self._usage = Usage()
        self._size = 0

    def feed(self, events: Iterable[Event]) -> bytes:
        return b"".join([self._encode(event) for event in events])

    def _encode(self, event: Event) -> bytes:
        match event:
            case Begin():
                self._begin(event)
            case BlockStart():
                self._choices[event.block] = event.choice
            case Text() | Refusal():
                return self._said(event)
            case Counted():
                self._usage.update(event.usage)
            case Finish():
                reason = _reason(event, event.choice in self._refused)
                return self._opened(event.choice) + self._chunk(event.choice, "", reason=quoted(reason))
            case Ping():
                return b": ping\n\n"
            case End():
                return self._usage_chunk() + DONE
            case Failed():
                return fault_event(event.fault, self._answering.request_id)
        return b""

    def _begin(self, event: Begin) -> None:
        told = {
            "id": minted("cmpl-", self._answering.request_id),
            "object": "text_completion",
            "created": event.created or self._answering.created,
            "model": self._answering.model,
        }
        self._head = b"data: " + orjson.dumps(told)[:-1] + b',"choices":['

    def _opened(self, choice: int) -> bytes:
        """The echo of the prompt, when nothing of this choice has been sent yet."""
        if choice in self._lengths:
            return b""
        self._lengths[choice] = len(self._echo)
        return self._chunk(choice, self._echo) if self._echo else b""

    def _said(self, event: Text | Refusal) -> bytes:
        choice = self._choices[event.block]
        echo = self._opened(choice)
        if isinstance(event, Refusal):
            self._refused.add(choice)
        scores = _scores([event.logprobs] if event.logprobs else [], self._lengths[choice])
        self._lengths[choice] += len(event.text)
        self._size += len(event.text)
        return echo + self._chunk(choice, event.text, logprobs=orjson.dumps(scores))

    def _chunk(self, choice: int, said: str, *, logprobs: bytes = b"null", reason: bytes = b"null") -> bytes:
        return b'%b{"text":%b,"index":%d,"logprobs":%b,"finish_reason":%b}]%b}\n\n' % (
            self._head, quoted(said), choice, logprobs, reason, b',"usage":null' if self._asked else b"",
        )  # fmt: skip

    def _usage_chunk(self) -> bytes:
        if not self._asked:
            return b""
        usage = self._usage.completed(self._answering.call.prompt_tokens, -(-self._size // BYTES_PER_TOKEN))
        return self._head + b'],"usage":' + orjson.dumps(_usage(usage)) + b"}\n\n"


def write_answer(events: Iterable[Event], answering: Answering) -> bytes:
    """The whole `text_completion` object."""
    gathered = Gathered(events)
    echo = answering.call.options.get(ECHO, "")
    return orjson.dumps({
        "id": minted("cmpl-", answering.request_id),
        "object": "text_completion",
        "created": gathered.begin.created or answering.created,
        "model": answering.model,
        "choices": [_choice(number, gathered.choices[number], echo) for number in sorted(gathered.choices)],
        "usage": _usage(gathered.counted(answering)),
    })


def _choice(number: int, choice: Choice, echo: str) -> dict[str, object]:
    said = choice.text or "".join(choice.refusal)
    finish = choice.finish or Finish(Stop.END)
    return {
        "text": echo + said,
        "index": number,
        "logprobs": _scores(choice.scores["content"], len(echo)),
        "finish_reason": _reason(finish, bool(choice.refusal)),
    }
