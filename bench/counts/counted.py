"""`fastanchor serve` made to be counted: `python -m bench.counts.counted LIBRARY serve ...`.

Time stands still for whatever trio waits for, so that nothing happens by the clock; it moves when a process is told so.
Nor does the reactor linger for more events, which is a matter of time too: each event costs a turn of trio's loop.
Signals, to any process of the instance:

    TICK    a second passes: what is due by then happens
    COUNT   under callgrind: the first one begins to count, every other one writes what was counted since the last
"""

from __future__ import annotations

import ctypes
import math
import signal
import sys
from functools import partial

import trio

from fastanchor.cli import main
from fastanchor.wire import reactor

TICK = signal.SIGRTMIN + 1
COUNT = signal.SIGUSR2
FOR_EVER = 1e6


class Halted(trio.abc.Clock):
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def start_clock(self) -> None:
        """Nothing to do: it does not run."""

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        return 0.0 if deadline <= self.now else FOR_EVER

    def tick(self, *_: object) -> None:
        """A second passes. The signal that says so also ends the sleep of trio's loop."""
        self.now += 1.0


def install(library: str) -> None:
    """Halt the clock and handle the signals, in this process and in all that it forks."""
    reactor.LINGER = math.inf
    clock, counter = Halted(), ctypes.CDLL(library)
    trio.run = partial(trio.run, clock=clock)  # type: ignore[assignment]
    steps = iter([counter.count_from_here])
    signal.signal(COUNT, lambda *_: next(steps, counter.write_count)())
    signal.signal(TICK, clock.tick)


if __name__ == "__main__":
    install(sys.argv.pop(1))
    main(prog_name="fastanchor")
