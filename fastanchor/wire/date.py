"""The field Date, formatted once a second (RFC 9110 §5.6.7, §6.6.1)."""

from __future__ import annotations

import time

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_second = -1
_value = b""
_line = b""


def date() -> bytes:
    """The value of Date."""
    if int(time.time()) != _second:
        _refresh()
    return _value


def date_line() -> bytes:
    """The whole line of an HTTP/1.1 head."""
    if int(time.time()) != _second:
        _refresh()
    return _line


def formatted(unix: int) -> bytes:
    """A time as HTTP writes it, whatever the locale."""
    now = time.gmtime(unix)
    name, month = DAYS[now.tm_wday], MONTHS[now.tm_mon - 1]
    text = f"{name}, {now.tm_mday:02} {month} {now.tm_year:04} {now.tm_hour:02}:{now.tm_min:02}:{now.tm_sec:02} GMT"
    return text.encode("ascii")


def _refresh() -> None:
    global _second, _value, _line
    _second = int(time.time())
    _value = formatted(_second)
    _line = b"date: %b\r\n" % _value
