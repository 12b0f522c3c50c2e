"""Every client dialect to every provider's: what is carried, dropped and refused, in a table and at a real socket."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from fastanchor.dialects import registry
from tests.interop import features, pairings
from tests.interop.features import CLIENTS, FEATURES
from tests.kit.binary import Binary

CELLS = [
    (client, provider, feature)
    for client in CLIENTS
    for provider in pairings.MODELS
    for feature in FEATURES
    if client in FEATURES[feature]
]
ALIKE = {
    # what a provider does or leaves without being asked
    ("thinking off", "openai_chat"): "the model does not think",
    ("thinking off", "openai_responses"): "the model does not think",
    ("thinking off", "anthropic"): "thinking is only on when asked for",
}
def test_the_table_of_pairings_is_up_to_date() -> None:
    assert pairings.GOLDEN.read_text() == pairings.whole()


def test_what_is_carried_by_nothing_is_explained() -> None:
    """A field that leaves no trace in the provider's request was lost in silence, unless it is one of these."""
    silent = {(feature, provider) for client, provider, feature in CELLS
              if pairings.cell(client, provider, feature) == "same"}  # fmt: skip
    assert silent == set(ALIKE)


def test_a_refused_field_is_one_that_the_client_wrote() -> None:
    for client, provider, feature in CELLS:
        cell = pairings.cell(client, provider, feature)
        if cell.startswith("400"):
            name = cell.split("`")[1].replace("[", ".").split(".")[0]
            assert name in features.asked(client, feature), (client, provider, feature, cell)


def test_a_dropped_field_is_one_that_the_client_wrote() -> None:
    for client, provider, feature in CELLS:
        cell = pairings.cell(client, provider, feature)
        for name in cell.split("`")[1::2] if cell.startswith(("dropped", "in part")) else ():
            asked = json.dumps(features.asked(client, feature)).replace("safety_identifier", "user")  # one, renamed
            assert all(word in asked or word == "reasoning" for word in _words(name)), (client, provider, feature, name)


def _words(name: str) -> list[str]:
    return [word for word in name.replace("[", ".").replace("]", "").split(".") if not word.isdigit()]


def ask(instance: Binary, client: str, provider: str, feature: str) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the answer to the feature's request."""
    model = f"{provider}-demo"
    path = features.PATHS[client].replace("public", model)
    body = features.asked(client, feature) | ({} if client == "gemini" else {"model": model})
    headers = {"content-type": "application/json", "anthropic-version": "2023-06-01"}
    request = urllib.request.Request(instance.url + path, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, dict(answer.headers.items()), json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers.items()), json.load(error)


@pytest.mark.interop
@pytest.mark.parametrize(
    ("client", "provider", "feature", "named"),
    [
        ("openai_chat", "anthropic", "two choices", "n"),
        ("openai_chat", "openai_completions", "JSON schema", "response_format"),
        ("openai_responses", "gemini", "background", "background"),
        ("openai_responses", "anthropic", "log probabilities", "include"),
        ("openai_completions", "gemini", "several prompts", "prompt"),
        ("anthropic", "openai_chat", "five stop sequences", "stop_sequences"),
        ("anthropic", "openai_responses", "MCP servers", "mcp_servers"),
        ("gemini", "anthropic", "two choices", "generationConfig.candidateCount"),
        ("gemini", "openai_chat", "video", "contents[0]"),
    ],
)
def test_a_refusal_names_the_clients_field_in_its_dialect(
    polyglot: Binary, client: str, provider: str, feature: str, named: str
) -> None:
    status, _, body = ask(polyglot, client, provider, feature)
    assert status == 400
    error = body["error"]
    assert named in error["message"]
    if client.startswith("openai"):
        assert (error["param"], error["type"]) == (named, "invalid_request_error")
    elif client == "anthropic":
        assert (body["type"], error["type"]) == ("error", "invalid_request_error")
    else:
        assert (error["code"], error["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.interop
@pytest.mark.parametrize(
    ("client", "provider", "feature", "named"),
    [
        ("openai_chat", "anthropic", "seed", "seed"),
        ("openai_chat", "gemini", "no parallel tool calls", "parallel_tool_calls"),
        ("openai_responses", "anthropic", "verbosity", "text.verbosity"),
        ("openai_completions", "gemini", "logit bias", "logit_bias"),
        ("anthropic", "openai_chat", "top_k", "top_k"),
        ("anthropic", "gemini", "end user", "metadata.user_id"),
        ("gemini", "openai_responses", "seed", "generationConfig.seed"),
        ("gemini", "openai_completions", "safety settings", "safetySettings"),
    ],
)
def test_what_was_dropped_stands_in_a_header(
    polyglot: Binary, client: str, provider: str, feature: str, named: str
) -> None:
    status, headers, _ = ask(polyglot, client, provider, feature)
    assert status == 200
    assert headers["x-fastanchor-dropped"] == named


@pytest.mark.interop
@pytest.mark.parametrize("provider", pairings.MODELS)
@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_gets_an_answer_from_each_provider_with_nothing_dropped(
    polyglot: Binary, client: str, provider: str
) -> None:
    status, headers, _ = ask(polyglot, client, provider, "limit of output")
    assert status == 200
    assert "x-fastanchor-dropped" not in headers
    assert headers["x-fastanchor-channel"] == provider


def test_every_dialect_that_chats_is_in_the_table() -> None:
    others = {"openai_embeddings": "has no chat", "anchor": "reads as chat does"}
    assert set(CLIENTS) | set(others) == set(registry.DIALECTS)
    assert registry.dialect("anchor").words == registry.dialect("openai_chat").words
