"""The gemini provider: where a call goes, with which credential, and that neither shows."""

from __future__ import annotations

import pytest

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.providers.contract import Upstream
from fastanchor.providers.registry import provider

BASE = "https://generativelanguage.googleapis.com"
GEMINI = provider("gemini")


def ask(base_url: str = BASE, model: str = "gemini-2.5-pro", call: Call | None = None, **options: str) -> Upstream:
    channel = Channel("g", "gemini", base_url, options=options)
    asked = call or Call("openai_chat", "m", b"{}", stream=True)
    client = {"x-goog-user-project": "p", "x-goog-api-key": "client-key", "cookie": "c"}
    return GEMINI.upstream(channel, Secret("top-secret"), "gemini", asked, model, b"{}", client)


@pytest.mark.parametrize(
    ("base_url", "path"),
    [
        (BASE, "/v1beta/models/gemini-2.5-pro:"),
        (BASE + "/v1beta", "/v1beta/models/gemini-2.5-pro:"),
        (BASE + "/v1", "/v1/models/gemini-2.5-pro:"),
        (BASE + "/v1alpha", "/v1alpha/models/gemini-2.5-pro:"),
        ("http://127.0.0.1:9/proxy", "/proxy/v1beta/models/gemini-2.5-pro:"),
        ("http://127.0.0.1:9/proxy/v1beta", "/proxy/v1beta/models/gemini-2.5-pro:"),
        (
            "https://us-east1-aiplatform.googleapis.com/v1/projects/p/locations/l/publishers/google",
            "/v1/projects/p/locations/l/publishers/google/models/gemini-2.5-pro:",
        ),
    ],
)
def test_the_api_version_is_added_where_the_base_url_has_none(base_url: str, path: str) -> None:
    assert ask(base_url).target == path.encode() + b"streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("call", "tail"),
    [
        (Call("openai_chat", "m", b"{}"), b":generateContent"),
        (Call("anthropic", "m", b"{}", stream=True), b":streamGenerateContent?alt=sse"),
        (Call("openai_embeddings", "m", b"{}", operation="embeddings"), b":batchEmbedContents"),
        (Call("gemini", "m", b"{}", options={"verb": "generateContent", "framing": "array"}), b":generateContent"),
        (
            Call("gemini", "m", b"{}", stream=True, options={"verb": "streamGenerateContent", "framing": "array"}),
            b":streamGenerateContent",
        ),
        (
            Call("gemini", "m", b"{}", stream=True, options={"verb": "streamGenerateContent", "framing": "sse"}),
            b":streamGenerateContent?alt=sse",
        ),
        (
            Call("gemini", "m", b"{}", operation="embeddings", options={"verb": "embedContent", "framing": "array"}),
            b":embedContent",
        ),
        (
            Call("gemini", "m", b"{}", operation="count_tokens", options={"verb": "countTokens", "framing": "array"}),
            b":countTokens",
        ),
    ],
)
def test_the_verb_follows_the_call(call: Call, tail: bytes) -> None:
    assert ask(call=call).target == b"/v1beta/models/gemini-2.5-pro" + tail


def test_the_key_goes_in_a_header_and_the_clients_own_does_not() -> None:
    headers = dict(ask().headers)
    assert headers[b"x-goog-api-key"] == b"top-secret"
    assert headers[b"x-goog-user-project"] == b"p"
    assert b"cookie" not in headers
    assert b"authorization" not in headers


def test_a_vertex_token_is_a_bearer() -> None:
    headers = dict(ask(auth="bearer").headers)
    assert headers[b"authorization"] == b"Bearer top-secret"
    assert b"x-goog-api-key" not in headers


def test_the_credential_does_not_show_in_a_repr() -> None:
    assert "top-secret" not in repr(ask())


def test_a_model_name_cannot_leave_its_place_in_the_path() -> None:
    assert ask(model="a/../b?x=1#y z").target.startswith(b"/v1beta/models/a%2F..%2Fb%3Fx%3D1%23y%20z:")
    assert ask(model="tunedModels/mine").target.startswith(b"/v1beta/tunedModels/mine:")
    assert ask(model="a\r\nb").target.startswith(b"/v1beta/models/a%0D%0Ab:")


def test_every_call_is_sent_in_its_own_dialect() -> None:
    channel = Channel("g", "gemini", BASE)
    assert GEMINI.dialect(channel, Call("gemini", "m", b"{}", operation="count_tokens")) == "gemini"
    assert GEMINI.dialect(channel, Call("openai_chat", "m", b"{}")) == "gemini"


def test_quirks_are_the_operators_and_vertex_adds_its_own() -> None:
    plain = Channel("g", "gemini", BASE, options={"quirks": "no_json_schema, x"})
    vertex = Channel("g", "gemini", "https://us-aiplatform.googleapis.com/v1/x/publishers/google")
    assert GEMINI.quirks(plain, "m") == {"no_json_schema", "x"}
    assert GEMINI.quirks(vertex, "m") == {"no_call_ids"}
