"""The `model` of a multipart form that is passed through: found in its beginning, and watched for in the rest.

A form is not read as a whole: it may hold a file of any size. Its `model` is looked for in the first bytes, where every
client library puts its plain fields (RFC 7578 §4); a later one could be another, which a key that is held to some
models must not smuggle past. Sans-io.
"""

from __future__ import annotations

import re
from typing import NamedTuple

BEGINNING = 64 * 1024
"""Bytes in which the model must be named."""
MAX_NAME = 256

_MODEL = re.compile(rb"""content-disposition:[^\r\n]*?[; ]name\*?=(?:utf-8'')?"?model"?(?=[;\r\n ])""", re.IGNORECASE)
_PART = re.compile(_MODEL.pattern + rb"[^\r\n]*\r\n(?:[^\r\n]+\r\n)*\r\n", re.IGNORECASE)
_OVERLAP = 512


class Named(NamedTuple):
    """A model's name, and where it stands."""

    name: str
    start: int
    end: int


def model_in(beginning: bytes) -> Named | None:
    """The value of the form's `model`, None when it has none so far."""
    head = _PART.search(beginning)
    if head is None:
        return None
    end = beginning.find(b"\r\n--", head.end(), head.end() + MAX_NAME + 4)
    if end < 0:
        return None
    try:
        return Named(beginning[head.end() : end].decode(), head.end(), end)
    except UnicodeDecodeError:
        return None


class Watch:
    """Counts the parts named `model` in what passes."""

    def __init__(self) -> None:
        self.count = 0
        self._tail = b""

    def feed(self, data: bytes) -> int:
        """How many there have been so far."""
        text = self._tail + data
        last = 0
        for match in _MODEL.finditer(text):
            self.count += 1
            last = match.end()
        self._tail = text[max(last, len(text) - _OVERLAP) :]
        return self.count
