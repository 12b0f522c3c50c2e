"""Anchor: `POST /v1/chat` and `/api/v1/chat`. Requests as in OpenAI chat, answers in a shorter shape of their own.

A whole answer is `{id: "anchor-resp-…", model, choices: [{message}], usage}`; a stream is of OpenAI's chunks with such
ids. Source: the Anchor API document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import orjson

from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.dialects.contract import Answering, Dialect
from fastanchor.dialects.openai_chat import OpenAIChat
from fastanchor.dialects.openai_chat.answer import Gathered, message
from fastanchor.dialects.openai_chat.encode import ChatEncoder, minted
from fastanchor.dialects.openai_chat.read import read

PREFIX = "anchor-resp-"
_EMPTY = ("refusal",)  # members of a message that this shape leaves out when they say nothing


class Anchor(OpenAIChat):
    """Chat with other answers."""

    name = "anchor"

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        return read(body, headers, self.name)

    def encoder(self, answering: Answering) -> ChatEncoder:
        return ChatEncoder(answering, PREFIX)

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        gathered = Gathered(events)
        usage = gathered.counted(answering)
        return orjson.dumps({
            "id": minted(PREFIX, answering.request_id),
            "model": answering.model,
            "choices": [
                {"message": {name: value for name, value in said.items() if value is not None or name not in _EMPTY}}
                for said in (message(at, gathered.choices[at], answering) for at in sorted(gathered.choices))
            ],
            "usage": {
                "prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": usage.total,
            },
        })  # fmt: skip


DIALECT: Dialect = Anchor()
