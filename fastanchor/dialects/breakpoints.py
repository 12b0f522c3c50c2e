"""OpenAI's explicit cache breakpoints, as chat and Responses have them on the parts of messages.

Models take them from gpt-5.6 on (trait `cache_breakpoints`), and other servers where their channel's quirks name the
field. They last 30 minutes or 12 hours. Source: "Prompt caching" of the OpenAI documentation.
"""

from __future__ import annotations

from fastanchor.core.prompt import CacheMark
from fastanchor.dialects.contract import Target

FIELD = "prompt_cache_breakpoint"
_TTLS = {"5m": "30m", "1h": "30m", "30m": "30m", "12h": "12h"}


def taken(target: Target) -> bool:
    """Whether breakpoints can be sent there."""
    known = target.card is not None and "cache_breakpoints" in target.card.traits
    return known or FIELD in target.quirks


def written(mark: CacheMark) -> dict[str, str]:
    """A cache mark as the value of the field; other vendors' lifetimes become the shortest there is."""
    ttl = _TTLS.get(mark.ttl)
    return {"mode": "explicit", "ttl": ttl} if ttl is not None else {"mode": "explicit"}
