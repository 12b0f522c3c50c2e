"""Bytes and numbers: the hot path, compiled where it can be.

Every module here is a pair. `_name.pyx` is the compiled half, `_name_pure.py` its twin with the same names, and
`name.py` is what the rest of the package imports: it takes the compiled half unless FASTANCHOR_PURE=1 is set or the
half was not built. Nothing here knows a word of the project, does I/O it was not handed, or reads a clock.
"""

from __future__ import annotations

import os
from importlib.util import find_spec

PURE_WANTED = os.environ.get("FASTANCHOR_PURE") == "1"


def compiled(name: str) -> bool:
    """Whether the compiled half of module `name` exists and is wanted."""
    return not PURE_WANTED and find_spec(f"fastanchor._speedups._{name}") is not None
