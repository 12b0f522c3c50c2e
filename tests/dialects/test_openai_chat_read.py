"""Reading a chat request by a peek, and the edits for an upstream of the same dialect."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects.openai_chat import OpenAIChat

CHAT = OpenAIChat()
MESSAGES = b'"messages":[{"role":"user","content":"four words stand here"}]'


def read(body: bytes, **headers: str) -> Any:
    return CHAT.read(body, "/v1/chat/completions", "", headers)


def test_facts_are_read_without_a_parse() -> None:
    call = read(
        b'{"model":"gpt-4o",' + MESSAGES + b',"stream":true,"n":3,"max_completion_tokens":50,"max_tokens":9,'
        b'"stream_options":{"include_usage":true},"prompt_cache_key":"k"}',
        **{"openai-organization": "o", "cookie": "c"},
    )
    assert (call.model, call.stream, call.choices, call.max_output, call.include_usage) == ("gpt-4o", True, 3, 50, True)
    assert call.affinity == "k"
    assert call.headers == {"openai-organization": "o"}
    assert call.body[slice(*call.model_span)] == b'"gpt-4o"'
    assert call.prompt_tokens >= 5


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"", ""),
        (b"  ", ""),
        (b"[]", ""),
        (b"{", ""),
        (b'"x"', ""),
        (b"\xff{}", ""),
        (b"{" + MESSAGES + b"}", "model"),
        (b'{"model":null,' + MESSAGES + b"}", "model"),
        (b'{"model":"",' + MESSAGES + b"}", "model"),
        (b'{"model":5,' + MESSAGES + b"}", "model"),
        (b'{"model":"m"}', "messages"),
        (b'{"model":"m","messages":null}', "messages"),
        (b'{"model":"m","messages":{}}', "messages"),
        (b'{"model":"m","messages":[ ]}', "messages"),
        (b'{"model":"m","stream":"yes",' + MESSAGES + b"}", "stream"),
        (b'{"model":"m","stream":1,' + MESSAGES + b"}", "stream"),
        (b'{"model":"m","n":0,' + MESSAGES + b"}", "n"),
        (b'{"model":"m","n":129,' + MESSAGES + b"}", "n"),
        (b'{"model":"m","n":1.5,' + MESSAGES + b"}", "n"),
        (b'{"model":"m","max_tokens":"9",' + MESSAGES + b"}", "max_tokens"),
        (b'{"model":"m","max_tokens":-1,' + MESSAGES + b"}", "max_tokens"),
        (b'{"model":"m","prompt_cache_key":7,' + MESSAGES + b"}", "prompt_cache_key"),
        (b'{"model":"m","stream_options":[],' + MESSAGES + b"}", "stream_options"),
        (b'{"model":"m","stream":true,"stream_options":{"include_usage":1},' + MESSAGES + b"}",
         "stream_options.include_usage"),
    ],
)  # fmt: skip
def test_bad_requests_name_the_field(body: bytes, param: str) -> None:
    with pytest.raises(Fault) as caught:
        read(body)
    assert caught.value.kind is Kind.INVALID_REQUEST
    assert caught.value.param == param


def test_null_counts_as_absent() -> None:
    call = read(b'{"model":"m","stream":null,"n":null,"max_tokens":null,' + MESSAGES + b"}")
    assert (call.stream, call.choices, call.max_output) == (False, 1, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'{"model":"m",%b,"stream":true}', b'{"model":"up",%b,"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"model":"m",%b,"stream":true,"stream_options":null}',
         b'{"model":"up",%b,"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"model":"m",%b,"stream":true,"stream_options":{}}',
         b'{"model":"up",%b,"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{"model":"m",%b,"stream":true,"stream_options":{"include_usage": false}}',
         b'{"model":"up",%b,"stream":true,"stream_options":{"include_usage": true}}'),
        (b'{"stream_options":{"include_obfuscation":false},"model":"m",%b,"stream":true}',
         b'{"stream_options":{"include_obfuscation":false,"include_usage":true},"model":"up",%b,"stream":true}'),
        (b'{"model":"m",%b,"stream":true,"stream_options":{"include_usage":true}}',
         b'{"model":"up",%b,"stream":true,"stream_options":{"include_usage":true}}'),
        (b'{ "model" : "m" , %b , "seed" : 123456789012345678901 }',
         b'{ "model" : "up" , %b , "seed" : 123456789012345678901 }'),
        (b'{"model":"m",%b,"stream":false,"stream_options":null}',
         b'{"model":"up",%b,"stream":false,"stream_options":null}'),
    ],
)  # fmt: skip
def test_edits_are_splices_and_nothing_else(before: bytes, after: bytes) -> None:
    assert CHAT.edit(read(before % MESSAGES), "up") == after % MESSAGES


def test_a_body_that_needs_no_edit_is_passed_as_the_same_object() -> None:
    call = read(b'{"model":"m",' + MESSAGES + b"}")
    assert CHAT.edit(call, "m") is call.body


def test_an_upstream_that_refuses_stream_options_is_not_sent_them() -> None:
    body = b'{"model":"m",' + MESSAGES + b',"stream":true}'
    assert CHAT.edit(read(body), "m", frozenset({"no_stream_options"})) == body


def test_a_member_twice_counts_as_the_last_one_and_values_keep_their_bytes() -> None:
    call = read(b'{"model":"a","seed":12345678901234567890123,"mod\\u0065l":"b",' + MESSAGES + b"}")
    assert call.model == "b"
    assert b'"seed":12345678901234567890123' in CHAT.edit(call, "up")
    assert orjson.loads(CHAT.edit(call, "up"))["model"] == "up"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(), lambda inner: st.lists(inner, max_size=3)
)

names = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"], exclude_characters='"\\'), min_size=1)
names = names.filter(lambda name: name not in ("model", "messages", "n"))


def test_a_member_name_with_control_characters_is_refused() -> None:
    with pytest.raises(Fault, match="not allowed"):
        read(b'{"model":"m","a\\nb":1,' + MESSAGES + b"}")


@given(
    st.dictionaries(names, json_values, max_size=4),
    st.sampled_from([None, {}, {"include_usage": True}, {"include_usage": False}, {"include_obfuscation": True}]),
    st.booleans(),
)
def test_an_edit_changes_the_model_and_forced_usage_only(extra: Any, options: Any, stream: bool) -> None:
    for name in ("stream", "max_tokens", "max_completion_tokens", "prompt_cache_key", "tools", "stream_options"):
        extra.pop(name, None)
    document = {"model": "m", "messages": [{"role": "user", "content": "é"}], **extra, "stream": stream}
    if options is not None:
        document["stream_options"] = options
    expected = dict(document, model="up")
    if stream:
        expected["stream_options"] = {**(options or {}), "include_usage": True}
    assert orjson.loads(CHAT.edit(read(orjson.dumps(document)), "up")) == expected
