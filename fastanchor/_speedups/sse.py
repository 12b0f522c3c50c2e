"""Server-sent events, byte for byte: `Scanner` forwards them and marks some, `Decoder` parses them all.

The stream grammar is WHATWG HTML §9.2 "Server-sent events": lines end in LF, CRLF or a lone CR (CRLF may be cut by a
read), one byte order mark may open the stream, a line that starts with a colon is a comment, the `data` lines of an
event are joined by LF, and a blank line ends the event. Reads may cut the stream anywhere.

What both classes call a *raw event* is the bytes up to and including its blank line. An event whose blank line ends in
CR at the end of a read is complete at once: an LF that opens the next read still belongs to that line end, so it is
passed on by itself, before (and outside of) the next event. The byte order mark is passed on by itself too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled
from fastanchor._speedups._sse_pure import UNCLOSED

if TYPE_CHECKING or not compiled("sse"):
    from fastanchor._speedups._sse_pure import Data, Decoder, Event, EventTooLarge, Marks, Scanner, data_of, parse
else:
    from fastanchor._speedups._sse import Data, Decoder, Event, EventTooLarge, Marks, Scanner, data_of, parse

__all__ = ["UNCLOSED", "Data", "Decoder", "Event", "EventTooLarge", "Marks", "Scanner", "data_of", "parse"]
