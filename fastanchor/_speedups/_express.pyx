# cython: boundscheck=False, wraparound=False
"""See `express`. The bytes of one exchange at a time, from the client's handle to the upstream's and back; no task runs.

Nothing raises out of here: what a callback raises is told to `failed`, and the exchange goes to the client's task.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcmp

from ._http1 import parse_response as _parse_response
from ._reactor cimport Handle, Taker

__all__ = ["Guest"]

cdef object parse_response = _parse_response

cdef enum:
    DIGITS = 6  # of a content-length: more does not come in one receive


cdef class Guest(Taker):
    """See `express.Guest`."""

    cdef Handle client
    cdef Handle upstream
    cdef Errand errand
    cdef bytes before
    cdef bytes behind
    cdef readonly object lane
    cdef readonly bint busy
    cdef readonly bytes request
    cdef readonly bytes body
    cdef readonly bytes unsent
    cdef public bytes rest
    cdef public object ride
    cdef readonly object host
    cdef readonly Py_ssize_t lessons
    cdef readonly Py_ssize_t taken
    cdef object failed

    def __init__(self, Handle client, host, failed):
        self.client = client
        self.host = host
        self.failed = failed
        self.errand = Errand.__new__(Errand)
        self.errand.guest = self
        self.unsent = self.rest = b""

    def learn(self, bytes before, bytes behind, lane):
        self.before, self.behind, self.lane = before, behind, lane
        self.lessons += 1

    def rest_in(self, bint on):
        self.client.taker = self if on and self.lane is not None else None

    cdef int take(self) except -1:
        cdef bytes data
        cdef bint taken = False
        if self.busy:  # what a client sends ahead waits until it has its answer
            return 0
        try:
            data = self.client.recv()
        except OSError:
            data = b""
        if data is None:
            return 0
        if data:
            try:
                taken = self.fits(data) and self.lane.begin(self, self.body)
            except BaseException as error:
                self.failed(error)
        else:
            self.client.readable = True
        if not taken and not self.busy:
            self.request = self.body = None
            self.client.taker = None
            self.client.hand_over(data if data else None)
        return 0

    cdef bint fits(self, bytes data) except -1:
        """Whether it is a whole request with the head that was learnt, and nothing else."""
        cdef const char *text = PyBytes_AS_STRING(data)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at = PyBytes_GET_SIZE(self.before), length = 0
        cdef Py_ssize_t behind = PyBytes_GET_SIZE(self.behind), first = at
        if size <= at + behind or memcmp(text, PyBytes_AS_STRING(self.before), at) != 0:
            return False
        while at < size and c"0" <= text[at] <= c"9" and at - first < DIGITS:
            length = length * 10 + text[at] - c"0"
            at += 1
        if at == first or text[first] == c"0" or size - at - behind != length:
            return False
        if memcmp(text + at, PyBytes_AS_STRING(self.behind), behind) != 0:
            return False
        self.request = data
        self.body = PyBytes_FromStringAndSize(text + at + behind, length)
        return True

    def go(self, Handle upstream, bytes head, bytes body):
        cdef Py_ssize_t sent
        self.busy = True
        self.taken += 1
        self.upstream = upstream
        try:
            sent = upstream.send_both(head, body)
        except OSError:  # who answers and closes before it has read all is heard out
            sent = PyBytes_GET_SIZE(head) + PyBytes_GET_SIZE(body)
        upstream.taker = self.errand
        if sent < PyBytes_GET_SIZE(head) + PyBytes_GET_SIZE(body):
            self.unsent = (head + body)[sent:]
            self.give_up()

    def give_up(self):
        """The exchange goes on in the client's task."""
        if self.busy and self.upstream is not None:
            self.detach()
            self.client.taker = None
            self.client.hand_over(self.request)

    cdef int detach(self) except -1:
        if self.upstream.taker is self.errand:
            self.upstream.taker = None
        self.upstream = None
        return 0

    def over(self):
        """Whoever took the exchange over has it now."""
        self.busy = False
        self.request = self.body = None
        self.ride = None
        self.unsent = b""

    cdef int heard(self) except -1:
        """Something has come from the upstream."""
        cdef bytes data
        cdef Handle upstream = self.upstream
        try:
            data = upstream.recv()
        except OSError:
            data = b""
        if data is None:
            return 0
        if data:
            try:
                if self.answered(data):
                    return 0
            except BaseException as error:
                self.failed(error)
            upstream.given = data  # for whoever reads on
        else:
            upstream.readable = True
        if self.busy:
            self.give_up()
        return 0

    cdef bint answered(self, bytes data) except -1:
        """Whether `data` is a whole answer of the usual kind, and has been passed on."""
        head = parse_response(data)
        if head is None or head.status != 200 or head.chunked or head.content_length is None:
            return False
        cdef Py_ssize_t size = head.size, length = head.content_length
        if size + length != PyBytes_GET_SIZE(data):
            return False
        return self.lane.end(self, PyBytes_FromStringAndSize(PyBytes_AS_STRING(data) + size, length), head.keep_alive)

    def answer(self, bytes head, bytes body):
        """Send the answer; whether all of it went out. The exchange is over."""
        cdef Py_ssize_t sent
        self.detach()
        self.busy = False
        self.request = self.body = self.ride = None
        try:
            sent = self.client.send_both(head, body)
        except OSError:
            sent = -1
        if sent == PyBytes_GET_SIZE(head) + PyBytes_GET_SIZE(body):
            if self.client.readable:
                self.client.later()
            return True
        self.rest = (head + body)[sent:] if sent >= 0 else None
        self.client.taker = None
        self.client.hand_over(b"")
        return False


cdef class Errand(Taker):
    """Listens to the upstream for a guest."""

    cdef Guest guest

    cdef int take(self) except -1:
        return self.guest.heard()
