# cython: boundscheck=False, wraparound=False
"""See `pump`. A plain event costs a receive, a scan and a send; no task runs, and no Python."""

from cpython.bytes cimport PyBytes_GET_SIZE

from ._reactor cimport Handle, Taker

from ._http1_chunked import chunk as _chunk

__all__ = ["Flow"]

cdef object chunk = _chunk


cdef class Flow(Taker):
    """See `pump`."""

    cdef Handle source
    cdef Handle sink
    cdef object decoder
    cdef object decode
    cdef object through
    cdef object odd
    cdef object look
    cdef object now
    cdef list kept
    cdef bint chunked
    cdef bint strange  # `odd` has been called
    cdef object error
    cdef Py_ssize_t room
    cdef readonly Py_ssize_t size
    cdef readonly bytes rest
    cdef readonly double since

    def __init__(self, Handle source, decoder, Handle sink, bint chunked, look, now):
        self.source, self.sink, self.chunked = source, sink, chunked
        self.decoder, self.decode, self.look, self.now = decoder, decoder.feed, look, now
        self.rest = b""

    def open(self, tuple middle, list kept, Py_ssize_t room):
        self.through, self.odd = middle
        self.kept, self.room = kept, room
        self.size = 0
        self.rest = b""
        self.error = None
        self.since = self.now()
        self.source.taker = self

    def close(self):
        if self.source.taker is self:
            self.source.taker = None
        self.through = self.odd = self.kept = None
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def __call__(self, first, second):
        """What `through` calls for all that is not plain."""
        self.strange = True
        return self.odd(first, second)

    cdef int take(self) except -1:
        cdef bint on = False
        if self.source.reader is None:  # somebody else has woken him: what comes now is his
            return 0
        try:
            on = self.carry()
        except BaseException as error:
            self.error = error
        if not on:
            self.source.taker = None
            self.source.wake()
        return 0

    cdef bint carry(self) except -1:
        """Take what one receive brings; whether the flow goes on."""
        cdef bytes data
        cdef bint on
        try:
            data = self.source.recv()
        except OSError:
            data = b""
        if data is None:
            return True
        if not data:  # the end, or an error: whoever reads next meets it again
            self.source.readable = True
            return False
        self.since = self.moment()
        data = self.decode(data)
        on = not self.decoder.done
        if data and not self.forward(data):
            on = False
        if on and self.source.readable:
            self.source.later()
        return on

    cdef bint forward(self, bytes data) except -1:
        """Send what goes out for these bytes of the body; whether the flow goes on."""
        cdef bytes out
        cdef bint on = True
        self.strange = False
        out = self.through(data, self)
        if self.strange:
            middle = self.look()
            if middle is None:
                on = False
            else:
                self.through, self.odd = middle
        if out:
            self.size += PyBytes_GET_SIZE(out)
            if self.kept is not None:
                self.kept.append(out)
            if not self.send(out) or self.size > self.room:
                on = False
        return on

    cdef bint send(self, bytes data) except -1:
        """Whether all of it went out; `rest` is what did not."""
        cdef Py_ssize_t sent
        if self.chunked:
            data = chunk(data)
        try:
            sent = self.sink.send(data)
        except OSError:  # who sends the rest meets it again
            sent = 0
        if sent == PyBytes_GET_SIZE(data):
            return True
        self.rest = data[sent:]
        return False

    cdef double moment(self) except? -1.0:
        """What time it is, asked once for all that happens together."""
        if self.source.reactor.moment < 0:
            self.source.reactor.moment = self.now()
        return self.source.reactor.moment
