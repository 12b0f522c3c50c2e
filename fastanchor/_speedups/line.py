"""One value after another as a line of JSON that can be checked: how a journal is written.

    line(("open", "req_1", 1780000000.25, True, None, (1, 2)))
    b'00000032 7d3c9c53 ["open","req_1",1780000000.25,true,null,[1,2]]\\n'

A line is the length of its JSON and the CRC-32 of that, in eight hexadecimal digits each, and the JSON: an array of
text, integers, floats, booleans, None, and arrays of these.

Rules:
- Floats keep six decimals: what is written are times, and a microsecond is enough. One that is not finite is null.
- Text that is no UTF-8 (half a surrogate pair) is written with question marks in its place.
- The compiled half writes into one buffer of its own, which makes it safe for one thread at a time, like all of Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled

if TYPE_CHECKING or not compiled("line", "line"):
    from fastanchor._speedups._line_pure import line
else:
    from fastanchor._speedups._line import line

__all__ = ["line"]
