"""Gemini embeddings: both verbs, to and from the plain form, and with OpenAI's on the other side."""

from __future__ import annotations

from typing import Any

import httpx2
import orjson
import pytest

from fastanchor.core.call import Call
from fastanchor.core.faults import Fault, Kind
from fastanchor.dialects import relay
from fastanchor.dialects.contract import Answering, Target
from fastanchor.dialects.embedding import EmbeddingAnswer, EmbeddingRequest
from fastanchor.dialects.gemini import DIALECT, Gemini
from fastanchor.dialects.registry import dialect
from tests.dialects import gemini_sdk

GEMINI = Gemini()
ONE = {"content": {"parts": [{"text": "a"}, {"text": "b"}]}, "taskType": "RETRIEVAL_QUERY", "outputDimensionality": 5}
TWO = {**ONE, "content": {"parts": [{"text": "c"}]}, "model": "models/gemini-embedding-001"}


def call(body: Any, verb: str = "batchEmbedContents") -> Call:
    return GEMINI.read(orjson.dumps(body), f"/v1beta/models/gemini-embedding-001:{verb}", "", {})


def test_both_verbs_are_read() -> None:
    batch, single = call({"requests": [ONE, TWO]}), call(ONE, "embedContent")
    assert batch.operation == single.operation == "embeddings"
    assert GEMINI.parse_embedding(batch) == EmbeddingRequest(("ab", "c"), 5, task="RETRIEVAL_QUERY")
    assert GEMINI.parse_embedding(single) == EmbeddingRequest(("ab",), 5, task="RETRIEVAL_QUERY")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"requests": []}, "requests"),
        ({}, "requests"),
        ({"requests": [{"content": {"parts": []}}]}, "requests[0].content"),
        ({"requests": [{"content": {"parts": [{"inlineData": {}}]}}]}, "requests[0].content.parts[0]"),
        ({"requests": [{**ONE, "outputDimensionality": 0}]}, "requests[0].outputDimensionality"),
        ({"requests": [ONE, {**TWO, "taskType": "CLUSTERING"}]}, "requests[1]"),
        ({"requests": [ONE] * 2049}, "requests"),
    ],
)
def test_what_cannot_be_embedded_is_refused_by_name(body: Any, param: str) -> None:
    with pytest.raises(Fault) as caught:
        GEMINI.parse_embedding(call(body))
    assert (caught.value.kind, caught.value.param) == (Kind.INVALID_REQUEST, param)


def test_a_request_is_written_as_a_batch() -> None:
    request = EmbeddingRequest(("a", "b"), 3, task="CLUSTERING", dropped=("user",))
    written = GEMINI.write_embedding(request, Target("gemini-embedding-001"))
    row = {"model": "models/gemini-embedding-001", "taskType": "CLUSTERING", "outputDimensionality": 3}
    assert orjson.loads(written.body) == {"requests": [{**row, "content": {"parts": [{"text": t}]}} for t in "ab"]}
    assert written.dropped == ("user",)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"embeddings": [{"values": [1, 0.5]}, {"values": [2, 3]}]}, EmbeddingAnswer(((1.0, 0.5), (2.0, 3.0)))),
        ({"embedding": {"values": [1.5]}, "usageMetadata": {"promptTokenCount": 4}}, EmbeddingAnswer(((1.5,),), 4)),
    ],
)
def test_answers_are_read(body: Any, answer: EmbeddingAnswer) -> None:
    assert GEMINI.read_embedding(orjson.dumps(body)) == answer


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{}", Kind.EMPTY_ANSWER),
        (b'{"embeddings":[]}', Kind.EMPTY_ANSWER),
        (b'{"embeddings":[{}]}', Kind.EMPTY_ANSWER),
        (b"[", Kind.MALFORMED_ANSWER),
        (b'{"embeddings":5}', Kind.MALFORMED_ANSWER),
        (b'{"embedding":{"values":["x"]}}', Kind.MALFORMED_ANSWER),
        (b'{"error":{"code":429}}', Kind.UPSTREAM_RATE_LIMITED),
    ],
)
def test_what_is_no_answer_is_a_fault(body: bytes, kind: Kind) -> None:
    with pytest.raises(Fault) as caught:
        GEMINI.read_embedding(body)
    assert caught.value.kind is kind


def test_vectors_have_no_output_to_count() -> None:
    usage = DIALECT.usage_of(b'{"embeddings":[{"values":[1]}],"usageMetadata":{"promptTokenCount":4}}')
    assert (usage.input, usage.output) == (4, 0)
    usage = DIALECT.usage_of(b'{"embeddings":[{"values":[1]}]}')
    assert (usage.input, usage.output) == (None, 0)


def test_the_body_of_a_pass_through_names_the_upstreams_model() -> None:
    out = DIALECT.edit(call({"requests": [ONE, TWO]}), "other")
    assert orjson.loads(out) == {"requests": [ONE, {**TWO, "model": "models/other"}]}
    single = call({**ONE, "model": "models/x"}, "embedContent")
    assert orjson.loads(DIALECT.edit(single, "other"))["model"] == "models/other"
    assert DIALECT.edit(call({"requests": [ONE]}), "other") == orjson.dumps({"requests": [ONE]})


def test_the_sdk_embeds_through_an_openai_upstream() -> None:
    openai = dialect("openai_embeddings")

    def handler(request: httpx2.Request) -> httpx2.Response:
        asked = GEMINI.read(request.content, request.url.path, request.url.query.decode(), {})
        sent = orjson.loads(relay.request(DIALECT, openai, asked, Target("text-embedding-3-small")).body)
        assert sent == {"model": "text-embedding-3-small", "input": ["a", "b"], "encoding_format": "float"}
        rows = [{"object": "embedding", "index": i, "embedding": [i + 0.5, 1.0]} for i in range(2)]
        answer = {"object": "list", "data": rows, "model": "m", "usage": {"prompt_tokens": 2, "total_tokens": 2}}
        body = relay.whole(openai, DIALECT, orjson.dumps(answer), Answering(asked, "public", "r", 0))
        return httpx2.Response(200, content=body, headers={"content-type": "application/json"})

    told = gemini_sdk.client(handler).models.embed_content(model="gemini-embedding-001", contents=["a", "b"])
    assert told.embeddings is not None
    assert [one.values for one in told.embeddings] == [[0.5, 1.0], [1.5, 1.0]]
