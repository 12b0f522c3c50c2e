"""The frames of a Responses stream: `event` and `data` tell the same type, and a number rises by one from zero."""

from __future__ import annotations

_ONE_LINE = bytes.maketrans(b"\n\r", b"  ")


class Frames:
    """Numbers and writes the events of one stream. `number` is that of the next event."""

    __slots__ = ("number",)

    def __init__(self, number: int = 0) -> None:
        self.number = number

    def frame(self, kind: bytes, members: bytes) -> bytes:
        """One event. `members` are the JSON members that follow `type` and `sequence_number`, without braces."""
        number = self.number
        self.number += 1
        if b"\n" in members or b"\r" in members:  # between the tokens of raw JSON that somebody laid out nicely
            members = members.translate(_ONE_LINE)
        return b'event: %b\ndata: {"type":"%b","sequence_number":%d,%b}\n\n' % (kind, kind, number, members)
