"""What the demo provider answers besides chat, and what it says to a wrong request."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.providers.demo import answer
from tests.providers.demo import CHAT, LANGUAGES, REQUESTS, ask, chat, plain, post, sent


@pytest.mark.parametrize("value", ["one", ["one", "two"], [1, 2, 3], [[1, 2], [3]]])
def test_embeddings_are_unit_vectors_one_for_each_input(value: Any) -> None:
    body = plain(post(b"/v1/embeddings", {"model": "demo-embed", "input": value}))
    expected = 2 if value in (["one", "two"], [[1, 2], [3]]) else 1
    assert [item["index"] for item in body["data"]] == list(range(expected))
    for item in body["data"]:
        assert len(item["embedding"]) == 64
        assert sum(x * x for x in item["embedding"]) == pytest.approx(1.0)


def test_embeddings_in_base64_are_the_same_numbers() -> None:
    def vector(**fields: Any) -> Any:
        body = {"model": "demo-d100", "input": "x", "dimensions": 7, **fields}
        return plain(post(b"/v1/embeddings", body))["data"][0]["embedding"]

    packed = base64.b64decode(vector(encoding_format="base64"))
    assert struct.unpack("<7f", packed) == pytest.approx(vector())


def test_gemini_embeds_one_and_many() -> None:
    content = {"parts": [{"text": "x"}]}
    one = plain(post(b"/v1beta/models/demo:embedContent", {"content": content, "outputDimensionality": 3}))
    many = plain(
        post(b"/v1beta/models/demo:batchEmbedContents", {"requests": [{"content": content}, {"content": content}]})
    )
    assert len(one["embedding"]["values"]) == 3
    assert len(many["embeddings"]) == 2


def test_tokens_are_counted_as_in_usage() -> None:
    counted = plain(post(b"/v1/messages/count_tokens", chat()))
    assert counted["input_tokens"] == plain(ask("messages"))["usage"]["input_tokens"]
    contents = REQUESTS["gemini"][1]
    assert plain(post(b"/v1beta/models/demo:countTokens", contents)) == {"totalTokens": 4}


@pytest.mark.parametrize(
    ("target", "headers", "shape"),
    [
        (b"/v1/models", [], lambda body: [m["id"] for m in body["data"]] and body["object"] == "list"),
        (b"/models", [], lambda body: body["object"] == "list"),
        (b"/v1/models?client=x", [(b"anthropic-version", b"2023-06-01")], lambda body: body["has_more"] is False),
        (b"/v1beta/models", [], lambda body: body["models"][0]["name"] == "models/demo"),
        (b"/v1/models/demo", [], lambda body: body["id"] == "demo"),
        (b"/v1beta/models/demo", [], lambda body: body["name"] == "models/demo"),
    ],
)
def test_models_are_listed_in_three_shapes(target: bytes, headers: list[tuple[bytes, bytes]], shape: Any) -> None:
    script = answer(b"GET", target, headers, b"", number=1)
    assert script.status == 200
    assert shape(plain(script))


def test_a_gemini_stream_without_sse_is_one_json_array() -> None:
    target = b"/v1beta/models/demo-n3:streamGenerateContent"
    script = post(target, REQUESTS["gemini"][1])
    assert dict(script.headers)[b"content-type"] == b"application/json"
    array = orjson.loads(sent(script))
    assert len(array) == 4
    assert array[-1]["candidates"][0]["finishReason"] == "STOP"


# what is wrong with a request


@pytest.mark.parametrize(
    ("target", "body", "status", "words"),
    [
        (CHAT, b"{", 400, "not JSON"),
        (CHAT, b"", 400, "not JSON"),
        (CHAT, b"[]", 400, "not a JSON object"),
        (CHAT, b"{}", 400, "messages"),
        (CHAT, b'{"messages":[{}]}', 400, "model"),
        (CHAT, b'{"model":5,"messages":[{}]}', 400, "model"),
        (CHAT, b'{"model":"demo","messages":[]}', 400, "messages"),
        (CHAT, b'{"model":"demo","messages":[{}],"stream":1}', 400, "stream"),
        (CHAT, b'{"model":"demo","messages":[{}],"max_tokens":0}', 400, "max_tokens"),
        (CHAT, b'{"model":"demo","messages":[{}],"tools":[{"type":"function"}]}', 400, "name"),
        (CHAT, b'{"model":"demo","messages":[{}],"tool_choice":{"function":{"name":"x"}}}', 400, "tool_choice"),
        (b"/v1/completions", b'{"model":"demo"}', 400, "prompt"),
        (b"/v1/responses", b'{"model":"demo"}', 400, "input"),
        (b"/v1/responses", b'{"model":"demo","input":"x","previous_response_id":"r"}', 400, "'r' not found"),
        (b"/v1/responses", b'{"model":"demo","input":"x","background":true}', 400, "background"),
        (b"/v1/messages", b'{"model":"demo","messages":[{}]}', 400, "max_tokens"),
        (b"/v1beta/models/demo:generateContent", b"{}", 400, "contents"),
        (b"/v1/embeddings", b'{"model":"demo","input":[]}', 400, "input"),
        (b"/v1/embeddings", b'{"model":"demo","input":["a",1]}', 400, "input"),
        (b"/v1/embeddings", b'{"model":"demo","input":"a","encoding_format":"x"}', 400, "encoding_format"),
        (b"/v1/nothing", b"{}", 404, "not found"),
        (b"/v1beta/models/demo:doNothing", b"{}", 404, "not found"),
    ],
)
def test_a_wrong_request_is_told_so(target: bytes, body: bytes, status: int, words: str) -> None:
    script = answer(b"POST", target, [], body, number=1)
    assert script.status == status
    assert words in plain(script)["error"]["message"]


def test_other_methods_are_refused() -> None:
    assert answer(b"DELETE", CHAT, [], b"", number=1).status == 405
    assert answer(b"GET", b"/v1/models/none", [], b"", number=1).status == 404


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.sampled_from(["demo", "function", "json_schema", "required", "object", "#"]),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(
        st.sampled_from(
            ["role", "content", "text", "type", "function", "name", "parameters", "schema", "json_schema", "parts",
             "properties", "items", "minItems", "minimum", "exclusiveMaximum", "$ref", "allOf", "anyOf", "format"]
        ), v, max_size=5),
    max_leaves=20,
)  # fmt: skip
field_names = st.sampled_from(
    ["messages", "tools", "tool_choice", "response_format", "stream", "max_tokens", "n", "stop", "stream_options",
     "input", "text", "system", "output_config", "contents", "generationConfig", "toolConfig", "prompt", "dimensions"]
)  # fmt: skip


@given(st.sampled_from(LANGUAGES), st.dictionaries(field_names, json_values, max_size=6))
def test_any_request_is_answered_or_refused(language: str, fields: dict[str, Any]) -> None:
    target, body = REQUESTS[language]
    script = post(target.replace(b"MODEL", b"demo-n3"), {**body, "model": "demo-n3", **fields})
    assert script.status in (200, 400)
    sent(script)
