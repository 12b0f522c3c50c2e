"""What one HTTP/2 client may make us do before we stop: the answer to floods of frames that cost it next to nothing.

Sans-io, time is an argument (seconds). Three kinds of bounds: frames per time (PING, SETTINGS), streams that end
before their answer does (rapid reset, and MadeYouReset, where the client makes us send the reset), and *glitches*:
frames that bring nobody forward, counted over the connection's life against what it has got done.
"""

from __future__ import annotations

from collections import deque

from . import h2_frames as frames
from .h2_frames import Frame, Hostile
from .limits import H2Limits

RATE_SECONDS = 10.0
HISTORY = 200
"""Streams of which half may not have ended before their answer."""
GLITCHES_PER_STREAM = 10
UPDATES_PER_DATA = 10
WORN_SHARE = 0.75


class Rate:
    """At most `most` events in any `RATE_SECONDS`."""

    __slots__ = ("_most", "_times")

    def __init__(self, most: int) -> None:
        self._most = most
        self._times: deque[float] = deque(maxlen=most + 1)

    def exceeded(self, now: float) -> bool:
        """Count an event; whether it is one too many."""
        self._times.append(now)
        return len(self._times) > self._most and now - self._times[0] < RATE_SECONDS


class Budget:
    """One connection's. The methods raise Hostile when it is spent."""

    def __init__(self, limits: H2Limits) -> None:
        self._limits = limits
        self._pings = Rate(limits.pings)
        self._settings = Rate(limits.settings)
        self._resets = Rate(limits.resets)
        self._history: deque[bool] = deque(maxlen=HISTORY)
        self._premature = 0  # in the history
        self._glitches = 0
        self._updates = 0
        self._sent = 0  # DATA frames
        self._answered = 0  # streams

    @property
    def worn(self) -> bool:
        """Most of the allowance for glitches is used up: time to part as friends."""
        return self._glitches > WORN_SHARE * self._allowance

    @property
    def _allowance(self) -> int:
        return self._limits.glitches + GLITCHES_PER_STREAM * self._answered

    def frame(self, frame: Frame, now: float, *, is_open: bool) -> None:
        """A frame has come; `is_open`: its stream is one that we know, or a new one."""
        kind = frame.kind
        if kind == frames.PING:
            self._ping(frame, now)
        elif kind == frames.SETTINGS:
            self._setting(frame, now)
        elif kind == frames.WINDOW_UPDATE and (is_open or not frame.stream_id):
            self._update()
        elif kind == frames.DATA:
            if frame.empty or not is_open:
                self.glitch()
        elif kind not in (frames.HEADERS, frames.CONTINUATION, frames.RST_STREAM, frames.GOAWAY) or not is_open:
            self.glitch()

    def _ping(self, frame: Frame, now: float) -> None:
        if frame.ack:
            self.glitch()
        elif self._pings.exceeded(now):
            raise Hostile("h2_ping")

    def _setting(self, frame: Frame, now: float) -> None:
        if frame.ack:
            self.glitch()
        elif self._settings.exceeded(now):
            raise Hostile("h2_settings")

    def _update(self) -> None:
        self._updates += 1
        if self._updates > self._limits.glitches + UPDATES_PER_DATA * self._sent:
            raise Hostile("h2_window_update")

    def data_sent(self) -> None:
        """A DATA frame of ours has gone out."""
        self._sent += 1

    def glitch(self, points: int = 1) -> None:
        """The peer did something pointless, or wrong."""
        self._glitches += points
        if self._glitches > self._allowance:
            raise Hostile("h2_glitches")

    def stream_ended(self, now: float, *, answered: bool) -> None:
        """A stream is over; not `answered`: it was reset, by either side, before its answer was whole."""
        if len(self._history) == HISTORY:
            self._premature -= self._history[0]
        self._history.append(not answered)
        if answered:
            self._answered += 1
            return
        self._premature += 1
        too_many = len(self._history) == HISTORY and 2 * self._premature >= HISTORY
        if self._resets.exceeded(now) or too_many:
            raise Hostile("h2_rapid_reset")
