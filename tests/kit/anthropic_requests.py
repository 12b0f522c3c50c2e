"""Prompts written as Messages requests, judged by the official client's own request types."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from pydantic import TypeAdapter

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.model import ModelCard
from fastanchor.core.prompt import Prompt, TextPart, Tool, Turn
from fastanchor.dialects.anthropic import DIALECT
from fastanchor.dialects.contract import Target, Written

BUDGET, ADAPTIVE, NEWEST, OTHER = "claude-sonnet-4-5", "claude-opus-4-6", "claude-opus-4-7", "kimi-k2"
HI = Turn("user", (TextPart("Hi"),))
F = Tool("function", "f", schema=b'{"type":"object"}')
TYPES = TypeAdapter(MessageCreateParamsStreaming | MessageCreateParamsNonStreaming)


def written(
    *turns: Turn, model: str = BUDGET, strict: bool = True, card: ModelCard | None = None, **members: Any
) -> tuple[dict[str, Any], Written]:
    """The body and all of what was written; every body must be what the official client could send."""
    made = DIALECT.write(Prompt(list(turns or (HI,)), **members), Target(model, card=card, strict=strict))
    body = orjson.loads(made.body)
    consume(TYPES.validate_python(body))
    return body, made


def consume(value: object) -> None:
    """Walk a validated value to its leaves: the client's types check their lists only when they are read."""
    if isinstance(value, dict):
        for member in value.values():
            consume(member)
    elif not isinstance(value, str) and hasattr(value, "__iter__"):
        for item in value:
            consume(item)


def refused(param: str, *turns: Turn, **members: Any) -> None:
    """The prompt is a 400 at `param` on a strict route."""
    with pytest.raises(Fault) as caught:
        written(*turns, **members)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param == param
