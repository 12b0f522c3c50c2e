"""Bytes and numbers: the hot path, compiled where it can be.

Every module here is a pair. `_name.pyx` is the compiled half, `_name_pure.py` its twin with the same names, and
`name.py` is what the rest of the package imports: it takes the compiled half unless FASTANCHOR_PURE=1 is set or the
half was not built. Nothing here knows a word of the project, does I/O it was not handed, or reads a clock.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec

PURE_WANTED = os.environ.get("FASTANCHOR_PURE") == "1"


def compiled(name: str, *needed: str) -> bool:
    """Whether the compiled half of module `name` is wanted and there, with the names that are `needed`.

    One that was built before a name was added is passed over like one that was not built.
    """
    module = f"fastanchor._speedups._{name}"
    if PURE_WANTED or find_spec(module) is None:
        return False
    return all(hasattr(import_module(module), each) for each in needed)
