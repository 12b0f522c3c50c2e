"""How Gemini is asked to think: a level from generation 3 on, a budget of tokens in 2.5, nothing before.

Source: google-genai 3.3 `ThinkingConfig`, `ThinkingLevel`; reference §2.2 for the budgets, which are a convention.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal

from fastanchor.core.prompt import Reasoning
from fastanchor.dialects.contract import Target


@dataclass(frozen=True, slots=True)
class Manner:
    """What a model takes. A budget is in tokens; `low` is the least that thinks at all."""

    kind: Literal["level", "budget", "none"]
    levels: tuple[str, ...] = ()  # rising
    low: int = 0
    high: int = 0
    can_be_off: bool = False


_ALL = ("MINIMAL", "LOW", "MEDIUM", "HIGH")

MANNERS: tuple[tuple[str, Manner], ...] = (
    # first match wins
    ("gemini-3-pro*", Manner("level", ("LOW", "HIGH"))),  # 3 Pro knows two levels
    ("gemini-3.0-pro*", Manner("level", ("LOW", "HIGH"))),
    ("gemini-3*-pro*", Manner("level", ("LOW", "MEDIUM", "HIGH"))),  # 3.1 Pro added the one between
    ("gemini-2.5-pro*", Manner("budget", low=128, high=32_768)),  # cannot be turned off
    ("gemini-2.5-flash-lite*", Manner("budget", low=512, high=24_576, can_be_off=True)),
    ("gemini-2.5*", Manner("budget", low=1, high=24_576, can_be_off=True)),
    ("gemini-2.0*", Manner("none")),
    ("gemini-1*", Manner("none")),
    ("gemma*", Manner("none")),
    ("gemini-*", Manner("level", _ALL)),
)
UNKNOWN = Manner("budget", low=128, high=24_576)

BUDGETS = {"minimal": 512, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 32_768, "max": 32_768}
_RANKS = {"minimal": 0, "low": 1, "medium": 2, "high": 3, "xhigh": 3, "max": 3}
_EFFORTS = ((2048, "low"), (10_240, "medium"))


def manner(target: Target) -> Manner:
    """By the model's name, unless its card says that it takes a budget, or levels, or does not think."""
    name = target.model.rpartition("/")[2]
    known = next((one for pattern, one in MANNERS if fnmatchcase(name, pattern)), None)
    traits = target.card.traits if target.card else frozenset()
    if known is not None:
        return known
    if "thinking_level" in traits:
        return Manner("level", _ALL)
    if target.card is not None and not traits & {"reasoning", "effort", "thinking_budget"}:
        return Manner("none")
    return UNKNOWN


def config(reasoning: Reasoning, target: Target, max_output: int | None) -> dict[str, Any] | None:
    """The thinkingConfig, {} for the model's own default, None when the model cannot be asked."""
    how = manner(target)
    if how.kind == "none":
        return None
    told: dict[str, Any] = {"includeThoughts": True} if reasoning.include else {}
    if how.kind == "level":
        level = _level(reasoning, how)
        return {"thinkingLevel": level, **told} if level else told
    budget = _budget(reasoning, how, max_output)
    return told if budget is None else {"thinkingBudget": budget, **told}


def _level(reasoning: Reasoning, how: Manner) -> str:
    """The nearest level that the model knows, rather more than less; "" for its own default."""
    effort = reasoning.effort or ("" if reasoning.budget is None else _effort(reasoning.budget))
    if reasoning.mode == "off" or effort == "none":
        return how.levels[0]
    if effort not in _RANKS:
        return ""
    rank = _RANKS[effort]
    return next((level for level in how.levels if _ALL.index(level) >= rank), how.levels[-1])


def _effort(budget: int) -> str:
    return next((effort for most, effort in _EFFORTS if budget <= most), "high")


def _budget(reasoning: Reasoning, how: Manner, max_output: int | None) -> int | None:
    """Within the model's bounds, and below the output limit, which thoughts count against; -1 lets the model decide."""
    if reasoning.mode == "off" or reasoning.effort == "none":
        return 0 if how.can_be_off else how.low
    budget = reasoning.budget
    if budget is None:
        budget = BUDGETS.get(reasoning.effort)
    if budget is None:
        return -1 if reasoning.mode == "auto" else None
    if max_output is not None:
        budget = min(budget, max_output - 1)
    return max(how.low, min(budget, how.high))
