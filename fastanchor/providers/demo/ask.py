"""What was asked of the demo provider, in the same words for every dialect, and the answer that it gets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import orjson

from fastanchor.providers.demo.instance import instance
from fastanchor.providers.demo.lorem import pieces, seed, tokens, words
from fastanchor.providers.demo.manner import Manner

Json: TypeAlias = Any
Body: TypeAlias = dict[str, Json]

CREATED = 1_735_689_600
"""When everything was made, in unix seconds: there is no clock."""
JSON_PIECE = 6
"""Characters of a token of JSON."""
LONGEST = 1_000_000
"""Tokens of the longest text."""
OBJECT = {"type": "object"}


class Refused(Exception):
    """A request that the provider does not take."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    schema: Json = None


@dataclass(slots=True)
class Ask:
    """`texts` is every text of the prompt in order; `forced` the tools that must be called; `schema` that of
    structured output; `limit` of output tokens. `body` is the request itself, for what is echoed."""

    model: str
    body: Body
    stream: bool = False
    texts: list[str] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)
    forced: list[Tool] = field(default_factory=list)
    tools_allowed: bool = True
    after_tool: bool = False
    structured: bool = False
    schema: Json = None
    limit: int | None = None
    choices: int = 1
    stops: list[str] = field(default_factory=list)
    usage_wanted: bool = True
    begun: str = ""  # the answer's beginning, as the prompt has it


@dataclass(frozen=True, slots=True)
class Text:
    """Text, one piece for each token."""

    pieces: list[str]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call; `pieces` make up the arguments."""

    id: str
    name: str
    pieces: list[str]

    @property
    def arguments(self) -> Json:
        return orjson.loads("".join(self.pieces))


@dataclass(frozen=True, slots=True)
class Choice:
    """`finish` is "stop", "length", "tools" or "stop_sequence"."""

    parts: list[Text | Call]
    finish: str
    stop_sequence: str | None = None

    @property
    def text(self) -> str:
        return "".join("".join(part.pieces) for part in self.parts if isinstance(part, Text))

    @property
    def calls(self) -> list[Call]:
        return [part for part in self.parts if isinstance(part, Call)]


@dataclass(frozen=True, slots=True)
class Answer:
    """`number` tells answers of one process apart."""

    ask: Ask
    number: int
    choices: list[Choice]
    input_tokens: int
    output_tokens: int
    manner: Manner

    @property
    def usage(self) -> bool:
        return not self.manner.no_usage


class Frame(NamedTuple):
    """A piece of a stream. `token`: it brings the client a token; waits and faults are counted in those."""

    data: bytes
    token: bool = False


class Language(Protocol):
    """One dialect, from the provider's side."""

    content_type: bytes  # of a stream

    def read(self, body: Body) -> Ask:
        """What a body asks for. Raises Refused."""

    def whole(self, answer: Answer) -> Json:
        """The plain answer."""

    def frames(self, answer: Answer) -> Iterator[Frame]:
        """The streamed answer; the last frame is the terminal marker."""

    def error(self, refused: Refused) -> Json:
        """An error's body."""

    def broken(self, answer: Answer) -> bytes:
        """An error in the midst of a stream."""

    def garbage(self, answer: Answer) -> bytes:
        """An event that is not JSON."""


def answer_to(ask: Ask, manner: Manner, number: int) -> Answer:
    """What the demo provider says."""
    choices = [_choice(ask, manner, number, k) for k in range(ask.choices)]
    output = sum(len(part.pieces) for choice in choices for part in choice.parts)
    return Answer(ask, number, choices, words(ask.texts), output, manner)


def _choice(ask: Ask, manner: Manner, number: int, k: int) -> Choice:
    calls = _calls(ask)
    if calls:
        parts: list[Text | Call] = [
            Call(f"call_demo{number}x{k}x{i}", tool.name, _json_pieces(instance(tool.schema or OBJECT)))
            for i, tool in enumerate(calls)
        ]
        return Choice(parts, "tools")
    if ask.structured:
        return _limited(_json_pieces(instance(ask.schema or OBJECT)), ask.limit)
    text = tokens(seed(ask.texts, manner.variant, k), min(manner.tokens, LONGEST))[len(ask.begun.split()) :]
    return _stopped(text, ask.stops) or _limited(text, ask.limit)


def _calls(ask: Ask) -> list[Tool]:
    if ask.after_tool or not ask.tools_allowed:
        return []
    if ask.forced:
        return ask.forced
    last = ask.texts[-1].lower() if ask.texts else ""
    if "use the tools" in last:
        return ask.tools
    return ask.tools[:1] if "use the tool" in last else []


def _json_pieces(value: Json) -> list[str]:
    return pieces(orjson.dumps(value).decode(), JSON_PIECE)


def _limited(text: list[str], limit: int | None) -> Choice:
    if limit is not None and limit < len(text):
        return Choice([Text(text[:limit])], "length")
    return Choice([Text(text)], "stop")


def _stopped(text: list[str], stops: list[str]) -> Choice | None:
    """The text up to the first stop sequence in it, or None when there is none."""
    whole = "".join(text)
    found = [(whole.index(stop), stop) for stop in stops if stop and stop in whole]
    if not found:
        return None
    place, stop = min(found)
    kept: list[str] = []
    for token in text:
        if place <= 0:
            break
        kept.append(token[:place])
        place -= len(token)
    return Choice([Text(kept)], "stop_sequence", stop)
