# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled half of `reactor` (its twin is `_reactor_pure`): epoll, recv and send without a Python socket.

Nothing here blocks but `linger`, so the GIL is kept. Received bytes land in one buffer of the process and are copied out once their
number is known. An event carries the descriptor's generation beside its number: one that was harvested before its
descriptor was closed and given out again finds a newer generation in the table, and is dropped.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.exc cimport PyErr_SetFromErrno
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.errno cimport EAGAIN, EINTR, EBADF, ENOENT, errno
from libc.stdint cimport int64_t, uint32_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef extern from "Python.h":
    ctypedef struct PyAsyncMethods:
        void* am_send
    ctypedef struct PyTypeObject:
        PyAsyncMethods* tp_as_async

cdef extern from "<sys/types.h>" nogil:
    ctypedef long ssize_t

cdef extern from "<unistd.h>" nogil:
    int close(int fd)

cdef extern from "<sys/uio.h>" nogil:
    cdef struct iovec:
        void* iov_base
        size_t iov_len

cdef extern from "<sys/socket.h>" nogil:
    cdef struct msghdr:
        iovec* msg_iov
        size_t msg_iovlen
    ssize_t recv(int fd, void* buf, size_t size, int flags)
    ssize_t send(int fd, const void* buf, size_t size, int flags)
    ssize_t sendmsg(int fd, const msghdr* message, int flags)
    int MSG_NOSIGNAL
    int MSG_DONTWAIT
    int MSG_PEEK

cdef extern from "<sys/epoll.h>" nogil:
    int epoll_create1(int flags)
    int epoll_ctl(int epfd, int op, int fd, epoll_event* event)
    int epoll_wait(int epfd, epoll_event* events, int most, int timeout)
    int EPOLL_CLOEXEC
    int EPOLL_CTL_ADD
    int EPOLL_CTL_DEL
    int EPOLL_CTL_MOD
    uint32_t EPOLLIN
    uint32_t EPOLLOUT
    uint32_t EPOLLRDHUP
    uint32_t EPOLLHUP
    uint32_t EPOLLERR
    uint32_t EPOLLET
    uint32_t EPOLLONESHOT

cdef extern from "<sys/eventfd.h>" nogil:
    int eventfd(unsigned int value, int flags)
    int EFD_CLOEXEC

cdef extern from "<string.h>" nogil:
    void* memset(void* where, int value, size_t size)

cdef enum:
    MOST = 256
    READ_SIZE = 65536
    IN_A_ROW = 4
    LINGER = 1_000_000  # nanoseconds
    LONGEST = 100_000  # nanoseconds of a drain after which no further batch is begun

cdef double UNKNOWN = -1.0
cdef char _buffer[READ_SIZE]


cdef class Taker:
    """Takes what arrives for a handle, in place of a task that would be its `reader`."""

    cdef int take(self) except -1:
        """Something has arrived. Raises nothing."""
        return 0


cdef class Handle:
    """See `_reactor_pure.Handle`. While it has a `taker`, a reader sleeps on until that wakes him."""

    def __await__(self):
        return Receiving.__new__(Receiving, self)

    def _give_up(self, _):
        self.reader = None
        return self.reactor.loop.aborted

    cpdef bytes recv(self):
        """What has arrived, b"" at the end of the stream; None: wait."""
        cdef ssize_t size
        cdef bytes given
        if self.given is not None:
            given, self.given = self.given, None
            return given
        if not self.readable:
            return None
        self._row += 1
        if self._row > IN_A_ROW:
            self.later()
            return None
        size = recv(self.fd, _buffer, READ_SIZE, MSG_DONTWAIT)
        while size < 0 and errno == EINTR:
            size = recv(self.fd, _buffer, READ_SIZE, MSG_DONTWAIT)
        if size < 0:
            if errno != EAGAIN:
                PyErr_SetFromErrno(OSError)
            self.readable = False
            return None
        if size < READ_SIZE and not self.ended:
            self.readable = False
            self._row = 0
        return PyBytes_FromStringAndSize(_buffer, size)

    cpdef bint silent(self) except -1:
        """Whether nothing is there to be received, neither bytes nor an end or error."""
        cdef char byte
        if self.readable and not self.ended:
            if recv(self.fd, &byte, 1, MSG_DONTWAIT | MSG_PEEK) < 0 and errno == EAGAIN:
                self.readable = False
        return not self.readable

    cpdef Py_ssize_t send(self, data) except -1:
        """How many bytes of `data` the kernel took; 0: wait first."""
        cdef const unsigned char[::1] view
        cdef ssize_t sent
        if type(data) is bytes:
            sent = send(self.fd, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), MSG_DONTWAIT | MSG_NOSIGNAL)
        else:
            view = data
            sent = send(self.fd, &view[0], view.shape[0], MSG_DONTWAIT | MSG_NOSIGNAL) if view.shape[0] else 0
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                PyErr_SetFromErrno(OSError)
            return 0
        return sent

    cpdef Py_ssize_t send_both(self, bytes head, bytes body) except -1:
        """As `send`, for two pieces that leave together."""
        cdef iovec parts[2]
        cdef msghdr message
        cdef ssize_t sent
        parts[0].iov_base = PyBytes_AS_STRING(head)
        parts[0].iov_len = PyBytes_GET_SIZE(head)
        parts[1].iov_base = PyBytes_AS_STRING(body)
        parts[1].iov_len = PyBytes_GET_SIZE(body)
        memset(&message, 0, sizeof(message))
        message.msg_iov = parts
        message.msg_iovlen = 2
        sent = sendmsg(self.fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL)
        if sent < 0:
            if errno != EAGAIN and errno != EINTR:
                PyErr_SetFromErrno(OSError)
            return 0
        return sent

    def watch(self, hung_up):
        """Call `hung_up(full)` when the peer hangs up; at once if it has."""
        self._hung_up = hung_up
        if self.ended:
            hung_up(self._gone)

    def forget(self):
        """No events from here on; before the descriptor is closed."""
        cdef int fd = self.fd
        if fd >= 0:
            self.fd = -1
            self.readable = False
            self._hung_up = None
            self._trap = None
            self.taker = None
            self.given = None
            self.reactor._forget(fd)

    cdef int later(self) except -1:
        """What has arrived and was not received is an event of its own."""
        self._row = 0
        self.readable = False
        self.reactor._tell_again(self.fd, self._generation)
        return 0

    cdef int hand_over(self, bytes data) except -1:
        """The taker leaves `data` to the reader, who receives it next."""
        self.given = data
        return self.wake()

    cdef int wake(self) except -1:
        """End the reader's sleep."""
        task = self.reader
        if task is not None:
            self.reader = None
            self.reactor.woken += 1
            self.reactor._reschedule(task)
        return 0

    cdef int _happened(self, uint32_t events, object reschedule) except -1:
        """Note what an event says and wake whom it concerns."""
        cdef bint gone = events & (EPOLLHUP | EPOLLERR) != 0
        cdef object task
        if events & ~EPOLLOUT:
            self.readable = True
            if events & ~(EPOLLOUT | EPOLLIN) and (not self.ended or gone > self._gone):
                self.ended = True
                self._gone = gone
                if self._hung_up is not None:
                    self.reactor.woken += 1
                    self._hung_up(gone)
            task = self.reader
            if self.taker is not None:
                self.reactor.carried += 1
                self.taker.take()
            elif task is not None:
                self.wake()
        if events & ~EPOLLIN:
            task = self.writer
            if task is not None:
                self.writer = None
                self.reactor.woken += 1
                reschedule(task)
        return 0


cdef class Receiving:
    """One await of a handle. CPython 3.11 asks for the next step by a slot, which needs no exception to hand out what
    was received; later ones call `send`."""

    cdef Handle _handle

    def __cinit__(self, Handle handle):
        self._handle = handle

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, outcome):
        cdef PyObject* result = NULL
        cdef bint sleeps = _step(<PyObject*>self, <PyObject*>outcome, &result)
        value = <object>result
        Py_DECREF(value)
        if sleeps:
            return value
        raise StopIteration(value)


cdef int _step(PyObject* receiving, PyObject* outcome, PyObject** result) except -1:
    """A step of an await: 0 with what was received, or 1 with what to yield for another sleep."""
    cdef Handle handle = (<Receiving>receiving)._handle
    cdef Reactor reactor = handle.reactor
    cdef object value
    if outcome != <PyObject*>None:  # behind a sleep
        (<object>outcome).unwrap()
    value = handle.recv()
    if value is not None:
        Py_INCREF(value)
        result[0] = <PyObject*>value
        return 0
    if handle.fd < 0:
        raise reactor.loop.closed()
    if handle.reader is not None:
        raise RuntimeError("another task is receiving")
    if handle._trap is None:
        handle._trap = reactor.loop.trap(handle._give_up)
    handle.reader = reactor._current_task()
    value = handle._trap
    Py_INCREF(value)
    result[0] = <PyObject*>value
    return 1


# The slot behind PyIter_Send: PYGEN_ERROR, PYGEN_RETURN and PYGEN_NEXT are -1, 0 and 1.
(<PyTypeObject*>Receiving).tp_as_async.am_send = <void*>_step


cdef class Reactor:
    """See `_reactor_pure.Reactor`."""

    def __cinit__(self, loop):
        self._epoll = -1
        self.loop = loop
        self._reschedule = loop.reschedule
        self._current_task = loop.current_task
        self._handles = []
        self._generation = 0
        self._bell = -1
        self._epoll = epoll_create1(EPOLL_CLOEXEC)
        if self._epoll < 0:
            PyErr_SetFromErrno(OSError)
        self._bell = eventfd(1, EFD_CLOEXEC)
        if self._bell < 0:
            PyErr_SetFromErrno(OSError)
        self._watch(EPOLL_CTL_ADD, self._bell, 0, 0)
        self._make_room(self._bell)

    def __dealloc__(self):
        if self._epoll >= 0:
            close(self._epoll)
        if self._bell >= 0:
            close(self._bell)

    def fileno(self):
        """Readable while events wait for `drain`."""
        return self._epoll

    def add(self, int fd):
        """Watch the socket `fd`. Raises OSError."""
        cdef Handle handle = Handle.__new__(Handle)
        self._generation += 1
        handle.fd = fd
        handle.reactor = self
        handle._generation = self._generation
        self._control(EPOLL_CTL_ADD, fd, self._generation)
        self._make_room(fd)
        self._handles[fd] = handle
        return handle

    cdef int _make_room(self, int fd) except -1:
        while len(self._handles) <= fd:
            self._handles.append(None)
        return 0

    @property
    def flowing(self):
        """Whether bytes have been carried in the last drain, or while it lingered, twice within LINGER."""
        return self.carried > 1 or (self.carried and self._latest - self._before < LINGER)

    cdef int _control(self, int what, int fd, uint32_t generation) except -1:
        return self._watch(what, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, generation)

    cdef int _watch(self, int what, int fd, uint32_t events, uint32_t generation) except -1:
        cdef epoll_event event
        event.events = events
        event.data.u64 = (<uint64_t>generation << 32) | <uint32_t>fd
        if epoll_ctl(self._epoll, what, fd, &event) < 0:
            PyErr_SetFromErrno(OSError)
        return 0

    cdef int _tell_again(self, int fd, uint32_t generation) except -1:
        """A new event for what `fd` is ready for now: to arm it anew looks at it anew."""
        if self._epoll >= 0:
            self._control(EPOLL_CTL_MOD, fd, generation)
        return 0

    cdef int _forget(self, int fd) except -1:
        cdef epoll_event event
        self._handles[fd] = None
        if self._epoll >= 0 and epoll_ctl(self._epoll, EPOLL_CTL_DEL, fd, &event) < 0:
            if errno != EBADF and errno != ENOENT:
                PyErr_SetFromErrno(OSError)
        return 0

    cpdef int drain(self) except -1:
        """Take at most 256 events and wake those who wait for them; how many there were. Where bytes are carried, which
        takes its time, no batch is begun after LONGEST."""
        cdef int total = 0, count
        cdef int64_t begun = nanoseconds()
        self.carried = 0
        while total < MOST:
            count = epoll_wait(self._epoll, self._events, BATCH, 0)
            self._take(count)
            total += max(count, 0)
            if count < BATCH or (self.carried and nanoseconds() - begun > LONGEST):
                break
        if self.carried:
            self._before, self._latest = self._latest, begun
        return total

    def linger(self):
        """Wait for more to carry, a millisecond or two at most; over as soon as somebody has been woken, who finds the
        descriptor readable then."""
        cdef int count
        cdef int64_t end = nanoseconds() + LINGER
        self.carried = self.woken = 0
        while not self.woken and nanoseconds() < end:
            with nogil:  # threads have their turn
                count = epoll_wait(self._epoll, self._events, BATCH, 1)
            self._take(count)
        if self.woken:
            self._watch(EPOLL_CTL_MOD, self._bell, EPOLLIN | EPOLLONESHOT, 0)

    cdef int _take(self, int count) except -1:
        """Deliver so many events."""
        cdef int i
        cdef uint64_t key
        cdef object found
        self.moment = UNKNOWN
        for i in range(count):
            key = self._events[i].data.u64
            found = self._handles[<uint32_t>key]
            if found is not None and (<Handle>found)._generation == key >> 32:
                (<Handle>found)._happened(self._events[i].events, self._reschedule)
        return 0

    def close(self):
        """Close the epoll descriptor; handles can still be used up and forgotten."""
        if self._epoll >= 0:
            close(self._epoll)
            close(self._bell)
            self._epoll = self._bell = -1


cdef inline int64_t nanoseconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1_000_000_000 + now.tv_nsec
