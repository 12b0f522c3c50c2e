"""Asking a model to go on with a half answer: the same call, with what the client has as the beginning of the answer.

Only where that means the same as answering on: plain text, one choice, no thinking, no form to keep to, no tool that
must be called, and a conversation that does not end with a beginning of the client's own.
"""

from __future__ import annotations

from dataclasses import replace

import orjson

from fastanchor._speedups.peek import splice
from fastanchor.core.call import Call
from fastanchor.core.faults import Fault
from fastanchor.core.prompt import Prompt, TextPart, Turn
from fastanchor.dialects import body as bodies
from fastanchor.dialects.prefill import beginning
from fastanchor.dialects.splice import Transcript
from fastanchor.engine.cap import capped
from fastanchor.engine.exchange import Exchange

BYTES_PER_TOKEN = 4
WITH_MESSAGES = frozenset(("anthropic", "openai_chat"))
"""Dialects whose body has the turns in `messages`, so that one can be added without touching the others."""


def can_be_continued(exchange: Exchange, half: Transcript) -> bool:
    """Whether a model that is able to could go on from what the client has."""
    if not beginning(half) or exchange.asked.operation != "chat":
        return False
    try:
        return _is_plain(_prompt(exchange))
    except Fault:  # what is passed through unread need not be readable for us
        return False


def continued(exchange: Exchange, spoken: str) -> Call:
    """The call for a model that is asked in `spoken`. Only where `can_be_continued`."""
    call, half = exchange.asked, exchange.half
    text = beginning(half) if half is not None else ""
    left = None if call.max_output is None else max(1, call.max_output - -(-len(text.encode()) // BYTES_PER_TOKEN))
    if spoken != call.dialect or spoken not in WITH_MESSAGES:
        prompt = _prompt(exchange)
        turns = [*prompt.turns, Turn("assistant", (TextPart(text),))]
        bound = prompt.max_output if prompt.max_output is None or left is None else min(prompt.max_output, left)
        return replace(call, prompt=replace(prompt, turns=turns, max_output=bound))
    body = _added(call.body, text)
    if left is not None:
        body = capped(replace(call, body=body), left)
    request = exchange.request
    path, query = request.path.decode("latin-1"), request.query.decode("latin-1")
    return exchange.spoken.read(body, path, query, exchange.headers)


def _prompt(exchange: Exchange) -> Prompt:
    call = exchange.asked
    if call.prompt is None:
        call.prompt = exchange.spoken.parse(call)
    return call.prompt


def _is_plain(prompt: Prompt) -> bool:
    last = next((turn for turn in reversed(prompt.turns) if turn.parts), None)
    return (
        last is not None
        and last.role != "assistant"
        and prompt.choices == 1
        and not prompt.logprobs
        and (prompt.reasoning is None or prompt.reasoning.mode == "off")
        and (prompt.format is None or prompt.format.kind == "text")
        and (prompt.tool_choice is None or prompt.tool_choice.mode in ("auto", "none"))
    )


def _added(body: bytes, text: str) -> bytes:
    """The body with one more message, of the assistant."""
    found = bodies.members(body, (b"messages",))
    _, end = bodies.filled_list(found, "messages")
    turn = b',{"role":"assistant","content":' + orjson.dumps(text) + b"}"
    return splice(found.body, [(end - 1, end - 1, turn)])
