"""A request while it is written: what is in it, and what could not be."""

from __future__ import annotations

from fastanchor.core.faults import Fault, Kind
from fastanchor.core.prompt import Prompt
from fastanchor.dialects import breakpoints
from fastanchor.dialects.contract import Target
from fastanchor.dialects.names import CHAT, Names


class Draft:
    """The members of the request body, the names of tools, and the fields that were dropped."""

    def __init__(self, prompt: Prompt, target: Target) -> None:
        self.prompt = prompt
        self.target = target
        self.names = Names(CHAT, (tool.name for tool in prompt.tools if tool.kind != "hosted"))
        self.members: dict[str, object] = {"model": target.model}
        self.dropped: list[str] = []
        self.marks_cache = breakpoints.taken(target)

    def drop(self, name: str) -> None:
        """A field whose loss only tunes, labels or bills."""
        if name not in self.dropped:
            self.dropped.append(name)

    def refuse(self, name: str, reason: str) -> None:
        """A field whose loss would change the answer. Lenient targets drop it. Raises Fault(INVALID_REQUEST)."""
        if self.target.strict:
            raise Fault(Kind.INVALID_REQUEST, f"'{name}' cannot be sent to this model: {reason}", param=name)
        self.drop(name)
