"""Embeddings: requests that pass, the plain form between dialects, and the official client's view."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Answering, Target
from fastanchor.dialects.embedding import EmbeddingAnswer, EmbeddingDialect, EmbeddingRequest
from fastanchor.dialects.openai_embeddings import MAX_INPUTS, OpenAIEmbeddings
from tests.dialects.chat_kit import client

DIALECT = OpenAIEmbeddings()


def read(**fields: Any) -> Call:
    return DIALECT.read(orjson.dumps({"model": "m", "input": "four words are here", **fields}), "", "", {})


def told(call: Call) -> Answering:
    return Answering(call, "public", "req_1", 5)


def test_the_dialect_embeds() -> None:
    assert isinstance(DIALECT, EmbeddingDialect)


@pytest.mark.parametrize(
    ("given_input", "tokens"),
    [("four words are here", 5), (["ab", "cd"], 1), ([1, 2, 3], 3), ([[1, 2], [3, 4, 5]], 5)],
)
def test_requests_are_read_and_edited_in_place(given_input: Any, tokens: int) -> None:
    call = read(input=given_input, dimensions=8, encoding_format="base64")
    assert (call.operation, call.prompt_tokens, call.max_output) == ("embeddings", tokens, 0)
    assert orjson.loads(DIALECT.edit(call, "up")) == {
        "model": "up", "input": given_input, "dimensions": 8, "encoding_format": "base64"
    }
    assert DIALECT.edit(call, "m") is call.body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"), ({"input": ""}, "input"), ({"input": []}, "input"), ({"input": 5}, "input"),
        ({"model": None}, "model"), ({"stream": True}, "stream"), ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "8"}, "dimensions"), ({"encoding_format": "hex"}, "encoding_format"),
    ],
)  # fmt: skip
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(Fault) as caught:
        read(**fields)
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


@pytest.mark.parametrize(
    ("given_input", "param"),
    [([1, 2], "input"), ([[1]], "input"), (["a", ""], "input[1]"), (["a", None], "input[1]"),
     (["a"] * (MAX_INPUTS + 1), "input")],
)  # fmt: skip
def test_inputs_that_cannot_cross_are_refused(given_input: Any, param: str) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.parse_embedding(read(input=given_input))
    assert caught.value.param == param


def test_the_plain_form() -> None:
    request = DIALECT.parse_embedding(read(input=["a", "b"], dimensions=3, encoding_format="base64", user="u"))
    assert request == EmbeddingRequest(("a", "b"), 3, "base64", ("user",))
    made = DIALECT.write_embedding(request, Target("up"))
    assert orjson.loads(made.body) == {
        "model": "up", "input": ["a", "b"], "dimensions": 3, "encoding_format": "float"
    }
    assert made.dropped == ("user",)


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_the_official_client_reads_both_encodings(encoding: str) -> None:
    answer = EmbeddingAnswer(((0.5, -0.25), (1.0, 2.0)), 9)
    body = DIALECT.write_embedding_answer(answer, told(read(encoding_format=encoding)))
    sdk = client(body, stream=False).embeddings.create(model="m", input=["a", "b"])
    assert [tuple(row.embedding) for row in sdk.data] == list(answer.vectors)
    assert [row.index for row in sdk.data] == [0, 1]
    assert (sdk.usage.prompt_tokens, sdk.model) == (9, "public")


vectors = st.lists(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=4).map(tuple), min_size=1, max_size=4
).map(tuple)


@given(vectors, st.sampled_from(["float", "base64"]), st.none() | st.integers(0, 99))
def test_answers_come_back_as_they_were(given_vectors: Any, encoding: str, tokens: int | None) -> None:
    call = read(encoding_format=encoding)
    answer = EmbeddingAnswer(given_vectors, tokens)
    again = DIALECT.read_embedding(DIALECT.write_embedding_answer(answer, told(call)))
    assert again.vectors == given_vectors
    assert again.tokens == (call.prompt_tokens if tokens is None else tokens)


def test_rows_are_put_in_order() -> None:
    body = b'{"data":[{"index":1,"embedding":[2.0]},{"index":0,"embedding":[1.0]}]}'
    assert DIALECT.read_embedding(body).vectors == ((1.0,), (2.0,))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", Kind.MALFORMED_ANSWER), (b"[]", Kind.MALFORMED_ANSWER), (b"{}", Kind.EMPTY_ANSWER),
        (b'{"data":[{"embedding":"***"}]}', Kind.MALFORMED_ANSWER),
        (b'{"data":[{"embedding":[]}]}', Kind.MALFORMED_ANSWER),
        (b'{"data":[{"embedding":["x"]}]}', Kind.MALFORMED_ANSWER), (b'{"data":[{}]}', Kind.MALFORMED_ANSWER),
        (b'{"data":[{"embedding":[1e39]}]}', Kind.MALFORMED_ANSWER), (b'{"error":{"message":"x"}}', Kind.IN_BAND_ERROR),
    ],
)  # fmt: skip
def test_answers_that_are_none_are_faults(body: bytes, kind: Kind) -> None:
    with pytest.raises(Fault) as caught:
        DIALECT.read_embedding(body)
    assert caught.value.kind is kind


def test_usage_has_no_output() -> None:
    usage = DIALECT.usage_of(b'{"data":[],"usage":{"prompt_tokens":6,"total_tokens":6}}')
    assert (usage.input, usage.output) == (6, 0)


def test_the_relay_carries_embeddings() -> None:
    call = read(encoding_format="base64")
    made = relay.request(DIALECT, DIALECT, call, Target("up"))
    assert orjson.loads(made.body)["encoding_format"] == "float"
    body = b'{"data":[{"index":0,"embedding":[0.5]}],"usage":{"prompt_tokens":6}}'
    out = orjson.loads(relay.whole(DIALECT, DIALECT, body, told(call)))
    assert isinstance(out["data"][0]["embedding"], str)


@pytest.mark.parametrize("method", ["observer", "parse", "encoder", "decoder"])
def test_chat_is_not_offered(method: str) -> None:
    arguments = {"observer": (read(),), "parse": (read(),), "encoder": (told(read()),), "decoder": ()}[method]
    with pytest.raises(Fault):
        getattr(DIALECT, method)(*arguments)


def test_embeddings_cross_to_gemini_and_back() -> None:
    gemini = registry.dialect("gemini")
    call = read(input=["a", "b"], dimensions=2)
    body = orjson.loads(relay.request(DIALECT, gemini, call, Target("embed")).body)
    assert [row["content"]["parts"][0]["text"] for row in body["requests"]] == ["a", "b"]
    out = orjson.loads(relay.whole(gemini, DIALECT, b'{"embeddings":[{"values":[0.5]},{"values":[1]}]}', told(call)))
    assert [row["embedding"] for row in out["data"]] == [[0.5], [1.0]]
    assert out["usage"]["prompt_tokens"] == call.prompt_tokens
