"""The turns of a prompt as `system` and `messages`.

Rules of the wire: roles alternate; every call is answered in the message right after it, results first; no text is
empty; the first message is the user's. Later system turns stay in place: in the role `system` where the model takes it
there, else as a `<system-reminder>` of the user, for moving or dropping them would change what was said.
Source: `MessageParam` of the Messages API reference, and "Handling tool use".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson

from fastanchor.core.prompt import (
    HostedPart,
    MediaPart,
    Part,
    RefusalPart,
    TextPart,
    ThoughtPart,
    ToolCallPart,
    ToolResultPart,
    Turn,
)
from fastanchor.dialects.anthropic.draft import Draft
from fastanchor.dialects.anthropic.faults import invalid
from fastanchor.dialects.anthropic.frames import legal_id
from fastanchor.dialects.anthropic.media import media
from fastanchor.dialects.anthropic.tools import cache_control
from fastanchor.dialects.arguments import as_input, as_object
from fastanchor.dialects.turns import merged, paired

NAME = "anthropic"
FILLER = "."
Blocks = list[object]


def system(draft: Draft) -> Blocks:
    """The leading system turns, and the instructions that stand in for fields."""
    lead = draft.prompt.turns[: _leading(draft.prompt.turns)]
    parts = [part for turn in lead for part in turn.parts]
    blocks: Blocks = [_text(part) for part in parts if isinstance(part, TextPart) and part.text.strip()]
    return [*blocks, *({"type": "text", "text": note} for note in draft.notes)]


def messages(draft: Draft) -> list[dict[str, object]]:
    """The conversation. Raises Fault(INVALID_REQUEST) for what cannot be said here."""
    turns = paired(draft.prompt.turns[_leading(draft.prompt.turns) :], strict=draft.target.strict)
    turns = merged(_folded(draft, merged(_spoken(draft, turns))))
    if not turns:
        raise invalid("messages", "at least one message of the user is required")
    if turns[0].role != "user":
        turns.insert(0, Turn("user", (TextPart(FILLER),)))
    _check_end(draft, turns)
    writer = _Writer(draft)
    return [{"role": turn.role, "content": writer.content(turn)} for turn in turns]


def _leading(turns: Sequence[Turn]) -> int:
    return next((at for at, turn in enumerate(turns) if turn.role != "system"), len(turns))


def _spoken(draft: Draft, turns: Sequence[Turn]) -> list[Turn]:
    """The turns without blank texts and without thinking that is not Anthropic's."""
    out = []
    for at, turn in enumerate(turns):
        path = turn.path or f"messages[{at}]"
        if turn.name:
            draft.drop(f"{path}.name")
        parts = tuple(part for part in turn.parts if _has_place(draft, part, path))
        if parts:
            out.append(replace(turn, parts=parts))
    return out


def _has_place(draft: Draft, part: Part, path: str) -> bool:
    if isinstance(part, (TextPart, RefusalPart)):
        return bool(part.text.strip())
    if isinstance(part, ThoughtPart) and (part.signature is None or part.signature.dialect != NAME):
        draft.drop(f"{path}.reasoning")
        return False
    if isinstance(part, HostedPart) and part.dialect != NAME:
        draft.refuse(path, "an item of another vendor's hosted tool cannot be sent to this model")
        return False
    return True


def _folded(draft: Draft, turns: list[Turn]) -> list[Turn]:
    """System turns where the model takes them, else reminders by the user."""
    return [
        turn if turn.role != "system" or (draft.can.system_turns and _well_placed(turns, at)) else _reminder(turn)
        for at, turn in enumerate(turns)
    ]


def _well_placed(turns: Sequence[Turn], at: int) -> bool:
    """After a user's turn, and before an assistant's or at the end."""
    follows = turns[at + 1].role if at + 1 < len(turns) else "assistant"
    return at > 0 and turns[at - 1].role == "user" and follows == "assistant"


def _reminder(turn: Turn) -> Turn:
    parts = tuple(
        replace(part, text=f"<system-reminder>\n{part.text}\n</system-reminder>")
        for part in turn.parts if isinstance(part, TextPart)
    )  # fmt: skip
    return Turn("user", parts, path=turn.path)


def _check_end(draft: Draft, turns: list[Turn]) -> None:
    """A last message of the assistant is a beginning to be continued, which not every model does."""
    last = turns[-1]
    if last.role != "assistant":
        return
    if not draft.can.prefill:
        draft.refuse(last.path or "messages", "the last message must not be the assistant's on this model")
        turns.append(Turn("user", (TextPart(FILLER),)))
        return
    end = last.parts[-1]
    if isinstance(end, TextPart):  # white space at its end is refused
        turns[-1] = replace(last, parts=(*last.parts[:-1], replace(end, text=end.text.rstrip())))


class _Writer:
    """Content blocks, with the ids of the calls in a form that Anthropic takes, each once."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._ids: dict[str, str] = {}
        self._taken: set[str] = set()

    def content(self, turn: Turn) -> Blocks:
        return [block for part in turn.parts for block in self._blocks(part, turn.role, turn.path or "messages")]

    def _blocks(self, part: Part, role: str, param: str) -> Blocks:
        if isinstance(part, TextPart):
            return [_text(part)]
        if isinstance(part, RefusalPart):
            return [{"type": "text", "text": part.text}]
        if isinstance(part, MediaPart):
            if role != "user":
                raise invalid(param, "media of the assistant cannot be sent to this model")
            return [self._media(part, param)]
        if isinstance(part, ThoughtPart):
            return [_thought(part)]
        if isinstance(part, ToolCallPart):
            return [self._call(part, param)]
        if isinstance(part, ToolResultPart):
            return [self._result(part, param)]
        return [orjson.Fragment(part.data)]

    def _media(self, part: MediaPart, param: str) -> dict[str, object]:
        if part.detail not in ("", "auto"):
            self._draft.drop("detail")
        return media(part, param)

    def _call(self, part: ToolCallPart, param: str) -> dict[str, object]:
        self._ids[part.id] = legal_id(part.id, "call", self._taken)
        arguments = as_input(part.arguments) if part.custom else as_object(
            part.arguments, strict=self._draft.target.strict, param=param
        )  # fmt: skip
        block = {
            "type": "tool_use",
            "id": self._ids[part.id],
            "name": self._draft.names.sent(part.name),
            "input": orjson.Fragment(arguments),
        }
        return block | _mark(part)

    def _result(self, part: ToolResultPart, param: str) -> dict[str, object]:
        block: dict[str, object] = {"type": "tool_result", "tool_use_id": self._ids.get(part.id, part.id)}
        content = [_text(p) if isinstance(p, TextPart) else self._media(p, param) for p in part.parts if _said(p)]
        if content:
            block["content"] = content
        if part.is_error:
            block["is_error"] = True
        return block | _mark(part)


def _said(part: TextPart | MediaPart) -> bool:
    return not isinstance(part, TextPart) or bool(part.text.strip())


def _text(part: TextPart) -> dict[str, object]:
    return {"type": "text", "text": part.text} | _mark(part)


def _thought(part: ThoughtPart) -> dict[str, object]:
    data = part.signature.data if part.signature is not None else ""
    if part.redacted:
        return {"type": "redacted_thinking", "data": data}
    return {"type": "thinking", "thinking": part.text, "signature": data}


def _mark(part: TextPart | ToolCallPart | ToolResultPart | MediaPart) -> dict[str, object]:
    return {"cache_control": cache_control(part.cache)} if part.cache is not None else {}


