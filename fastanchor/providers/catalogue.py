"""The known models: what they cost and what they take.

Prices and contexts come from `prices.json` (written by `compile_prices`), read when first asked for; everything else
from `families`. A name is looked up as it is, then without the marks that vendors and resellers add: a vendor's prefix
(`openai/…`, `models/…`, Bedrock's `us.anthropic.…-v1:0`), a date or `latest` behind it.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import orjson

from fastanchor.core.model import ModelCard, PriceTier
from fastanchor.providers.families import Family, family

Row: TypeAlias = list[Any]
"""[id, owner, context, match, tiers]: one line of the data; see `compile_prices`."""

_PREFIX = re.compile(r"(?:(?:global|regional|us|eu|apac|jp|au|ca)\.)?(?:[a-z0-9]+\.)(?=[a-z])|.*/")
_SUFFIX = re.compile(
    r"(?:-v\d+(?::\d+)?|@(?:\d{8}|default|latest)|-latest|-20\d{6}|-20\d\d-\d\d-\d\d|-preview(?:-\d\d-(?:20\d\d|\d\d))?"
    r"|-exp(?:-\d{4})?|-\d{3}|-(?:0[1-9]|1[0-2])\d\d|:(?:nitro|floor|exacto|thinking|extended))\Z"
)
MAX_NAME = 256  # characters; names come from clients, and are kept
_MARKS = 4  # most that are taken off


def card(model: str) -> ModelCard | None:
    """The card of a model under any of its known names, None when nothing is known of it.

    Without a price its `prices` are empty, and the model of an unknown vendor has no card at all.
    """
    return _found(model) if len(model) <= MAX_NAME else None


@lru_cache(maxsize=4096)
def _found(model: str) -> ModelCard | None:
    plain = _plain(model)
    row = next((row for name in dict.fromkeys((model, *plain)) if (row := _data().find(name)) is not None), None)
    kin = next((found for name in (*plain, model) if (found := family(name)) is not None), None)
    if row is None and kin is None:
        return None
    return _card(model, row, kin)


def models() -> list[str]:
    """The ids of all models with a price, in the order of the data."""
    return list(dict.fromkeys(row[0] for listing in _data().lists for row in listing.rows))


class Data:
    """The whole file. A vendor's word, exact or by pattern, comes before a reseller's."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.source: str = document["source"]
        self.day: str = document["day"]
        self.lists = tuple(Listing(document[name]) for name in ("overrides", "vendors", "resellers"))

    def find(self, name: str) -> Row | None:
        return next((row for listing in self.lists if (row := listing.find(name)) is not None), None)


class Listing:
    """Rows: by exact name, and in order for those that match by pattern."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self._exact: dict[str, Row] = {}
        self._patterns: list[Row] = []
        for row in rows:
            exact, rest = _split(row[3])
            for name in (row[0], *exact):
                self._exact.setdefault(name, row)
            if rest:
                self._patterns.append(row)

    def find(self, name: str) -> Row | None:
        """The row of a name: by its exact name, else the first whose pattern matches; letter case does not count."""
        lower = name.lower()
        found = self._exact.get(name) or self._exact.get(lower)
        return found or next((row for row in self._patterns if _matches(row[3], lower)), None)


@cache
def _data() -> Data:
    return Data(orjson.loads(Path(__file__).with_name("prices.json").read_bytes()))


def _split(clause: Row) -> tuple[list[str], bool]:
    """The exact names in a condition, and whether there is more to it."""
    if clause[0] == "=":
        return [clause[1]], False
    if clause[0] != "|":
        return [], True
    parts = [_split(one) for one in clause[1:]]
    return [name for names, _ in parts for name in names], any(more for _, more in parts)


def _matches(clause: Row, name: str) -> bool:
    match clause:
        case ["=", text]:
            return bool(name == text)
        case ["^", text]:
            return name.startswith(text)
        case ["$", text]:
            return name.endswith(text)
        case ["*", text]:
            return text in name
        case ["~", pattern]:
            return re.search(pattern, name) is not None
        case ["|", *parts]:
            return any(_matches(part, name) for part in parts)
        case ["&", *parts]:
            return all(_matches(part, name) for part in parts)
    raise ValueError(f"unknown operator {clause[0]!r} in prices.json")


def _plain(model: str) -> list[str]:
    """The name with its marks taken off, one after the other."""
    names = []
    name = _PREFIX.sub("", model, count=1) if _PREFIX.match(model) else model
    if name != model:
        names.append(name)
    for _ in range(_MARKS):
        shorter = _SUFFIX.sub("", name)
        if shorter == name or not shorter:
            break
        name = shorter
        names.append(name)
    return names or [model]


def _card(model: str, row: Row | None, kin: Family | None) -> ModelCard:
    return ModelCard(
        id=model,
        owned_by=row[1] if row else "",
        context=(row[2] if row else 0) or (kin.context if kin else 0),
        max_output=kin.max_output if kin else 0,
        traits=frozenset(kin.traits.split()) if kin else frozenset(),
        prices=tuple(_tier(tier) for tier in row[4]) if row else (),
    )


def _tier(tier: Row) -> PriceTier:
    above, given, *rest = tier
    made, *special = rest or [0]
    return PriceTier(above, given, made or 0, *special)
