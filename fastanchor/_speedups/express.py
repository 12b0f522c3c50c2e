"""Exchanges of the usual kind, carried out within the reactor's drain: no task runs for them.

A `Guest` stands beside one client's connection. It learns the head of a request that has been served in the ordinary
way, with a lane; while the connection's task sleeps, a request that comes with the very same head (but for the digits
of its content-length) and a body that is there whole goes to the lane:

    lane.begin(guest, body)            takes it on (`guest.go(upstream, head, body)`), or not
    lane.end(guest, body, keep_alive)  answers it (`guest.answer(head, body)`), or not

Rules:
- Whatever is not plain wakes the task, which finds the request as if it had just come: before `go` as a new one, after
  it (`busy`) as one that is under way, whose answer is read from the upstream's handle. `unsent` is what the upstream
  has not been sent.
- While it is busy, what the client sends ahead stays where it is.
- An answer that the kernel does not take whole leaves its `rest` to the task (None: the client is gone).
- There is no pure half. Without the compiled one every request is served by a task, with the same outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastanchor._speedups import compiled

if TYPE_CHECKING:
    from fastanchor._speedups import _chat_facts as chat_facts
    from fastanchor._speedups._express import Guest

EXPRESS = compiled("express") and compiled("chat_facts")

if not TYPE_CHECKING:
    if EXPRESS:
        from fastanchor._speedups import _chat_facts as chat_facts
        from fastanchor._speedups._express import Guest
    else:
        chat_facts = Guest = None

__all__ = ["EXPRESS", "Guest", "chat_facts"]
