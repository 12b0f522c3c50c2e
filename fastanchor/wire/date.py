"""The field Date, formatted once a second (RFC 9110 §6.6.1)."""

from __future__ import annotations

import time
from email.utils import formatdate

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


def _refresh() -> None:
    global _second, _value, _line
    _second = int(time.time())
    _value = formatdate(_second, usegmt=True).encode("ascii")
    _line = b"date: %b\r\n" % _value
