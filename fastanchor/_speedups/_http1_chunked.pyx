# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled half of the chunked coding (its twin is `_http1_chunked_pure`).

The decoder is a state machine over bytes; extensions and trailers, which are rare, it leaves to the module that it
shares with its twin. Sizes are unsigned 64-bit with explicit caps; nothing is read past the length of its object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memcpy

from ._http1_chunked_pure import UNBOUNDED
from ._http1_trailers import MAX_EXTENSIONS as _MAX_EXTENSIONS
from ._http1_trailers import MAX_SIZE_LINE as _MAX_SIZE_LINE
from ._http1_trailers import Trailers, check_extension
from ._http1_types import REQUEST_LIMITS, BadMessage

cdef Py_ssize_t MAX_EXTENSIONS = _MAX_EXTENSIONS
cdef Py_ssize_t MAX_SIZE_LINE = _MAX_SIZE_LINE
cdef bytes NOTHING = b""


cdef int _hex(unsigned char c) noexcept:
    """The value of a hexadecimal digit, -1 for anything else."""
    if 48 <= c <= 57:
        return c - 48
    c |= 32
    return c - 87 if 97 <= c <= 102 else -1


cdef enum:
    SIZE
    EXTENSION
    SIZE_LF
    DATA
    DATA_CR
    DATA_LF
    TRAILERS
    BEYOND


cdef class ChunkDecoder:
    """See `_http1_chunked_pure.ChunkDecoder`."""

    cdef readonly bint done
    cdef readonly bytes rest
    cdef int _phase
    cdef int _digits
    cdef Py_ssize_t _line  # bytes of the size line so far
    cdef unsigned long long _left
    cdef unsigned long long _room
    cdef Py_ssize_t _extensions
    cdef bytearray _extension
    cdef object _limits
    cdef object _trailers

    def __init__(self, max_body=UNBOUNDED, limits=REQUEST_LIMITS):
        self.done = False
        self.rest = NOTHING
        self._phase = SIZE
        self._digits = 0
        self._line = 0
        self._left = 0
        self._room = max_body
        self._extensions = 0
        self._extension = None
        self._limits = limits
        self._trailers = None

    def feed(self, data):
        """The next decoded bytes of the body."""
        cdef bytes text = data if type(data) is bytes else bytes(data)
        cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(text)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        cdef Py_ssize_t pos = 0, take
        cdef bytes only = NOTHING
        cdef list pieces = None
        while pos < size:
            if self._phase == DATA:
                take = size - pos
                if <unsigned long long>take > self._left:
                    take = <Py_ssize_t>self._left
                piece = text if take == size else PyBytes_FromStringAndSize(<const char*>p + pos, take)
                if pieces is not None:
                    pieces.append(piece)
                elif only is NOTHING:
                    only = piece
                else:
                    pieces = [only, piece]
                pos += take
                self._left -= <unsigned long long>take
                if self._left == 0:
                    self._phase = DATA_CR
            elif self._phase < DATA:
                self._size_byte(p[pos])
                pos += 1
            elif self._phase == DATA_CR or self._phase == DATA_LF:
                if p[pos] != (13 if self._phase == DATA_CR else 10):
                    raise BadMessage(400, "chunk data longer than its size")
                self._phase = DATA_LF if self._phase == DATA_CR else SIZE
                pos += 1
            elif self._phase == TRAILERS:
                self._end(text, pos)
                break
            else:
                self.rest += text
                break
        return only if pieces is None else b"".join(pieces)

    cdef int _size_byte(self, unsigned char c) except -1:
        """One byte of a chunk-size line."""
        self._line += 1
        if c == 10:
            if self._phase != SIZE_LF:
                raise BadMessage(400, "invalid chunk size")
            return self._size_known()
        if self._line >= MAX_SIZE_LINE or self._phase == SIZE_LF:
            raise BadMessage(400, "invalid chunk size")
        if self._phase == SIZE:
            if _hex(c) >= 0 and self._digits < 16:
                self._digits += 1
                self._left = (self._left << 4) | <unsigned long long>_hex(c)
                return 0
            if c == 59 and self._digits:
                self._phase = EXTENSION
                self._extension = bytearray(b";")
                return 0
        elif c == 9 or 32 <= c <= 126 or c >= 128:
            self._extension.append(c)
            return 0
        if c != 13 or not self._digits:
            raise BadMessage(400, "invalid chunk size")
        self._phase = SIZE_LF
        return 0

    cdef int _size_known(self) except -1:
        """The size line has ended."""
        if self._extension is not None:
            check_extension(bytes(self._extension))
            self._extensions += len(self._extension)
            self._extension = None
            if self._extensions > MAX_EXTENSIONS:
                raise BadMessage(400, "too many chunk extensions")
        if self._left > self._room:
            raise BadMessage(413, "body too large")
        self._room -= self._left
        self._phase = DATA if self._left else TRAILERS
        self._digits = 0
        self._line = 0
        return 0

    cdef int _end(self, bytes text, Py_ssize_t pos) except -1:
        """Behind the last chunk: mostly the blank line at once."""
        cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
        cdef const char* p = PyBytes_AS_STRING(text)
        if self._trailers is None and size - pos >= 2 and p[pos] == 13 and p[pos + 1] == 10:
            rest = PyBytes_FromStringAndSize(p + pos + 2, size - pos - 2)
        else:
            if self._trailers is None:
                self._trailers = Trailers(self._limits)
            rest = self._trailers.feed(PyBytes_FromStringAndSize(p + pos, size - pos))
            if rest is None:
                return 0
        self.rest = rest
        self.done = True
        self._phase = BEYOND
        return 0


def chunk(data):
    """See `_http1_chunked_pure.chunk`."""
    cdef bytes text = data if type(data) is bytes else bytes(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(text)
    cdef Py_ssize_t left = size
    cdef char digits[16]
    cdef int count = 0
    cdef bytes whole
    cdef char* out
    if size == 0:
        return NOTHING
    while left:
        count += 1
        digits[16 - count] = b"0123456789abcdef"[left & 15]
        left >>= 4
    whole = PyBytes_FromStringAndSize(NULL, size + count + 4)
    out = PyBytes_AS_STRING(whole)
    memcpy(out, &digits[16 - count], count)
    out += count
    out[0] = 13
    out[1] = 10
    memcpy(out + 2, PyBytes_AS_STRING(text), size)
    out += size + 2
    out[0] = 13
    out[1] = 10
    return whole
