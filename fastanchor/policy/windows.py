"""Calendar windows in UTC: the hour, the day and the month that an instant lies in, by number.

A number is larger the later its window is, so that a counter knows a new window from an old one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

HOUR = 3_600
DAY = 86_400
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LAST = 253_399_622_399  # the last instant whose month ends within the calendar of `datetime`


class Windows(NamedTuple):
    """Numbers, and ends in unix seconds."""

    hour: int
    day: int
    month: int
    hour_end: int
    day_end: int
    month_end: int

    def end(self, window: str) -> int:
        """The end of the window by its name, in unix seconds."""
        return {"hour": self.hour_end, "day": self.day_end, "month": self.month_end}[window]


def windows(unix: float) -> Windows:
    """The windows at a time in unix seconds. Before 1970 it is 1970."""
    return _of_hour(min(max(0, int(unix)), LAST) // HOUR)


@lru_cache(maxsize=8)
def _of_hour(hour: int) -> Windows:
    day = hour * HOUR // DAY
    date = EPOCH + timedelta(days=day)
    month = (date.year - 1970) * 12 + date.month - 1
    last = date.replace(day=28) + timedelta(days=4)  # in the next month, whatever month it is
    month_end = day * DAY + (last - date).days * DAY - (last.day - 1) * DAY
    return Windows(hour, day, month, (hour + 1) * HOUR, (day + 1) * DAY, month_end)
