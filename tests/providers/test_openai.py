"""The openai and azure providers: which dialect a call is sent in, where to, and what each origin is known for."""

from __future__ import annotations

import pytest

from fastanchor.core.call import Call
from fastanchor.core.channel import Channel, Secret
from fastanchor.core.faults import Fault, Kind
from fastanchor.providers.registry import provider

OPENAI, AZURE = provider("openai"), provider("azure")
HOME = "https://api.openai.com/v1"
RESOURCE = "https://mine.openai.azure.com"


def call(dialect: str, **facts: object) -> Call:
    return Call(dialect, "m", b"{}", **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses", "openai_completions"])
def test_openai_itself_speaks_all_of_its_dialects_and_others_chat(dialect: str) -> None:
    assert OPENAI.dialect(Channel("c", "openai", HOME), call(dialect)) == dialect
    assert OPENAI.dialect(Channel("c", "openai", "https://api.groq.com/openai/v1"), call(dialect)) == "openai_chat"
    assert OPENAI.dialect(Channel("c", "openai", "https://notopenai.com/v1"), call(dialect)) == "openai_chat"


def test_the_operator_says_what_an_origin_speaks() -> None:
    channel = Channel("c", "openai", "http://vllm:8000/v1", options={"dialects": "openai_chat, openai_responses"})
    assert OPENAI.dialect(channel, call("openai_responses")) == "openai_responses"
    assert OPENAI.dialect(channel, call("openai_completions")) == "openai_chat"


@pytest.mark.parametrize("dialect", ["anthropic", "gemini", "anchor"])
def test_other_languages_are_translated_to_chat(dialect: str) -> None:
    assert OPENAI.dialect(Channel("c", "openai", HOME), call(dialect)) == "openai_chat"


def test_embeddings_are_embeddings_in_every_language() -> None:
    assert OPENAI.dialect(Channel("c", "openai", HOME), call("gemini", operation="embeddings")) == "openai_embeddings"


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("api.openai.com", ""),
        ("api.x.ai", ""),
        ("api.groq.com", ""),
        ("api.deepseek.com", "legacy_max_tokens replays_reasoning thinking_toggle"),
        ("api.moonshot.ai", "legacy_max_tokens replays_reasoning thinking_toggle"),
        ("dashscope.aliyuncs.com", "legacy_max_tokens replays_reasoning enable_thinking top_k"),
        ("api.mistral.ai", "legacy_max_tokens short_tool_ids random_seed no_stream_options no_labels"),
        ("openrouter.ai", "reasoning_details cache_control top_k"),
        ("mistral.ai.evil.example", ""),
    ],
)
def test_the_words_of_an_origin(host: str, words: str) -> None:
    assert OPENAI.quirks(Channel("c", "openai", f"https://{host}/v1"), "m") == set(words.split())


def test_the_operators_words_are_added() -> None:
    channel = Channel("c", "openai", "http://ollama:11434/v1", options={"quirks": "legacy_max_tokens, top_k,"})
    assert OPENAI.quirks(channel, "m") == {"legacy_max_tokens", "top_k"}


@pytest.mark.parametrize(
    ("dialect", "path"),
    [
        ("openai_chat", "/v1/chat/completions"),
        ("openai_responses", "/v1/responses"),
        ("openai_completions", "/v1/completions"),
        ("openai_embeddings", "/v1/embeddings"),
    ],
)
def test_the_path_and_the_credential(dialect: str, path: str) -> None:
    channel = Channel("c", "openai", HOME)
    sent = OPENAI.upstream(channel, Secret("k1"), dialect, call(dialect), "m", b"{}", {"authorization": "Bearer own"})
    assert (sent.method, sent.target) == (b"POST", path.encode())
    assert [value for name, value in sent.headers if name == b"authorization"] == [b"Bearer k1"]
    assert "k1" not in repr(sent)


@pytest.mark.parametrize(
    ("options", "dialect", "target"),
    [
        ({}, "openai_chat", "/openai/deployments/my%20gpt/chat/completions?api-version=2024-10-21"),
        ({}, "openai_embeddings", "/openai/deployments/my%20gpt/embeddings?api-version=2024-10-21"),
        ({"api_version": "2025-04-01-preview"}, "openai_completions",
         "/openai/deployments/my%20gpt/completions?api-version=2025-04-01-preview"),
        ({}, "openai_responses", "/openai/v1/responses"),
        ({"api_version": "v1"}, "openai_chat", "/openai/v1/chat/completions"),
    ],
)  # fmt: skip
def test_azure_has_the_deployment_in_the_path_and_its_own_header(
    options: dict[str, str], dialect: str, target: str
) -> None:
    channel = Channel("c", "azure", RESOURCE, options=options)
    sent = AZURE.upstream(channel, Secret("k1"), dialect, call(dialect), "my gpt", b"{}", {})
    assert sent.target == target.encode()
    fields = dict(sent.headers)
    assert fields[b"api-key"] == b"k1"
    assert b"authorization" not in fields


def test_azure_speaks_all_of_them_or_what_the_operator_says() -> None:
    assert AZURE.dialect(Channel("c", "azure", RESOURCE), call("openai_responses")) == "openai_responses"
    narrow = Channel("c", "azure", RESOURCE, options={"dialects": "openai_chat"})
    assert AZURE.dialect(narrow, call("openai_responses")) == "openai_chat"


def test_a_stored_response_is_asked_for_below_the_path_of_responses() -> None:
    sent = OPENAI.stored(Channel("c", "openai", HOME), Secret("k1"), b"DELETE", "resp_1/../x")
    assert (sent.method, sent.target, sent.body) == (b"DELETE", b"/v1/responses/resp_1%2F..%2Fx", b"")
    assert AZURE.stored(Channel("c", "azure", RESOURCE), None, b"GET", "r").target == b"/openai/v1/responses/r"


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "bedrock"])
def test_where_no_responses_are_stored_there_are_none(name: str) -> None:
    with pytest.raises(Fault) as caught:
        provider(name).stored(Channel("c", name, "https://elsewhere.example/v1"), None, b"GET", "resp_1")
    assert caught.value.kind is Kind.NOT_FOUND


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini", "azure", "demo"])
def test_most_providers_neither_sign_nor_frame(name: str) -> None:
    one = provider(name)
    channel = Channel("c", name, HOME)
    sent = one.upstream(channel, Secret("k"), one.dialect(channel, call("openai_chat")), call("openai_chat"), "m",
                        b"{}", {})  # fmt: skip
    assert one.signed(channel, Secret("k"), sent, 0.0) is sent
    assert one.unframer() is None
