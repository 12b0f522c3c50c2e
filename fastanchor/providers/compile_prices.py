"""Compiles `prices.json`, the data of the catalogue, from the package genai-prices (extra `prices`).

    python -m fastanchor.providers.compile_prices [YYYY-MM-DD]

The date chooses among prices that change by date (today when left out). Prices that depend on the time of day count at
their dearest: a bill may then be too high by the discount, never too low. Batch prices are left out.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from genai_prices import data_snapshot
from genai_prices import types as upstream

TARGET = Path(__file__).with_name("prices.json")

Row: TypeAlias = list[Any]

VENDORS = {
    # provider there → owner here; where two know a name, the first one's price is taken
    "openai": "openai", "anthropic": "anthropic", "google": "google", "deepseek": "deepseek", "mistral": "mistral",
    "x-ai": "xai", "moonshotai": "moonshotai", "zai": "zai", "minimax": "minimax", "cohere": "cohere",
    "perplexity": "perplexity", "meta": "meta", "voyageai": "voyageai", "arcee": "arcee", "groq": "groq",
    "cerebras": "cerebras",
}  # fmt: skip
RESELLERS = ("aws", "together", "fireworks", "openrouter")
"""Their prices count for the names that no vendor knows: `vendor/model`, `us.vendor.model-v1:0`."""

RESOLD: dict[str, tuple[str, ...]] = {"google": ("claude",), "mistral": ("deepseek", "zai")}
"""Models that a vendor sells for another, by the start of their names; the other's own entry counts."""

OVERRIDES: dict[str, tuple[str, str, str]] = {
    # model: (owner, dollars per million tokens in, out). The published price list of the service that this gateway
    # stands in for; it names models and prices that the vendors' own lists lack or have otherwise.
    "gpt-4o": ("openai", "2.50", "10.00"),
    "gpt-4.1": ("openai", "2.00", "8.00"),
    "claude-sonnet-4-20250514": ("anthropic", "3.00", "15.00"),
    "claude-haiku-4-20250514": ("anthropic", "0.80", "4.00"),
    "gemini-3.0-pro": ("google", "1.25", "5.00"),
    "deepseek-v4-flash": ("deepseek", "0.20", "0.40"),
    "deepseek-v4-pro": ("deepseek", "0.60", "1.20"),
    "qwen-3.7-max": ("alibaba", "0.10", "0.40"),
}

FIELDS = (
    # of PriceTier, in the order of prices.json → genai-prices
    ("input", "input_mtok"),
    ("output", "output_mtok"),
    ("cache_read", "cache_read_mtok"),
    ("cache_write", "cache_write_mtok"),
    ("cache_write_1h", "cache_write_1h_mtok"),
    ("reasoning", "output_reasoning_mtok"),
    ("audio_input", "input_audio_mtok"),
    ("audio_output", "output_audio_mtok"),
)
CLAUSES = {
    upstream.ClauseEquals: ("=", "equals"),
    upstream.ClauseStartsWith: ("^", "starts_with"),
    upstream.ClauseEndsWith: ("$", "ends_with"),
    upstream.ClauseContains: ("*", "contains"),
    upstream.ClauseRegex: ("~", "regex"),
}


def compiled(day: date) -> dict[str, Any]:
    """The whole data file as JSON."""
    snapshot = data_snapshot.get_snapshot()
    known = {provider.id: provider for provider in snapshot.providers}
    vendors = [
        row for name, owner in VENDORS.items() for model in known[name].models
        if not model.id.startswith(RESOLD.get(name, ())) and (row := _row(model, owner, day)) is not None
    ]  # fmt: skip
    resellers = [row for name in RESELLERS for model in known[name].models if (row := _row(model, "", day)) is not None]
    return {
        "source": f"genai-prices {version('genai-prices')}",
        "day": day.isoformat(),
        "overrides": [_override(name, vendors) for name in OVERRIDES],
        "vendors": vendors,
        "resellers": resellers,
    }


def _row(model: upstream.ModelInfo, owner: str, day: date) -> Row | None:
    """[id, owner, context, match, tiers], None for a model that is not priced by tokens."""
    tiers = _tiers(_active(model.prices, day))
    if not tiers:
        return None
    return [model.id, owner or _owner(model.id), model.context_window or 0, _clause(model.match), tiers]


def _owner(name: str) -> str:
    """The vendor in a reseller's name, "" when there is none."""
    found = re.match(r"(?:(?:global|regional)\.)?([a-z0-9-]+)[./][a-z]", name)
    return found[1] if found else ""


def _override(name: str, rows: Iterable[Row]) -> Row:
    """As a row. The prices of cached tokens that upstream has are kept: the list does not speak of them."""
    owner, given, made = OVERRIDES[name]
    found = next((row for row in rows if _exactly(row[3], name) or row[0] == name), None)
    cached = found[4][0][3:6] if found else []
    return [name, owner, found[2] if found else 0, ["=", name], [_trimmed([0, _micro(given), _micro(made), *cached])]]


def _exactly(clause: Row, name: str) -> bool:
    if clause[0] == "|":
        return any(_exactly(one, name) for one in clause[1:])
    return bool(clause == ["=", name] or (clause[0] == "^" and name.startswith(clause[1])))


def _active(prices: Any, day: date) -> upstream.ModelPrice:
    """The prices of a day: the last that has begun, or the dearest by the time of day."""
    if isinstance(prices, upstream.ModelPrice):
        return prices
    begun = [row.prices for row in prices if row.constraint is None or _has_begun(row.constraint, day)]
    timed = [row.prices for row in prices if isinstance(row.constraint, upstream.TimeOfDateConstraint)]
    dearest: upstream.ModelPrice = max([begun[-1], *timed], key=lambda price: _base(price.input_mtok) or 0)
    return dearest


def _has_begun(constraint: object, day: date) -> bool:
    return isinstance(constraint, upstream.StartDateConstraint) and constraint.start_date <= day


def _tiers(price: upstream.ModelPrice) -> list[Row]:
    """[above, input, output, …] per tier, micro-dollars per million tokens; [] without a price per token."""
    values = {name: getattr(price, theirs, None) for name, theirs in FIELDS}
    if values["input"] is None:
        return []
    tiered = [value for value in values.values() if isinstance(value, upstream.TieredPrices)]
    starts = {tier.start for value in tiered for tier in value.tiers}
    return [_trimmed([above, *(_at(values[name], above) for name, _ in FIELDS)]) for above in sorted({0, *starts})]


def _at(value: Any, above: int) -> int | None:
    """What a price is for prompts of more than `above` tokens."""
    if isinstance(value, upstream.TieredPrices):
        reached = [tier.price for tier in value.tiers if tier.start <= above]
        value = reached[-1] if reached and above else value.base
    return None if value is None else _micro(value)


def _base(value: Any) -> Decimal | None:
    return value.base if isinstance(value, upstream.TieredPrices) else value


def _micro(dollars: Decimal | str) -> int:
    return round(Decimal(dollars) * 1_000_000)


def _trimmed(row: Row) -> Row:
    while row and row[-1] is None:
        row.pop()
    return row


def _clause(match: Any) -> Row:
    """A condition on the name, as [operator, operand…]."""
    if isinstance(match, upstream.ClauseOr):
        return ["|", *map(_clause, match.or_)]
    if isinstance(match, upstream.ClauseAnd):
        return ["&", *map(_clause, match.and_)]
    operator, field = CLAUSES[type(match)]
    return [operator, getattr(match, field)]


def main() -> None:
    day = date.fromisoformat(sys.argv[1]) if len(sys.argv) > 1 else datetime.now(tz=UTC).date()
    data = compiled(day)
    TARGET.write_bytes(orjson.dumps(data) + b"\n")
    count = len(data["vendors"]) + len(data["resellers"])
    print(f"{TARGET.name}: {count} models from {data['source']}, prices of {data['day']}")


if __name__ == "__main__":
    main()
