"""Turns of a conversation in the order that strict providers ask for.

Rules, in this order:
0. Neighbouring assistant turns of which one makes calls are one turn: parallel calls may come item by item.
1. Every tool result answers a call of the assistant turn before it, and takes its name from it; every call has a
   result. Missing ones are a fault, or on lenient routes get an error result.
2. The results of one assistant turn follow it at once, in the order of the calls, before anything else that was said.
3. Empty texts, and turns that are empty without them, are left out.
4. Where a provider wants it, neighbours of one role become one turn (`merged`).
System turns keep their place, but never stand between calls and their results. A turn made of several keeps the path of
their first without its index, unless they all stood in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Part, TextPart, ToolCallPart, ToolResultPart, Turn

NO_RESULT = "The tool call was not answered."


def paired(turns: Sequence[Turn], *, strict: bool = True) -> list[Turn]:
    """The turns under rules 0 to 3. The results of an assistant turn form one user turn, together with what else the
    user said in the turn that held them. Raises Fault(INVALID_REQUEST)."""
    out: list[Turn] = []
    turns = _joined(turns)
    at = 0
    while at < len(turns):
        calls = _calls(turns[at])
        if not calls:
            _no_results(turns[at])
            out.append(turns[at])
            at += 1
            continue
        out.append(turns[at])
        until = _next_assistant(turns, at + 1)
        out += _answered(turns[at], calls, turns[at + 1 : until], strict)
        at = until
    return filled(out)


def merged(turns: Iterable[Turn]) -> list[Turn]:
    """Neighbouring turns of one role as one turn; system turns stay as they are."""
    out: list[Turn] = []
    for turn in turns:
        if out and out[-1].role == turn.role != "system":
            out[-1] = _one(out[-1], turn)
        else:
            out.append(turn)
    return out


def filled(turns: Iterable[Turn]) -> list[Turn]:
    """The turns without empty texts and without turns that hold nothing else."""
    full = (replace(turn, parts=tuple(part for part in turn.parts if not _is_empty(part))) for turn in turns)
    return [turn for turn in full if turn.parts]


def _joined(turns: Sequence[Turn]) -> list[Turn]:
    out: list[Turn] = []
    for turn in turns:
        if out and out[-1].role == turn.role == "assistant" and (_calls(out[-1]) or _calls(turn)):
            out[-1] = _one(out[-1], turn)
        else:
            out.append(turn)
    return out


def _one(first: Turn, second: Turn) -> Turn:
    return replace(first, parts=first.parts + second.parts, path=_place(first.path, second.path))


def _place(first: str, second: str) -> str:
    return first if first == second else first.partition("[")[0]


def _calls(turn: Turn) -> list[ToolCallPart]:
    return [part for part in turn.parts if isinstance(part, ToolCallPart)] if turn.role == "assistant" else []


def _next_assistant(turns: Sequence[Turn], at: int) -> int:
    while at < len(turns) and turns[at].role != "assistant":
        at += 1
    return at


def _answered(asking: Turn, calls: Sequence[ToolCallPart], following: Sequence[Turn], strict: bool) -> list[Turn]:
    """The turns after an assistant turn with calls: its results first, then the rest as it was."""
    path = ""
    results: dict[str, ToolResultPart] = {}
    rest: list[Turn] = []
    beside: tuple[Part, ...] = ()
    names = {call.id: call for call in calls}
    for turn in following:
        own = [part for part in turn.parts if isinstance(part, ToolResultPart)]
        for result in own:
            if result.id not in names:
                raise _orphan(result, turn)
            results[result.id] = result
            path = _place(path or turn.path, turn.path)
        others = tuple(part for part in turn.parts if not isinstance(part, ToolResultPart))
        if own and not rest:
            beside += others
        elif others:
            rest.append(replace(turn, parts=others))
    answers = tuple(_named(call, asking, results.get(call.id), strict) for call in names.values())
    return [Turn("user", answers + beside, path=path), *rest]


def _named(call: ToolCallPart, asking: Turn, result: ToolResultPart | None, strict: bool) -> ToolResultPart:
    if result is not None:
        return replace(result, name=result.name or call.name, custom=call.custom)
    if strict:
        told = f"The tool call {call.id!r} ({call.name}) has no result."
        raise Fault(Kind.INVALID_REQUEST, told, param=asking.path or "messages")
    return ToolResultPart(call.id, (TextPart(NO_RESULT),), name=call.name, is_error=True, custom=call.custom)


def _no_results(turn: Turn) -> None:
    for part in turn.parts:
        if isinstance(part, ToolResultPart):
            raise _orphan(part, turn)


def _orphan(result: ToolResultPart, turn: Turn) -> Fault:
    return Fault(
        Kind.INVALID_REQUEST, f"The tool result {result.id!r} answers no tool call of the turn before it.",
        param=turn.path or "messages",
    )  # fmt: skip


def _is_empty(part: Part) -> bool:
    return isinstance(part, TextPart) and not part.text
