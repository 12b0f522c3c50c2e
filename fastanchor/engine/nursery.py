"""What comes out of a nursery, without its wrapping: callers of the engine know single exceptions only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio


@contextmanager
def unwrapped() -> Iterator[None]:
    """Around a nursery: its group of exceptions becomes the one that counts, a failure before a cancellation."""
    try:
        yield
    except BaseExceptionGroup as group:
        raise _first(group) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    _, failures = group.split(trio.Cancelled)
    found: BaseException = group if failures is None else failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
