"""How the demo provider behaves on one request: length, pace and faults, read from names and header fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

_WORD = re.compile(r"([a-z]+)=?([0-9]{1,7})?(?:r([0-9]{1,7}))?", re.ASCII)

_NUMBERS = {  # word → field
    "n": "tokens", "p": "pace", "ttft": "first_token", "variant": "variant", "d": "dimensions", "fail": "fail",
    "slowhead": "slow_head", "cut": "cut", "stall": "stall", "end": "end", "malformed": "malformed",
    "errorinband": "error_in_band", "every": "every", "first": "first",
}  # fmt: skip
_FLAGS = {"html": "html", "reset": "reset", "empty": "empty", "nodone": "no_done", "nousage": "no_usage"}
_SPEEDS = {"fast": (0, 0), "slow": (100, 1000)}  # pace, first token
FIRST_TOKEN = 0.050
_MILLISECONDS = ("pace", "first_token", "slow_head")


class UnknownWord(ValueError):
    """A word that is not in the grammar; the message is the word."""


@dataclass(frozen=True, slots=True)
class Manner:
    """Times in seconds; the places of faults in tokens, None where there is no such fault."""

    tokens: int = 60
    pace: float = 0.020
    first_token: float = FIRST_TOKEN
    variant: int = 1
    dimensions: int = 64
    fail: int | None = None
    retry_after: int | None = None
    html: bool = False
    reset: bool = False
    slow_head: float = 0.0
    empty: bool = False
    cut: int | None = None
    stall: int | None = None
    end: int | None = None
    malformed: int | None = None
    error_in_band: int | None = None
    no_done: bool = False
    no_usage: bool = False
    every: int = 1
    first: int | None = None

    def on(self, number: int) -> Manner:
        """This manner on the `number`th request (from 1): itself, or one of the same text and pace without faults."""
        due = number % max(1, self.every) == 0 and (self.first is None or number <= self.first)
        if due:
            return self
        return Manner(
            tokens=self.tokens,
            pace=self.pace,
            first_token=min(self.first_token, FIRST_TOKEN),
            variant=self.variant,
            dimensions=self.dimensions,
        )


def manner(model: str, *fields: str) -> Manner:
    """The manner that a model name and the values of header fields ask for. Raises UnknownWord."""
    name, *words = model.split("-")
    found = Manner()
    if name == "demo":
        for word in words:
            found = _with(found, word)
    for field in fields:
        for word in filter(None, (part.strip() for part in field.split(","))):
            found = _with(found, word)
    return found


def _with(manner: Manner, text: str) -> Manner:
    match = _WORD.fullmatch(text)
    if match is None:
        raise UnknownWord(text)
    word, number, retry = match.groups()
    if retry is not None and word != "fail":
        raise UnknownWord(text)
    if number is None:
        return _with_flag(manner, word)
    if word not in _NUMBERS or (word == "fail" and not 300 <= int(number) <= 599):
        raise UnknownWord(text)
    name = _NUMBERS[word]
    value = int(number) / 1000 if name in _MILLISECONDS else int(number)
    changes: dict[str, Any] = {name: value}
    if retry is not None:
        changes["retry_after"] = int(retry)
    return replace(manner, **changes)


def _with_flag(manner: Manner, word: str) -> Manner:
    if word in _SPEEDS:
        pace, first_token = _SPEEDS[word]
        return replace(manner, pace=pace / 1000, first_token=first_token / 1000)
    if word in _FLAGS:
        flag: dict[str, Any] = {_FLAGS[word]: True}
        return replace(manner, **flag)
    if word == "embed":
        return manner
    raise UnknownWord(word)
