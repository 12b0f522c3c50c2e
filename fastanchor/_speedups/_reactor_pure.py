"""The pure twin of `_reactor`: `select.epoll` and `os.read`.

Every socket is registered once, edge-triggered, in both directions and for hang-ups. So `readable` is kept by hand: an
event sets it, and a receive that brought less than it could have, or nothing, takes it away (epoll(7), question 9),
unless the stream has ended: no further edge will ever tell that.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Generator
from typing import Any, Generic

from ._reactor_types import Loop, Task

Buffer = bytes | bytearray | memoryview

BATCH = 256
READ_SIZE = 64 * 1024
IN_A_ROW = 4
FULL = select.EPOLLHUP | select.EPOLLERR
EVENTS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Handle(Generic[Task]):
    """One registered socket. To await it is to receive: the next bytes, b"" at the end of the stream.

    `reader` and `writer` are the tasks that wait for it. A writer puts himself there, and takes himself out when he
    gives up.
    """

    __slots__ = ("_gone", "_hung_up", "_reactor", "_row", "_trap", "ended", "fd", "readable", "reader", "writer")

    def __init__(self, reactor: Reactor[Task], fd: int) -> None:
        self.fd = fd
        self.readable = False
        """Something may be there to be received."""
        self.ended = False
        """The peer has ended its sending side, or the connection."""
        self.reader: Task | None = None
        self.writer: Task | None = None
        self._reactor = reactor
        self._gone = False
        self._row = 0
        self._hung_up: Callable[[bool], None] | None = None
        self._trap: object = None

    def __await__(self) -> Generator[object, Any, bytes]:
        loop = self._reactor.loop
        while (data := self.recv()) is None:
            if self.fd < 0:
                raise loop.closed()
            if self.reader is not None:
                raise RuntimeError("another task is receiving")
            if self._trap is None:
                self._trap = loop.trap(self._give_up)
            self.reader = loop.current_task()
            (yield self._trap).unwrap()
        return data

    def _give_up(self, _: object) -> object:
        self.reader = None
        return self._reactor.loop.aborted

    def recv(self) -> bytes | None:
        """What has arrived, b"" at the end of the stream. None: wait. Raises OSError.

        Behind a few full receives in a row there is an event to wait for in any case: a sender that is faster than we
        are would otherwise hold the loop.
        """
        if not self.readable:
            return None
        self._row += 1
        if self._row > IN_A_ROW:
            self._row = 0
            self.readable = False
            self._reactor._tell_again(self.fd)
            return None
        try:
            data = os.read(self.fd, READ_SIZE)
        except BlockingIOError:
            self.readable = False
            return None
        if len(data) < READ_SIZE and not self.ended:
            self.readable = False
            self._row = 0
        return data

    def silent(self) -> bool:
        """Whether nothing is there to be received: neither bytes, nor an end, nor an error."""
        if self.readable and not self.ended:
            poll = select.poll()
            poll.register(self.fd, select.POLLIN)
            self.readable = bool(poll.poll(0))
        return not self.readable

    def send(self, data: Buffer) -> int:
        """How many bytes of `data` the kernel took; 0: wait. Raises OSError."""
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    def send_both(self, head: bytes, body: bytes) -> int:
        """As `send`, for two pieces that leave together."""
        try:
            return os.writev(self.fd, [head, body])
        except BlockingIOError:
            return 0

    def watch(self, hung_up: Callable[[bool], None]) -> None:
        """Call `hung_up(full)` when the peer ends its sending side, or (`full`) both; at once if it has."""
        self._hung_up = hung_up
        if self.ended:
            hung_up(self._gone)

    def forget(self) -> None:
        """No events from here on; before the descriptor is closed. Waiting tasks are not woken."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            self.readable = False
            self._hung_up = self._trap = None
            self._reactor._forget(fd)

    def _happened(self, events: int, reschedule: Callable[[Task], None]) -> None:
        """Note what an event says and wake whom it concerns."""
        gone = bool(events & FULL)
        if events & ~select.EPOLLOUT:
            self.readable = True
            if events & ~(select.EPOLLOUT | select.EPOLLIN) and (not self.ended or gone > self._gone):
                self.ended = True
                self._gone = gone
                if self._hung_up is not None:
                    self._hung_up(gone)
            task, self.reader = self.reader, None
            if task is not None:
                reschedule(task)
        if events & ~select.EPOLLIN:
            task, self.writer = self.writer, None
            if task is not None:
                reschedule(task)


class Reactor(Generic[Task]):
    """The sockets of one loop."""

    def __init__(self, loop: Loop[Task]) -> None:
        self.loop = loop
        self._epoll = select.epoll()
        self._handles: dict[int, Handle[Task]] = {}

    def fileno(self) -> int:
        """A descriptor that is readable while events wait for `drain`; -1 when closed."""
        return -1 if self._epoll.closed else self._epoll.fileno()

    def add(self, fd: int) -> Handle[Task]:
        """Watch the non-blocking stream socket `fd`. Raises OSError."""
        self._epoll.register(fd, EVENTS)
        handle = self._handles[fd] = Handle(self, fd)
        return handle

    def drain(self) -> int:
        """Take at most 256 events and wake those who wait for them; how many events there were."""
        events = [(self._handles.get(fd), what) for fd, what in self._epoll.poll(0, BATCH)]
        for handle, what in events:
            if handle is not None and handle.fd >= 0:
                handle._happened(what, self.loop.reschedule)
        return len(events)

    @property
    def flowing(self) -> bool:
        """Whether there is something to linger for: nothing flows here but through tasks."""
        return False

    def linger(self) -> None:
        """Wait a little for more that concerns no task."""

    def close(self) -> None:
        """Close the epoll descriptor; what is registered can still be used up and forgotten."""
        self._epoll.close()

    def _tell_again(self, fd: int) -> None:
        """A new event for what `fd` is ready for now: to arm it anew looks at it anew."""
        if not self._epoll.closed:
            self._epoll.modify(fd, EVENTS)

    def _forget(self, fd: int) -> None:
        del self._handles[fd]
        if not self._epoll.closed:
            self._epoll.unregister(fd)
