"""What is left of an allowance, and when it is whole again, as header fields.

    shown = Allowance((b"x-limit", b"60"), b"x-remaining", b"x-reset", 60, 1.0, instant=False)
    fields = []
    shown.add(fields, left=40, wait=0.0, unix=1780000000.0)
    fields == [(b"x-limit", b"60"), (b"x-remaining", b"40"), (b"x-reset", b"20s")]

An allowance of which one unit comes back every `unit` seconds is whole again after as many as are missing; one whose
`unit` is 0 after `wait` seconds. A reset is told as a duration in Go's form (`12ms`, `1s`, `6m0s`, `23h59m1s`) or, as
an `instant`, in RFC 3339, to the second and never too early. With `plain` the fields of that name are added, too,
whose reset is in unix seconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled
from fastanchor._speedups._allowance_pure import Field, Fields, duration

if TYPE_CHECKING or not compiled("allowance", "Allowance"):
    from fastanchor._speedups._allowance_pure import Allowance
else:
    from fastanchor._speedups._allowance import Allowance

__all__ = ["Allowance", "Field", "Fields", "duration"]
