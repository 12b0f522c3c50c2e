"""Lines of JSON that can be checked, read back: the counterpart of `line`.

    lines(b'0000001d 6a0c5a50 ["open","a",1.5,true,7,[null]]\\n…', (b"open", "sfbn*"))
    Found(apart=([("a", 1.5, True, 7)],), rest=[], size=…, damaged=0)

A shape is a line's first text and what follows it, a letter for each value of the array:

    s  text, kept            n  count, kept; null is 0      x  a value that is no array, passed over
    f  float, kept           b  boolean, kept               [ ]  an array of what stands between, its values as if here
    *  whatever else there is (at the end)                  =  keeps the JSON of the line (at the end)

Rules:
- A line whose length or CRC-32 is not what it says is damaged, and passed over.
- Only what is ordinary is taken apart: text of plain ASCII without escapes, floats without an exponent, counts of at
  most fifteen digits. All other lines are left as `rest`, and are the caller's to decode: what a line means is said
  once, there. The pure half leaves everything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled
from fastanchor._speedups._lines_pure import Found, Shape, verified

if TYPE_CHECKING or not compiled("lines", "lines"):
    from fastanchor._speedups._lines_pure import lines
else:
    from fastanchor._speedups._lines import lines

__all__ = ["Found", "Shape", "lines", "verified"]
