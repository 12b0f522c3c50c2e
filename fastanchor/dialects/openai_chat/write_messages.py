"""Turns as chat messages.

Results of tools become one `tool` message each, right after the calls; media in them move to the user message that
follows. Text said after a call within an assistant turn stands before it, for the format has no other place.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from fastanchor.core.prompt import (
    CacheMark,
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
from fastanchor.dialects import breakpoints
from fastanchor.dialects.arguments import as_text
from fastanchor.dialects.openai_chat.draft import Draft
from fastanchor.dialects.openai_chat.reasoning import replay_row
from fastanchor.dialects.turns import paired

ERROR = "Error: "
_AUDIO = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")

Json = dict[str, Any]


def messages(draft: Draft) -> list[Json]:
    """All messages. Raises Fault for what cannot be carried."""
    out: list[Json] = []
    for at, turn in enumerate(paired(draft.prompt.turns, strict=draft.target.strict)):
        out += _Turn(draft, turn, turn.path or f"messages[{at}]").messages()
    return out


class _Turn:
    """One turn; `path` names it in what is dropped or refused."""

    def __init__(self, draft: Draft, turn: Turn, path: str) -> None:
        self.draft = draft
        self.turn = turn
        self.path = path

    def messages(self) -> list[Json]:
        if self.turn.role == "assistant":
            return self._assistant()
        results = [part for part in self.turn.parts if isinstance(part, ToolResultPart)]
        out = [self._result(result) for result in results]
        moved = [part for result in results for part in result.parts if isinstance(part, MediaPart)]
        content = [*moved, *(part for part in self.turn.parts if not isinstance(part, ToolResultPart))]
        if content:
            said: Json = {"role": self.turn.role, "content": self._content(content)}
            out.append(said | self._name())
        return out

    def _name(self) -> Json:
        return {"name": self.turn.name} if _NAME.fullmatch(self.turn.name) else {}

    def _result(self, result: ToolResultPart) -> Json:
        texts = [part for part in result.parts if isinstance(part, TextPart)]
        if result.is_error:
            texts = [TextPart(ERROR), *texts] if not texts else [TextPart(ERROR + texts[0].text), *texts[1:]]
        content = self._content(texts) if texts else ""
        return {"role": "tool", "tool_call_id": self.draft.tool_id(result.id), "content": content}

    def _assistant(self) -> list[Json]:
        parts = self.turn.parts
        texts = [part for part in parts if isinstance(part, TextPart)]
        calls = [part for part in parts if isinstance(part, ToolCallPart)]
        refusal = "".join(part.text for part in parts if isinstance(part, RefusalPart))
        said: Json = {"role": "assistant", "content": self._content(texts) if texts else None}
        said |= self._name() | self._thoughts([part for part in parts if isinstance(part, ThoughtPart)])
        if refusal:
            said["refusal"] = refusal
        if calls:
            said["tool_calls"] = [self._call(call) for call in calls]
        for part in parts:
            if isinstance(part, MediaPart):
                self.draft.refuse(self.path, "media in an assistant message")
            elif isinstance(part, HostedPart):
                self.draft.refuse(self.path, "an item of a provider's own tools")
        return [said] if texts or calls or refusal else []

    def _thoughts(self, thoughts: list[ThoughtPart]) -> Json:
        """Earlier thinking, for the upstreams that want it; others think without it."""
        if not thoughts:
            return {}
        plain = "".join(thought.text for thought in thoughts)
        if self.draft.has("reasoning_details"):
            rows = [replay_row(thought, at) for at, thought in enumerate(thoughts)]
            return {"reasoning_details": rows} | ({"reasoning": plain} if plain else {})
        if self.draft.has("replays_reasoning") and plain:
            return {"reasoning_content": plain}
        self.draft.drop(f"{self.path}.reasoning")
        return {}

    def _call(self, call: ToolCallPart) -> Json:
        name, said = self.draft.names.sent(call.name), as_text(call.arguments)
        row: Json = {"id": self.draft.tool_id(call.id), "type": "custom" if call.custom else "function"}
        if call.custom:
            row["custom"] = {"name": name, "input": said}
        else:
            row["function"] = {"name": name, "arguments": said or "{}"}
        self._mark({}, call.cache)
        return row

    def _content(self, parts: Iterable[Part]) -> str | list[Json]:
        """A plain string where one says it all."""
        rows = [row for part in parts if (row := self._part(part)) is not None]
        if len(rows) == 1 and rows[0].keys() == {"type", "text"}:
            return str(rows[0]["text"])
        return rows

    def _part(self, part: Part) -> Json | None:
        if isinstance(part, TextPart):
            if part.citations:
                self.draft.drop(f"{self.path}.citations")
            return self._mark({"type": "text", "text": part.text}, part.cache)
        if isinstance(part, MediaPart):
            row = _Media(self.draft, part, self.path).row()
            return None if row is None else self._mark(row, part.cache)
        self.draft.refuse(self.path, "a part that only an assistant message can hold")
        return None

    def _mark(self, row: Json, cache: CacheMark | None) -> Json:
        if cache is None:
            return row
        if self.draft.has("cache_control"):
            return row | {"cache_control": {"type": "ephemeral"} | ({"ttl": cache.ttl} if cache.ttl else {})}
        if row and breakpoints.taken(self.draft.target):
            return row | {breakpoints.FIELD: breakpoints.written(cache)}
        self.draft.drop("cache_control")
        return row


class _Media:
    """An image, clip or document as a content part; None when it was refused on a lenient route."""

    def __init__(self, draft: Draft, part: MediaPart, path: str) -> None:
        self.draft = draft
        self.part = part
        self.path = path

    def row(self) -> Json | None:
        makers = {"image": self._image, "audio": self._audio, "document": self._document}
        make = makers.get(self.part.kind)
        row = make() if make is not None else "video"
        if isinstance(row, str):
            self.draft.refuse(self.path, f"{row} has no place in its format")
            return None
        return row

    def _image(self) -> Json | str:
        part = self.part
        if part.file_id:
            return "an image by file id"
        url: Json = {"url": part.url or _data_url(part.mime or "image/png", part.data)}
        if part.detail:
            url["detail"] = part.detail
        return {"type": "image_url", "image_url": url}

    def _audio(self) -> Json | str:
        form = _AUDIO.get(self.part.mime)
        if not self.part.data or form is None:
            return "audio that is not wav or mp3 data"
        return {"type": "input_audio", "input_audio": {"data": self.part.data, "format": form}}

    def _document(self) -> Json | str:
        part = self.part
        if part.text:
            return {"type": "text", "text": f"{part.name}\n\n{part.text}" if part.name else part.text}
        if part.file_id.startswith("file-"):
            return {"type": "file", "file": {"file_id": part.file_id}}
        if not part.data:
            return "a document that is not in the request itself"
        data = _data_url(part.mime or "application/pdf", part.data)
        return {"type": "file", "file": {"filename": part.name or "document.pdf", "file_data": data}}


def _data_url(mime: str, data: str) -> str:
    return f"data:{'image/jpeg' if mime == 'image/jpg' else mime};base64,{data}"

