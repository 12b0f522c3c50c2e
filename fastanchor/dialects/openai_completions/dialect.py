"""The dialect object. Much is chat's: the edits, the observer, usage and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastanchor.core.call import Call
from fastanchor.core.events import Event
from fastanchor.core.prompt import Prompt
from fastanchor.dialects.contract import Answering, Dialect, Encoder, Target, Written
from fastanchor.dialects.openai_chat import OpenAIChat
from fastanchor.dialects.openai_completions import answers, requests


class OpenAICompletions(OpenAIChat):
    """See `contract.Dialect`."""

    name = requests.NAME
    words: Mapping[str, str] = {"messages": "prompt"}

    def read(self, body: bytes, path: str, query: str, headers: Mapping[str, str]) -> Call:
        return requests.read(body, headers)

    def parse(self, call: Call) -> Prompt:
        return requests.parse(call)

    def write(self, prompt: Prompt, target: Target) -> Written:
        return requests.write(prompt, target)

    def decoder(self) -> answers.CompletionsDecoder:
        return answers.CompletionsDecoder()

    def encoder(self, answering: Answering) -> Encoder:
        return answers.CompletionsEncoder(answering)

    def read_answer(self, body: bytes) -> list[Event]:
        return answers.CompletionsDecoder().read_answer(body)

    def write_answer(self, events: Iterable[Event], answering: Answering) -> bytes:
        return answers.write_answer(events, answering)


DIALECT: Dialect = OpenAICompletions()
