"""A conversation that goes on from a stored response."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastanchor.dialects.openai_responses import DIALECT
from fastanchor.dialects.openai_responses.state import continued, deleted, input_items, missing, resumed
from tests.dialects.responses_sdk import read


def test_a_stored_conversation_goes_on() -> None:
    first = read({"model": "m", "input": "one", "instructions": "not inherited"})
    answer = orjson.dumps({"output": [{"type": "message", "role": "assistant", "content": "two"}]})
    stored = continued(first, answer)
    second = read(b'{"model":"m","previous_response_id":"resp_1","input":"three","n":12345678901234567890}')
    call = resumed(second, stored)
    texts = [turn.parts[0].text for turn in DIALECT.parse(call).turns]  # type: ignore[union-attr]
    assert texts == ["one", "two", "three"]
    assert call.options["previous_response_id"] == "resp_1"
    assert b"12345678901234567890" in call.body
    assert call.prompt_tokens > second.prompt_tokens
    assert DIALECT.edit(call, "up") == call.body.replace(b'"model":"m"', b'"model":"up"')
    third = continued(call, answer)
    assert len(orjson.loads(third)) == 4


@pytest.mark.parametrize(
    ("body", "items"),
    [
        (b'{"input":"a\\"b"}', [{"type": "message", "role": "user", "content": 'a"b'}]),
        (b'{"input":[{"role":"user","content":"x"}]}', [{"role": "user", "content": "x"}]),
        (b'{"input":[]}', []),
        (b'{"input":null}', []),
        (b"{}", []),
    ],
)
def test_the_items_of_a_request(body: bytes, items: list[Any]) -> None:
    assert orjson.loads(input_items(body)) == items


def test_what_is_told_of_missing_and_deleted_responses() -> None:
    fault = missing("resp_1")
    assert (fault.status, fault.param) == (400, "previous_response_id")
    assert orjson.loads(deleted("resp_1")) == {"id": "resp_1", "object": "response", "deleted": True}
