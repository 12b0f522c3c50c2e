"""Types of the compiled half of `pump`."""

from collections.abc import Callable
from typing import Any

from ._http1_pure import ChunkDecoder
from ._reactor_pure import Handle
from .pump import Middle

class Flow:
    def __init__(
        self,
        source: Handle[Any],
        decoder: ChunkDecoder,
        sink: Handle[Any],
        chunked: bool,
        look: Callable[[], Middle | None],
        now: Callable[[], float],
    ) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def rest(self) -> bytes: ...
    @property
    def since(self) -> float: ...
    def open(self, middle: Middle, kept: list[bytes] | None, room: int) -> None: ...
    def close(self) -> None: ...
