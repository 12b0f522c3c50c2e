"""Reasoning wishes as `thinking` and `output_config.effort`.

New models measure their thinking themselves, by effort; old ones are given a budget. A budget is 1024 at least and less
than `max_tokens`: where the client set `max_tokens` the budget is cut, or thinking left out when there is no room for
any; where it did not, `max_tokens` is raised by the budget.
Source: "Extended thinking", "Adaptive thinking" and "Effort" of the Claude API documentation; the table of budgets is a
convention among gateways.
"""

from __future__ import annotations

from fastanchor.core.prompt import Prompt, Reasoning, ThoughtPart, ToolCallPart
from fastanchor.dialects.anthropic.capabilities import DEFAULT_MAX_OUTPUT
from fastanchor.dialects.anthropic.draft import Draft

NAME = "anthropic"
MIN_BUDGET = 1024
BUDGETS = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 32768}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
_BY_BUDGET = ((2048, "low"), (10_000, "medium"), (24_000, "high"))


def limits(draft: Draft) -> dict[str, object]:
    """`max_tokens`, and `thinking` and `output_config.effort` when they are wanted and possible."""
    prompt, can = draft.prompt, draft.can
    most = prompt.max_output if prompt.max_output is not None else can.max_output or DEFAULT_MAX_OUTPUT
    wish = prompt.reasoning
    if wish is None:
        return {"max_tokens": most}
    if can.adaptive:
        return {"max_tokens": most} | _adaptive(draft, wish)
    if wish.mode == "off" or (wish.mode == "auto" and not wish.effort and wish.budget is None):
        return {"max_tokens": most}
    if not can.budget:
        draft.drop("reasoning")
        return {"max_tokens": most}
    return _budgeted(draft, wish, most)


def _adaptive(draft: Draft, wish: Reasoning) -> dict[str, object]:
    effort = _EFFORTS.get(wish.effort, "")
    if wish.mode == "off":
        if not draft.can.thinks_unasked:
            return {}
        draft.drop("reasoning")  # it thinks all the same, but as little as can be asked for
        return {"output_config": {"effort": effort or "low"}}
    if not effort and wish.budget is not None:
        effort = next((name for most, name in _BY_BUDGET if wish.budget <= most), "xhigh")
    if effort == "xhigh" and not draft.can.highest:
        effort = "high"
    out: dict[str, object] = {"output_config": {"effort": effort}} if effort and draft.can.effort else {}
    _loosen_choice(draft)
    return {"thinking": {"type": "adaptive", "display": "summarized"} if wish.include else {"type": "adaptive"}} | out


def _budgeted(draft: Draft, wish: Reasoning, most: int) -> dict[str, object]:
    budget = max(MIN_BUDGET, wish.budget if wish.budget is not None else BUDGETS.get(wish.effort, BUDGETS["medium"]))
    if not _fits_history(draft.prompt):
        draft.drop("reasoning")
        return {"max_tokens": most}
    if draft.prompt.max_output is None:
        most = min(most + budget, draft.can.max_output) if draft.can.max_output else most + budget
    if most <= MIN_BUDGET:
        draft.drop("reasoning")
        return {"max_tokens": most}
    _loosen_choice(draft)
    return {"max_tokens": most, "thinking": {"type": "enabled", "budget_tokens": min(budget, most - 1)}}


def _loosen_choice(draft: Draft) -> None:
    """Thinking cannot be forced into a tool: a 400, or on lenient routes the model may choose."""
    choice = draft.prompt.tool_choice
    if choice is None or not draft.prompt.tools:
        return
    if choice.mode in ("required", "named") or (choice.mode == "allowed" and choice.required):
        draft.refuse("tool_choice", "a forced tool call cannot be combined with reasoning on this model")
        draft.loosened = True


def _fits_history(prompt: Prompt) -> bool:
    """Whether the running tool loop began with thinking: a budget is refused when its last calls came without."""
    last = next((turn for turn in reversed(prompt.turns) if turn.role == "assistant"), None)
    if last is None or not any(isinstance(part, ToolCallPart) for part in last.parts):
        return True
    return any(
        isinstance(part, ThoughtPart) and part.signature is not None and part.signature.dialect == NAME
        for part in last.parts
    )
