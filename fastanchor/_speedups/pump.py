"""A stream on its way from one socket to another within the reactor's drain: no task runs for an event.

    flow = Flow(source, decoder, sink, chunked, look, now)
    flow.open(middle, kept, room)   # from now on what arrives at `source` is taken as it arrives, while a reader sleeps
    ...                             # the reader sleeps, as whoever waits for a handle does
    flow.close()                    # raises what was raised on the way

What one receive brings is decoded (`decoder`, the chunked coding) and goes `through(data, odd)`, which says what goes
out for it; that is sent to `sink`, as a chunk if `chunked`. `middle` is (through, odd). Most of the time `through` is
compiled and does not call `odd`, the Python that looks at what is not plain. When it has been called, `look` is asked
for the middle of what follows.

The reader is woken, and the flow is over, when `look` has none, when the body is whole (`decoder.done`), when something
is raised, when `sink` does not take all (`rest` is then what is still to be sent), when over `room` bytes have gone out
(`size` of them, appended to `kept` if that is a list), and at the end of `source` or an error of it, which the reader
finds by receiving himself. So nothing is buffered, nothing is lost, and whoever wakes goes on where the flow stopped,
byte for byte.

`since` is when the last bytes came, by `now`. A full receive is followed by an event of its own, and a drain takes only
so many events at a time: one stream cannot hold the loop.

There is no pure twin: without the compiled half, or with FASTANCHOR_PUMP=0, `Flow` is None, and a task that receives
and sends does the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from . import compiled

Odd: TypeAlias = Callable[..., bytes]
Middle: TypeAlias = tuple[Callable[[bytes, Odd], bytes], Odd]

WANTED = os.environ.get("FASTANCHOR_PUMP") != "0"

if TYPE_CHECKING or (WANTED and compiled("pump") and compiled("reactor")):
    from ._pump import Flow
else:
    Flow = None

__all__ = ["Flow", "Middle", "Odd"]
