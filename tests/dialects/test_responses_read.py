"""Requests at a glance: the facts of a call, what is refused at once, and the edit in place."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from fastanchor.core.events import Arguments, Begin, Block, BlockEnd, BlockStart, End, Finish, Signature, Stop
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.openai_responses import DIALECT
from tests.dialects.responses_sdk import answering, read, read_error


def test_the_facts_of_a_call() -> None:
    call = DIALECT.read(orjson.dumps({
        "model": "gpt", "input": [{"role": "user", "content": "x" * 400}], "stream": True, "max_output_tokens": 77,
        "prompt_cache_key": "k", "previous_response_id": "resp_1", "background": True, "store": False,
        "conversation": {"id": "conv_1"}, "instructions": "y" * 40,
    }), "", "", {"openai-beta": "b", "cookie": "c"})  # fmt: skip
    assert (call.dialect, call.model, call.stream, call.max_output) == ("openai_responses", "gpt", True, 77)
    assert call.affinity == "k"
    assert call.headers == {"openai-beta": "b"}
    assert call.options == {
        "store": "false", "background": "true", "previous_response_id": "resp_1", "conversation": "conv_1"
    }  # fmt: skip
    assert 110 <= call.prompt_tokens <= 120


@pytest.mark.parametrize(("store", "kept"), [({}, "true"), ({"store": None}, "true"), ({"store": True}, "true"),
                                             ({"store": False}, "false")])  # fmt: skip
def test_storing_is_the_default(store: dict[str, Any], kept: str) -> None:
    assert read({"model": "m", "input": "hi", **store}).options["store"] == kept


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", ""),
        (b"[]", ""),
        (b'{"model":', ""),
        (b'{"input":"hi"}', "model"),
        (b'{"model":1,"input":"hi"}', "model"),
        (b'{"model":"","input":"hi"}', "model"),
        (b'{"model":"m"}', "input"),
        (b'{"model":"m","input":null}', "input"),
        (b'{"model":"m","input":{}}', "input"),
        (b'{"model":"m","input":"hi","stream":"yes"}', "stream"),
        (b'{"model":"m","input":"hi","store":1}', "store"),
        (b'{"model":"m","input":"hi","background":0}', "background"),
        (b'{"model":"m","input":"hi","previous_response_id":1}', "previous_response_id"),
        (b'{"model":"m","input":"hi","max_output_tokens":"9"}', "max_output_tokens"),
        (b'{"model":"m","input":"hi","max_output_tokens":-1}', "max_output_tokens"),
        (b'{"model":"m","input":"hi","prompt_cache_key":[]}', "prompt_cache_key"),
    ],
)
def test_bad_requests_name_the_field(body: bytes, param: str) -> None:
    with pytest.raises(Fault) as told:
        DIALECT.read(body, "", "", {})
    assert (told.value.kind, told.value.param) == (Kind.INVALID_REQUEST, param)
    error = read_error(400, DIALECT.fault(told.value, "r"))
    assert error.param == (param or None)
    assert error.code == "invalid_request"


@pytest.mark.parametrize("instead", ["prompt", "conversation", "previous_response_id"])
def test_input_may_be_left_out_where_something_stands_in_for_it(instead: str) -> None:
    assert read({"model": "m", instead: {"id": "x"} if instead == "prompt" else "x"}).model == "m"


def test_an_edit_changes_the_model_and_nothing_else() -> None:
    body = b'{ "input" : "hi", "seed":12345678901234567890, "model" : "m\\u0020x" , "a":{"model":"n"}}'
    call = read(body)
    assert call.model == "m x"
    assert DIALECT.edit(call, "up") == body.replace(b'"m\\u0020x"', b'"up"')
    assert DIALECT.edit(call, "m x") is call.body


def test_an_edit_takes_other_vendors_signatures_out() -> None:
    events = [Begin("", ""), BlockStart(0, Block.TOOL, tool_id="c", tool_name="f"), Signature(0, "gemini", "sig"),
              Arguments(0, b'{"n":12345678901234567890}'), BlockEnd(0), Finish(Stop.TOOL_CALLS), End()]  # fmt: skip
    output = orjson.loads(DIALECT.write_answer(events, answering()))["output"]
    own = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"}
    call = read({"model": "m", "input": [*output, own, {"role": "user", "content": "fastanchor.1."}]})
    kept = orjson.loads(DIALECT.edit(call, "up"))["input"]
    assert [item.get("type", "message") for item in kept] == ["function_call", "reasoning", "message"]
    assert kept[0]["arguments"] == '{"n":12345678901234567890}'
