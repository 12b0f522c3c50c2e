"""Readiness of many sockets behind one descriptor: each registered once, received from and sent to without exceptions.

A loop watches `Reactor.fileno()` and calls `drain` when it is readable; the reactor wakes the tasks that wait. Nothing
here waits itself. One thread at a time uses a reactor and its handles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import compiled
from ._reactor_types import Loop

if not TYPE_CHECKING and compiled("reactor"):
    from ._reactor import Handle, Reactor
else:
    from ._reactor_pure import Handle, Reactor

__all__ = ["Handle", "Loop", "Reactor"]
