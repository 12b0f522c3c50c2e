"""Which worker takes the next client: the one that has less than the others.

All workers accept from the same sockets. Each writes what it has open into memory that all of them see, and one that
has `LEAD` more than the least of the others leaves newcomers to these. It does so for 20 ms at most: where nobody
else comes (they are at work for long, or hang), it takes some after all, more each time.

A connection counts one, and each open stream of an HTTP/2 connection counts one more. A connection cannot be moved:
while all streams of one busy client come over one HTTP/2 connection, one worker serves them, but nobody else is sent
there as long as another worker has less to do.

A word of the memory is written by its worker alone, in one aligned store, so nothing needs a lock.
"""

from __future__ import annotations

import mmap
import select
import socket

import trio

LEAD = 4
STEP = 0.001
"""Seconds after which a worker looks again whether the others have come."""
PATIENCE = 20
"""For so many steps it leaves newcomers to them."""
MOST = 64
"""Connections that a worker takes at once."""
ABSENT = -1
WORD = 8


class Floor:
    """What each worker has open, by seat. Made by the process that forks the workers, before it does."""

    def __init__(self, seats: int) -> None:
        self._words = memoryview(mmap.mmap(-1, WORD * seats)).cast("q")
        for seat in range(seats):
            self.leave(seat)

    def __getitem__(self, seat: int) -> int:
        return self._words[seat]

    def note(self, seat: int, count: int) -> None:
        """The worker of this seat accepts, and has so much open."""
        self._words[seat] = count

    def leave(self, seat: int) -> None:
        """The worker of this seat accepts nobody (any more)."""
        self._words[seat] = ABSENT

    def least(self, but: int) -> int | None:
        """The least that another worker than this one has open; None: there is no other."""
        others = [count for seat, count in enumerate(self._words) if count != ABSENT and seat != but]
        return min(others) if others else None


class Occupancy:
    """What one worker has open, beside what the others have. Away until it enters, and again once it has left."""

    __slots__ = ("_away", "_count", "_floor", "_most", "_seat")

    def __init__(self, floor: Floor, seat: int) -> None:
        self._floor = floor
        self._seat = seat
        self._away = True
        self._count = 0
        self._most = LEAD

    def enter(self) -> None:
        """This worker accepts from now on."""
        self._away = False
        self._floor.note(self._seat, self._count)

    def leave(self) -> None:
        """This worker accepts nobody any more; what it has open is nobody's measure."""
        self._away = True
        self._floor.leave(self._seat)

    def opened(self, count: int = 1) -> None:
        """So many connections or streams are open now that were not (or, below zero, are closed)."""
        self._count += count
        if not self._away:
            self._floor.note(self._seat, self._count)

    def room(self) -> int:
        """How many newcomers this worker may take before others should."""
        least = self._floor.least(self._seat)
        return MOST if least is None else least + LEAD - self._count

    async def turn(self, listener: socket.socket) -> int:
        """Wait until somebody wants to come and it is this worker's turn; returns how many it may take."""
        steps = 0
        while True:
            if steps and not _somebody_waits(listener):
                steps = 0  # those who were left to others have been taken
            await trio.lowlevel.wait_readable(listener)
            room = self.room()
            if room > 0:
                self._most = LEAD
                return min(room, MOST)
            if steps == PATIENCE:
                self._most = min(2 * self._most, MOST)
                return self._most
            await trio.sleep(STEP)
            steps += 1


def _somebody_waits(listener: socket.socket) -> bool:
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def alone() -> Occupancy:
    """Of a worker that shares its sockets with nobody."""
    return Occupancy(Floor(1), 0)
