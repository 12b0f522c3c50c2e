"""Embeddings across dialects, real processes: the official clients of both sides, each to providers of either language.

The demo provider embeds the same text as the same vector in each dialect, so what arrives can be compared number by
number.
"""

from __future__ import annotations

import base64
import json
import struct
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from tests.kit.binary import Binary

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

TEXTS = ["one and two", "three"]
PROVIDERS = ("openai_chat", "gemini")


@pytest.fixture
def gpt(polyglot: Binary) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key="k", base_url=f"{polyglot.url}/v1", max_retries=0) as client:
        yield client


@pytest.fixture
def gemini(polyglot: Binary) -> Iterator[genai.Client]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=polyglot.url))
    with closing(client):
        yield client


def vectors(gpt: openai.OpenAI, provider: str, texts: Any = TEXTS, **fields: Any) -> list[list[float]]:
    answer = gpt.embeddings.create(model=f"{provider}-demo", input=texts, **fields)
    assert [row.index for row in answer.data] == list(range(len(answer.data)))
    assert answer.model == {"openai_chat": "demo-fast", "gemini": "gemini-demo"}[provider]  # bytes, or translated
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 0
    return [row.embedding for row in answer.data]


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_openai_client_gets_the_same_vectors_from_each_provider(gpt: openai.OpenAI, provider: str) -> None:
    plain = vectors(gpt, "openai_chat", encoding_format="float")
    assert [len(vector) for vector in plain] == [64, 64]
    wanted = [pytest.approx(one, abs=1e-7) for one in plain]
    assert vectors(gpt, provider, encoding_format="float") == wanted
    assert vectors(gpt, provider) == wanted  # the client asks for base64, and takes it apart
    packed: Any = vectors(gpt, provider, encoding_format="base64")
    assert [struct.unpack("<64f", base64.b64decode(one)) for one in packed] == wanted


@pytest.mark.parametrize("provider", PROVIDERS)
def test_one_text_and_fewer_dimensions(gpt: openai.OpenAI, provider: str) -> None:
    (vector,) = vectors(gpt, provider, "one and two", dimensions=8)
    assert len(vector) == 8


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_gemini_client_gets_them_too(gpt: openai.OpenAI, gemini: genai.Client, provider: str) -> None:
    texts = [types.Content(parts=[types.Part(text=text)]) for text in TEXTS]  # strings may be taken for one content
    answer = gemini.models.embed_content(model=f"{provider}-demo", contents=texts)
    told = [embedding.values or [] for embedding in answer.embeddings or []]
    assert told == [pytest.approx(one, abs=1e-7) for one in vectors(gpt, "openai_chat")]
    config = types.EmbedContentConfig(output_dimensionality=8)
    (small,) = gemini.models.embed_content(model=f"{provider}-demo", contents="x", config=config).embeddings or []
    assert len(small.values or []) == 8


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_verb_for_one_text_answers_with_one(polyglot: Binary, gpt: openai.OpenAI, provider: str) -> None:
    body = {"content": {"parts": [{"text": "three"}]}, "taskType": "RETRIEVAL_QUERY"}
    address = f"{polyglot.url}/v1beta/models/{provider}-demo:embedContent"
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        told, dropped = json.load(answer), answer.headers.get("x-fastanchor-dropped")
    assert told["embedding"]["values"] == pytest.approx(vectors(gpt, "openai_chat", "three")[0], abs=1e-7)
    assert dropped == (None if provider == "gemini" else "taskType")


def test_what_cannot_cross_is_refused_by_name(gpt: openai.OpenAI) -> None:
    assert len(vectors(gpt, "openai_chat", [[1, 2, 3]])) == 1  # tokens pass where the dialect is the same
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.embeddings.create(model="gemini-demo", input=[[1, 2, 3]])
    assert caught.value.param == "input"


def test_a_provider_without_embeddings_says_so_in_each_dialect(gpt: openai.OpenAI, gemini: genai.Client) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        gpt.embeddings.create(model="anthropic-demo", input="x")
    assert caught.value.param == "model"
    with pytest.raises(genai_errors.ClientError) as told:
        gemini.models.embed_content(model="anthropic-demo", contents="x")
    assert (told.value.code, told.value.status) == (400, "INVALID_ARGUMENT")
