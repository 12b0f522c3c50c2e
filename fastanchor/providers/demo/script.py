"""What a player of an answer is told to do, in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Wait:
    """Between two sends."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SlowHead:
    """Before the head."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Send:
    """The next piece of the body, in one write; the head goes with the first."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Cut:
    """Break the connection; a `Cut` first of all: without any answer."""


@dataclass(frozen=True, slots=True)
class Stall:
    """Stay silent until the client goes."""


Step: TypeAlias = Wait | SlowHead | Send | Cut | Stall


@dataclass(frozen=True, slots=True)
class Script:
    """One answer. `steps` are made as they are taken, once. Without `stream` there is one `Send` at most, whose body
    has a known length; the body of a stream ends where the steps end."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    steps: Iterable[Step]
    stream: bool = False
