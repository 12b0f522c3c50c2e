"""Streams whose events are numbered: where one stands, so that what is added to it counts on.

Source: `sequence_number` of the Responses API, which rises by one from zero. Inside the text of an event the name can
only stand escaped, so the first plain one of an event's own members is found without parsing.
"""

from __future__ import annotations

import re
from typing import Protocol, runtime_checkable

NUMBER = b'"sequence_number"'
_NUMBER = re.compile(NUMBER + rb"\s*:\s*(\d{1,15})")


@runtime_checkable
class Numbered(Protocol):
    """An encoder that numbers its events; `number` is the next one."""

    number: int


def following(sent: bytes) -> int:
    """The number that comes after those in these events: 0 when they have none."""
    return max((int(number) + 1 for number in _NUMBER.findall(sent)), default=0)
