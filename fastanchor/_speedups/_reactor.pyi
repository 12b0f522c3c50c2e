"""Types of the compiled half of `reactor`."""

from ._reactor_pure import Handle, Reactor

__all__ = ["Handle", "Reactor"]
