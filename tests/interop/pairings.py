"""The table of pairings: what becomes of each feature on its way from a client's dialect to a provider's.

| cell | meaning |
|---|---|
| bytes | the same dialect: the request keeps its bytes |
| carried | the provider is asked for it in its own words |
| in part | the same, but what `x-fastanchor-dropped` then names is left out |
| dropped | left out, and named in `x-fastanchor-dropped` |
| 400 | refused, with the client's own field named |
| here | the gateway does it: the provider need not know |
| same | the provider does it, or leaves it, without being asked |

`python -m tests.interop.pairings` writes `golden/pairings.md`.
"""

from __future__ import annotations

from pathlib import Path

from fastanchor.core.faults import Fault
from fastanchor.dialects import registry, relay
from fastanchor.dialects.contract import Target, Written
from fastanchor.providers import catalogue
from tests.interop import features
from tests.interop.features import BESIDE, CLIENTS, FEATURES

GOLDEN = Path(__file__).parent / "golden" / "pairings.md"
MODELS = {
    "openai_chat": "gpt-4.1", "openai_responses": "gpt-4.1", "openai_completions": "davinci-002",
    "anthropic": "claude-sonnet-4-5", "gemini": "gemini-2.5-flash",
}  # fmt: skip
"""Provider's dialect → the model asked for there: what a model takes is part of the answer."""

HERE = ("echo",)
"""Features that only the reader of the answer heeds, beside stop sequences (`Written.stops`)."""


def written(client: str, provider: str, feature: str) -> Written:
    """The provider's request. Raises Fault."""
    target = Target(MODELS[provider], catalogue.card(MODELS[provider]))
    return relay.request(
        registry.dialect(client), registry.dialect(provider), features.call(client, feature), target
    )


def cell(client: str, provider: str, feature: str) -> str:
    if client == provider:
        return "bytes"
    try:
        made = written(client, provider, feature)
        without = written(client, provider, BESIDE.get(feature, ""))
    except Fault as fault:
        return f"400 `{fault.param}`"
    dropped = [name for name in made.dropped if name not in without.dropped]
    carried = made.body != without.body
    if dropped:
        return f"{'in part' if carried else 'dropped'}: {', '.join(f'`{name}`' for name in dropped)}"
    if not carried and (made.stops or feature in HERE):
        return "here"
    return "carried" if carried else "same"


def table(client: str) -> str:
    """The rows of one client dialect."""
    lines = [f"| {client} asks for | {' | '.join(MODELS)} |", f"|---|{'---|' * len(MODELS)}"]
    for feature, said in FEATURES.items():
        if client in said:
            lines.append(f"| {feature} | {' | '.join(cell(client, provider, feature) for provider in MODELS)} |")
    return "\n".join(lines) + "\n"


def whole() -> str:
    head = ", ".join(f"{provider}: {model}" for provider, model in MODELS.items())
    return f"Providers by column, with the model asked for. {head}.\n\n" + "\n".join(map(table, CLIENTS))


if __name__ == "__main__":
    GOLDEN.write_text(whole())
