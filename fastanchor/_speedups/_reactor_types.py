"""What both halves of `reactor` need of the loop whose tasks they put to sleep."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Task = TypeVar("Task")
Abort = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Loop(Generic[Task]):
    """The loop's primitives; the comments name trio's."""

    current_task: Callable[[], Task]
    reschedule: Callable[[Task], None]
    sleep: Callable[[Abort], Coroutine[Any, Any, Any]]
    """`wait_task_rescheduled`: sleeps until somebody reschedules the task, or the abort function is called."""
    aborted: object
    """`Abort.SUCCEEDED`: what an abort function answers."""
    closed: Callable[[], Exception]
    """`ClosedResourceError`: raised in who waits for what is closed."""

    def trap(self, abort: Abort) -> object:
        """What `sleep(abort)` yields to the loop. Whoever yields that himself sleeps as well, as often as he likes, and
        without a coroutine for each time; he is sent the outcome that `sleep` would unwrap."""
        coroutine = self.sleep(abort)
        trap: object = coroutine.send(None)
        coroutine.close()
        return trap
