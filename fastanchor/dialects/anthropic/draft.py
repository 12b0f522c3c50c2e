"""A request that is being written: where it goes, and what of it could not be carried."""

from __future__ import annotations

from fastanchor.core.prompt import Format, Prompt
from fastanchor.dialects.anthropic.capabilities import capabilities
from fastanchor.dialects.anthropic.faults import invalid
from fastanchor.dialects.contract import Target
from fastanchor.dialects.names import ANTHROPIC, Names


class Draft:
    """What the parts of a writer share."""

    def __init__(self, prompt: Prompt, target: Target) -> None:
        self.prompt = prompt
        self.target = target
        self.can = capabilities(target)
        self.names = Names(ANTHROPIC)
        self.notes: list[str] = []  # instructions for the model that stand in for fields
        self.answers: Format | None = None  # a schema that the answer keeps to as the arguments of a tool
        self.loosened = False  # a forced tool choice gave way to reasoning
        self._dropped: dict[str, None] = {}

    @property
    def dropped(self) -> tuple[str, ...]:
        """The client's fields that were left out, in the order found."""
        return tuple(self._dropped)

    def drop(self, name: str) -> None:
        """Leave a field out that only tunes, labels or bills."""
        self._dropped[name] = None

    def refuse(self, name: str, reason: str) -> None:
        """A field that changes the meaning of the answer: a 400, on lenient routes dropped."""
        if self.target.strict:
            raise invalid(name, reason)
        self.drop(name)
