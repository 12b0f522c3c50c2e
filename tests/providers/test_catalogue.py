"""The catalogue: the published prices, names under their aliases, traits by family, and its data file."""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from fnmatch import fnmatchcase

import pytest

from fastanchor.providers import catalogue
from fastanchor.providers.families import FAMILIES, family

PUBLISHED = {
    # micro-dollars per million tokens: input, output
    "gpt-4o": (2_500_000, 10_000_000),
    "gpt-4.1": (2_000_000, 8_000_000),
    "claude-sonnet-4-20250514": (3_000_000, 15_000_000),
    "claude-haiku-4-20250514": (800_000, 4_000_000),
    "gemini-3.0-pro": (1_250_000, 5_000_000),
    "deepseek-v4-flash": (200_000, 400_000),
    "deepseek-v4-pro": (600_000, 1_200_000),
    "qwen-3.7-max": (100_000, 400_000),
}


@pytest.mark.parametrize("model", sorted(PUBLISHED))
def test_the_published_price_list_is_what_the_table_gives(model: str) -> None:
    card = catalogue.card(model)
    assert card is not None
    assert len(card.prices) == 1
    assert (card.prices[0].input, card.prices[0].output) == PUBLISHED[model]
    assert card.context > 0
    assert card.owned_by


@pytest.mark.parametrize(
    ("alias", "model"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("openai/gpt-4.1", "gpt-4.1"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5"),
        ("claude-3-5-haiku-latest", "claude-3-5-haiku-20241022"),
        ("gpt-5-nano-2025-08-07", "gpt-5-nano"),
        ("GPT-4o", "gpt-4o"),
    ],
)
def test_a_name_with_marks_costs_what_the_plain_one_does(alias: str, model: str) -> None:
    found, plain = catalogue.card(alias), catalogue.card(model)
    assert found is not None
    assert plain is not None
    assert found.prices == plain.prices
    assert found.traits == plain.traits
    assert found.id == alias


def test_prices_of_long_prompts_are_tiers_by_rising_bound() -> None:
    card = catalogue.card("gemini-2.5-pro")
    assert card is not None
    assert [(tier.above, tier.input, tier.output) for tier in card.prices] == [
        (0, 1_250_000, 10_000_000),
        (200_000, 2_500_000, 15_000_000),
    ]


def test_cached_and_spoken_tokens_have_their_own_prices() -> None:
    claude, sonic = catalogue.card("claude-haiku-4-5"), catalogue.card("gpt-realtime")
    assert claude is not None
    assert sonic is not None
    first = claude.prices[0]
    assert (first.cache_read, first.cache_write, first.cache_write_1h) == (100_000, 1_250_000, 2_000_000)
    assert sonic.prices[0].audio_input is not None
    assert sonic.prices[0].audio_output is not None


def test_an_embedding_model_has_no_price_for_output() -> None:
    card = catalogue.card("text-embedding-3-small")
    assert card is not None
    assert card.prices[0].output == 0
    assert card.traits == {"embeddings"}


def test_a_reseller_sets_the_price_of_its_own_name_only() -> None:
    bedrock, own = catalogue.card("us.anthropic.claude-sonnet-4-5-20250929-v1:0"), catalogue.card("claude-sonnet-4-5")
    assert bedrock is not None
    assert own is not None
    assert bedrock.owned_by == own.owned_by == "anthropic"
    assert bedrock.prices != own.prices
    assert bedrock.traits == own.traits


def test_an_unknown_model_of_a_known_vendor_has_traits_and_no_price() -> None:
    card = catalogue.card("gpt-9-unheard-of")
    assert card is not None
    assert card.prices == ()
    assert "reasoning" in card.traits


@pytest.mark.parametrize("model", ["", "unheard-of", "/", "a/b/c", "x" * 5000, "(", "*", "\0"])
def test_an_unknown_vendor_has_no_card(model: str) -> None:
    assert catalogue.card(model) is None


@pytest.mark.parametrize(
    ("model", "has", "lacks"),
    [
        ("o3", {"reasoning", "effort", "no_sampling", "max_completion_tokens"}, set()),
        ("o1-mini", {"reasoning", "no_sampling"}, {"effort", "tools"}),
        ("gpt-5-mini", {"reasoning", "effort", "no_sampling", "max_completion_tokens", "documents"}, set()),
        ("gpt-5-chat-latest", {"max_completion_tokens"}, {"reasoning"}),
        ("gpt-4o", {"vision", "json_schema"}, {"reasoning", "no_sampling", "max_completion_tokens"}),
        ("claude-3-5-sonnet-20241022", {"prefill", "tools"}, {"reasoning"}),
        ("claude-3-7-sonnet-20250219", {"thinking_budget", "prefill"}, {"effort", "json_schema"}),
        ("claude-opus-4-20250514", {"thinking_budget", "prefill"}, {"json_schema", "thinking_adaptive"}),
        ("claude-opus-4-5-20251101", {"thinking_budget", "json_schema", "prefill"}, {"no_sampling"}),
        ("claude-opus-4-6", {"thinking_adaptive", "effort", "json_schema"}, {"prefill", "no_sampling"}),
        ("claude-opus-4-8", {"thinking_adaptive", "no_sampling"}, {"prefill"}),
        ("claude-sonnet-5-5", {"thinking_adaptive", "no_sampling"}, {"prefill", "thinking_budget"}),
        ("gemini-2.5-flash", {"thinking_budget"}, {"thinking_level"}),
        ("gemini-3-flash-preview", {"thinking_level", "effort"}, {"thinking_budget"}),
        ("gemini-2.0-flash", {"tools"}, {"reasoning"}),
        ("deepseek-reasoner", {"reasoning"}, {"effort"}),
    ],
)
def test_a_family_has_its_traits(model: str, has: set[str], lacks: set[str]) -> None:
    card = catalogue.card(model)
    assert card is not None
    assert has <= card.traits
    assert not lacks & card.traits


@pytest.mark.parametrize(
    ("model", "most"),
    [("claude-3-haiku-20240307", 4096), ("claude-opus-4-1-20250805", 32_000), ("claude-sonnet-4-5", 64_000)],
)
def test_a_claude_knows_its_longest_output(model: str, most: int) -> None:
    card = catalogue.card(model)
    assert card is not None
    assert card.max_output == most


def test_every_family_can_be_reached_and_says_why_it_is_there() -> None:
    for at, one in enumerate(FAMILIES):
        assert one.reason
        assert one.pattern == one.pattern.lower()
        sample = one.pattern.replace("*", "0").replace("[134]", "3").replace("[789]", "8")
        sample = sample.replace("[5-9]", "7").replace("[4-9]", "7").replace("[6-9]", "7")
        assert fnmatchcase(sample, one.pattern)
        found = family(sample)
        assert found is not None
        assert FAMILIES.index(found) <= at


def test_prices_are_whole_micro_dollars_and_tiers_rise() -> None:
    for name in catalogue.models():
        card = catalogue.card(name)
        assert card is not None
        bounds = [tier.above for tier in card.prices]
        assert bounds == sorted(set(bounds))
        assert bounds[0] == 0
        for tier in card.prices:
            assert type(tier.input) is int
            assert type(tier.output) is int
            assert 0 <= tier.input < 10**10


def test_the_data_is_read_when_first_asked_for() -> None:
    code = "from fastanchor.providers import catalogue as c; assert not c._data.cache_info().currsize; c.card('gpt-4o')"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_data_file_is_what_the_script_writes() -> None:
    compile_prices = pytest.importorskip("fastanchor.providers.compile_prices", exc_type=ImportError)
    data = catalogue._data()
    again = compile_prices.compiled(date.fromisoformat(data.day))
    if again["source"] != data.source:
        pytest.skip(f"the file was made from {data.source}, installed is {again['source']}")
    assert [listing.rows for listing in data.lists] == [again[name] for name in ("overrides", "vendors", "resellers")]
