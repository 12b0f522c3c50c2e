"""What became of a request, and whether that is what was promised."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from fastanchor.core.receipt import Receipt
from fastanchor.core.route import Route
from fastanchor.lab.catalogue import Case, Promise
from fastanchor.lab.client import MemoryReply
from fastanchor.lab.stage import Outcome

SLACK = 2.0
"""Seconds that a promise about time leaves to everything but waiting."""
CONNECTING = 10.0
"""Seconds in which a connection, or the answer's status, is there or is not."""


@dataclass(frozen=True, slots=True)
class Setting:
    """Where a case was tried. `others`: how many other channels could have served; `own` the seconds of a good answer;
    `text` what a good answer says."""

    route: Route
    others: int
    stream: bool
    own: float
    text: str


def told(reply: MemoryReply) -> str:
    """What the client got: `whole`, `error STATUS CODE`, `broken off: CODE`, or what must never be."""
    if reply.status != 200:
        return f"error {reply.status} {_code(reply.body)}"
    if reply.ended == "whole":
        return "whole"
    last = reply.body.rstrip().rpartition(b"data: ")[2]
    code = _code(last)
    return f"broken off: {code}" if code else "CUT WITHOUT A WORD"


def _code(body: bytes) -> str:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    error = document.get("error") if isinstance(document, dict) else None
    return str(error.get("code") or error.get("type") or "") if isinstance(error, dict) else ""


def text_of(body: bytes, *, stream: bool) -> str:
    """The text of a chat answer. Raises ValueError when it cannot be read as a client would."""
    if not stream:
        return str(orjson.loads(body)["choices"][0]["message"]["content"])
    said: list[str] = []
    for line in body.split(b"\n"):
        if line.startswith(b"data: ") and line != b"data: [DONE]":
            said += [c.get("delta", {}).get("content") or "" for c in orjson.loads(line[6:]).get("choices", ())]
    return "".join(said)


def complaints(case: Case, setting: Setting, outcome: Outcome) -> list[str]:
    """Every promise that was broken."""
    found = told(outcome.reply)
    promise = case.promise
    wrong = [] if _kept(promise, setting, found) else [f"promised was {promise.name.lower()}"]
    if found == "whole" and _text(outcome, setting) != setting.text:
        wrong.append("another text than the provider's")
    if _started(outcome.receipt) > setting.route.attempts:
        wrong.append("more attempts than the route allows")
    if _refused(promise, setting) and _started(outcome.receipt) > setting.route.race:
        wrong.append("asked again for what was refused")
    if outcome.seconds > _longest(case, setting):
        wrong.append(f"took longer than {_longest(case, setting):.1f} s")
    return wrong


def _text(outcome: Outcome, setting: Setting) -> str:
    try:
        return text_of(outcome.reply.body, stream=setting.stream)
    except (ValueError, KeyError, IndexError, AttributeError):
        return "<not an answer>"


def _kept(promise: Promise, setting: Setting, found: str) -> bool:
    """Whether the outcome is one of those that the promise allows."""
    whole, error = found == "whole", found.startswith(("error ", "broken off: "))
    again = setting.route.attempts > 1
    other = setting.others > 0 and again
    match promise:
        case Promise.WHOLE:
            return whole
        case Promise.HIDDEN:
            return whole or (error and not other)
        case Promise.ONCE:
            return whole or (error and not again)
        case Promise.RESCUED:
            return whole or (error and not (other and (setting.route.rescue != "off" or not setting.stream)))
        case Promise.TOLD | Promise.MODEL:
            return error or (whole and (setting.route.race > 1 or not _refused(promise, setting)))


def _refused(promise: Promise, setting: Setting) -> bool:
    """Whether the refusal is final."""
    return promise is Promise.TOLD or (promise is Promise.MODEL and not setting.route.fallback_models)


def _started(receipt: Receipt) -> int:
    return sum(attempt.outcome != "skipped" for attempt in receipt.attempts)


def _longest(case: Case, setting: Setting) -> float:
    """Seconds: with another channel a failure costs what it takes to be seen, a silent channel what the hedge waits;
    nothing outlasts the deadline."""
    hedge = setting.route.hedge
    hidden = case.promise is Promise.HIDDEN
    if not hidden or not setting.others or setting.route.attempts < 2:
        return setting.route.deadline + SLACK
    if not case.patient:
        return CONNECTING + setting.own + SLACK
    if hedge.after is None or hedge.percentile is not None:
        return setting.route.deadline + SLACK
    return hedge.after + setting.own + SLACK
