"""The list of models in the shape that its client knows, and only of what a key may use."""

from __future__ import annotations

from typing import Any

from fastanchor.core.model import ModelCard, PriceTier
from fastanchor.core.principal import Principal
from tests.kit.gateway import channel, digests, running, world
from tests.kit.http import get

MODELS = {"chiro": "chiro-1", "gpt-4o": "gpt-4o"}
CARD = ModelCard(
    "chiro", owned_by="achiral", context=8192, parameters="7B", status="Development",
    prices=(PriceTier(input=2_500_000, output=10_000_000),),
)  # fmt: skip
CODEX_NEEDS = {
    # fields of a model that the Codex client has no default for
    "slug", "display_name", "supported_reasoning_levels", "shell_type", "visibility", "supported_in_api", "priority",
    "base_instructions", "supports_reasoning_summaries", "support_verbosity", "truncation_policy",
    "supports_parallel_tool_calls", "experimental_supported_tools",
}  # fmt: skip
CHANNEL = channel("http://127.0.0.1:1", models=MODELS, any_model=False)


async def test_openai_shape_with_extra_fields() -> None:
    async with running(world(CHANNEL, cards={"chiro": CARD})) as gateway:
        listed = (await get(gateway.port, "/v1/models")).json
        one = (await get(gateway.port, "/v1/models/chiro")).json
    assert listed["object"] == "list"
    assert [entry["id"] for entry in listed["data"]] == ["chiro", "gpt-4o"]  # type: ignore[index, attr-defined]
    assert one == listed["data"][0]  # type: ignore[index]
    assert one["parameters"] == "7B"
    assert one["context_length"] == 8192
    assert one["status"] == "Development"
    assert one["pricing"] == {"input": 2.5, "output": 10.0, "unit": "usd_per_1m_tokens"}


async def test_anthropic_shape_for_who_sends_a_version() -> None:
    async with running(world(CHANNEL)) as gateway:
        listed = (await get(gateway.port, "/v1/models", anthropic_version="2023-06-01")).json
    assert listed["has_more"] is False
    assert (listed["first_id"], listed["last_id"]) == ("chiro", "gpt-4o")


async def test_codex_shape_for_who_tells_its_version() -> None:
    async with running(world(CHANNEL)) as gateway:
        listed = (await get(gateway.port, "/v1/models?client_version=0.169.0")).json
    models: Any = listed["models"]
    assert [(entry["slug"], entry["priority"]) for entry in models] == [("chiro", 0), ("gpt-4o", 1)]
    for entry in models:
        assert entry.keys() >= CODEX_NEEDS
        assert entry["base_instructions"]
    assert models[1]["context_window"] == 128_000


async def test_codex_is_told_of_efforts_where_a_model_takes_them() -> None:
    cards = {"chiro": ModelCard("chiro", traits=frozenset({"effort", "reasoning"}))}
    async with running(world(CHANNEL, cards=cards)) as gateway:
        listed = (await get(gateway.port, "/v1/models?client_version=0.169.0")).json
    models: Any = listed["models"]
    told = {entry["slug"]: [level["effort"] for level in entry["supported_reasoning_levels"]] for entry in models}
    assert told == {"chiro": ["low", "medium", "high"], "gpt-4o": []}
    assert models[0]["default_reasoning_level"] == "medium"
    assert models[0]["input_modalities"] == ["text"]


async def test_a_key_sees_what_it_may_use() -> None:
    narrow = Principal("k", "k", "o", models=("gpt-*",))
    async with running(world(CHANNEL, auth=True, keys=digests({"narrow": narrow}))) as gateway:
        listed = (await get(gateway.port, "/v1/models", key="narrow")).json
        hidden = await get(gateway.port, "/v1/models/chiro", key="narrow")
        missing = await get(gateway.port, "/v1/models/nothing", key="narrow")
    assert [entry["id"] for entry in listed["data"]] == ["gpt-4o"]  # type: ignore[index, attr-defined]
    assert (hidden.status, missing.status) == (404, 404)
