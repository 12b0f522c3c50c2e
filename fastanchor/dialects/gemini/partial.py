"""A call whose arguments are streamed by Vertex: `partialArgs` put together into one JSON object.

Each piece names its place by a JSONPath of member names and indices (`$.a[0].b`). A string that will continue is
appended to at the same path; numbers keep their bytes. Source: reference §1.5, google-genai 3.3 `PartialArg`.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw

from fastanchor.dialects.gemini.answers import PartialArg, given

MAX_DEPTH = 64
MAX_ITEMS = 16_384  # array items over the whole call

Step: TypeAlias = str | int

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_ESCAPE = re.compile(r"\\(.)")


class Misplaced(ValueError):
    """A piece cannot be put where it says it belongs."""


class PartialArguments:
    """The arguments so far."""

    def __init__(self) -> None:
        self._root: dict[str, Any] = {}
        self._growing: set[str] = set()
        self._items = 0

    def add(self, piece: PartialArg) -> None:
        """Put one piece in its place. Raises Misplaced."""
        path = piece.json_path or ""
        if piece.string_value is not None:
            self._put(path, piece.string_value, path in self._growing)
            (self._growing.add if piece.will_continue else self._growing.discard)(path)
        elif piece.bool_value is not None:
            self._put(path, piece.bool_value)
        elif number := given(piece.number_value):
            self._put(path, Raw(number))
        elif bytes(piece.null_value):
            self._put(path, None)

    def json(self) -> bytes:
        return msgspec.json.encode(self._root)

    def _put(self, path: str, value: object, grows: bool = False) -> None:
        way = steps(path)
        last = way[-1]
        place: Any = self._root
        for step, following in pairwise(way):
            place = self._enter(place, step, [] if isinstance(following, int) else {})
        known = self._look(place, last)
        if isinstance(known, dict | list):
            raise Misplaced(f"{path} is not a value")
        place[last] = known + value if grows and isinstance(known, str) and isinstance(value, str) else value

    def _enter(self, place: Any, step: Step, empty: Any) -> Any:
        inner = self._look(place, step)
        if inner is None:
            place[step] = inner = empty
        if type(inner) is not type(empty):
            raise Misplaced(f"{step} is both a value and a container")
        return inner

    def _look(self, place: Any, step: Step) -> Any:
        """What is at a step, None when nothing is there yet; an array grows up to it."""
        if isinstance(step, int):
            if not isinstance(place, list):
                raise Misplaced(f"{step} is no index here")
            missing = step + 1 - len(place)
            if missing > 0:
                self._items += missing
                if self._items > MAX_ITEMS:
                    raise Misplaced("too many items")
                place += [None] * missing
            return place[step]
        if not isinstance(place, dict):
            raise Misplaced(f"{step} is no member here")
        return place.get(step)


def steps(path: str) -> list[Step]:
    """The steps of a path such as `$.a[0]['b c']`. Raises Misplaced."""
    found: list[Step] = []
    at = 1
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None or len(found) == MAX_DEPTH:
            break
        name, index, quoted, double = step.groups()
        found.append(int(index) if index else name or _ESCAPE.sub(r"\1", quoted or double or ""))
        at = step.end()
    if not path.startswith("$") or at < len(path) or not found or isinstance(found[0], int):
        raise Misplaced(f"{path!r} is not a path to an argument")
    return found
