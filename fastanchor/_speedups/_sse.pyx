# cython: boundscheck=False, wraparound=False
"""The compiled half of `sse`: line ends by memchr, needles by memmem, no Python object for an event without a mark."""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.string cimport memchr, memcmp, memcpy, memmove

from fastanchor._speedups._sse_pure import MAX_EVENT, Data, Event, EventTooLarge, Marks, check_needles, measured_keys
from fastanchor._speedups._sse_pure import UNCLOSED as _UNCLOSED

__all__ = ["Data", "Decoder", "Event", "EventTooLarge", "Marks", "Scanner", "data_of", "parse"]

cdef extern from "<string.h>" nogil:
    void *memmem(const void *haystack, size_t length, const void *needle, size_t size)

cdef enum:
    LF = 10
    CR = 13
    KEEP = 16384  # an empty buffer of more than this is given back, so that one long event does not stay in memory


cdef struct Lines:
    # Finds line ends in `text[:size]`. The last LF and CR seen are remembered, so that each byte is searched once for
    # each of them, also in a stream that uses only one of the two.
    const char *text
    Py_ssize_t size
    Py_ssize_t lf
    Py_ssize_t cr


cdef struct Span:
    Py_ssize_t start
    Py_ssize_t end


cdef Py_ssize_t find(const char *text, Py_ssize_t start, Py_ssize_t end, int byte) noexcept nogil:
    """The offset of `byte` in text[start:end], or `end`."""
    cdef const void *found = memchr(text + start, byte, end - start)
    return <const char *>found - text if found != NULL else end


cdef Lines lines_of(const char *text, Py_ssize_t size) noexcept nogil:
    cdef Lines lines
    lines.text, lines.size, lines.lf, lines.cr = text, size, -1, -1
    return lines


cdef inline Py_ssize_t line_end(Lines *lines, Py_ssize_t start) noexcept nogil:
    """The offset of the first CR or LF from `start` on, or the size."""
    if lines.lf < start:
        lines.lf = find(lines.text, start, lines.size, LF)
    if lines.cr < start:
        lines.cr = find(lines.text, start, lines.size, CR)
    return min(lines.lf, lines.cr)


cdef inline Py_ssize_t next_line(Lines *lines, Py_ssize_t end) noexcept nogil:
    """The offset behind the line end at `end`."""
    if end + 1 < lines.size and lines.text[end] == CR and lines.text[end + 1] == LF:
        return end + 2
    return min(end + 1, lines.size)


cdef inline bint is_field(const char *line, Py_ssize_t size, const char *name, Py_ssize_t length) noexcept nogil:
    return size >= length and memcmp(line, name, length) == 0 and (size == length or line[length] == c":")


cdef inline Span value_of(const char *text, Py_ssize_t start, Py_ssize_t end) noexcept nogil:
    """The span of a field's value: behind its colon and one optional space. `start` is where its name ends."""
    cdef Span value
    if start < end:
        start += 1  # the colon
    if start < end and text[start] == c" ":
        start += 1
    value.start, value.end = start, end
    return value


cdef unsigned long long UNCLOSED = _UNCLOSED
cdef object new_tuple = tuple.__new__


cdef inline object event_of(bytes name, bytes data):
    return new_tuple(Event, (name, data))  # what the constructor of a named tuple does, without a Python frame


cdef inline bytes cut(const char *text, Span span):
    return PyBytes_FromStringAndSize(text + span.start, span.end - span.start)


cdef class Framer:
    """Cuts a stream into raw events, hands each to `found`, and holds back the one that is not complete."""

    cdef Py_ssize_t max_event
    cdef char *held
    cdef Py_ssize_t size  # how much is held
    cdef Py_ssize_t room  # how much fits without growing
    cdef Py_ssize_t line  # where the current line starts in what is held; all of it has been searched
    cdef bint after_cr    # the last byte seen was a CR: an LF now only completes that line end
    cdef bint opening     # a byte order mark may still come
    cdef bint has_data    # the current event has a data line

    def __dealloc__(self):
        PyMem_Free(self.held)

    cdef int start(self, Py_ssize_t max_event) except -1:
        if max_event < 1:
            raise ValueError("max_event must be at least 1")
        self.max_event = max_event
        self.opening = True
        return 0

    cdef int found(self, const char *base, Py_ssize_t start, Py_ssize_t end) except -1:
        """One raw event is base[start:end]; `has_data` says whether it has a data line."""
        return 0

    cdef bytes push(self, object data, bint wanted):
        """Take in one read; the bytes up to the last blank line, if they are wanted."""
        cdef Py_buffer view
        if PyBytes_CheckExact(data):
            return self.push_bytes(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), data, wanted)
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            return self.push_bytes(<const char *>view.buf, view.len, None, wanted)
        finally:
            PyBuffer_Release(&view)

    cdef bytes push_bytes(self, const char *data, Py_ssize_t length, bytes origin, bint wanted):
        cdef Py_ssize_t done
        cdef bytes whole = b""
        if length == 0:
            return whole
        if self.size:
            self.hold(data, length)
            done = self.search(self.held, self.size, self.size - length)
            if done and wanted:
                whole = PyBytes_FromStringAndSize(self.held, done)
            self.release(done)
            return whole
        done = self.search(data, length, 0)
        if done and wanted:
            whole = origin if done == length and origin is not None else PyBytes_FromStringAndSize(data, done)
        if done < length:
            self.hold(data + done, length - done)
        return whole

    cdef Py_ssize_t search(self, const char *base, Py_ssize_t size, Py_ssize_t searched) except -1:
        """Find the events in base[:size]; how many bytes of it are done with."""
        cdef Lines lines = lines_of(base, size)
        cdef Py_ssize_t line = self.line, done = 0, end
        if self.after_cr and base[searched] == LF:
            if searched == 0:
                done = 1
            searched += 1
            line = searched
        if self.opening:
            if size < 3 and memcmp(base, b"\xef\xbb\xbf", size) == 0:
                return 0
            self.opening = False
            done = 3 if size >= 3 and memcmp(base, b"\xef\xbb\xbf", 3) == 0 else 0
            line = searched = done
        while True:
            end = line_end(&lines, searched)
            if end == size:
                break
            searched = next_line(&lines, end)
            if end == line:
                self.check(searched - done)
                self.found(base, done, searched)
                self.has_data = False
                done = searched
            elif is_field(base + line, end - line, b"data", 4):
                self.has_data = True
            line = searched
        self.check(size - done)
        self.after_cr = base[size - 1] == CR
        self.line = line - done
        return done

    cdef int check(self, Py_ssize_t size) except -1:
        if size > self.max_event:
            raise EventTooLarge(f"an event is longer than {self.max_event} bytes")
        return 0

    cdef int hold(self, const char *data, Py_ssize_t length) except -1:
        cdef Py_ssize_t room
        cdef void *grown
        if self.size + length > self.room:
            room = max(self.size + length, 2 * self.room, 512)
            grown = PyMem_Realloc(self.held, room)
            if grown == NULL:
                raise MemoryError
            self.held, self.room = <char *>grown, room
        memcpy(self.held + self.size, data, length)
        self.size += length
        return 0

    cdef void release(self, Py_ssize_t done) noexcept:
        self.size -= done
        if done and self.size:
            memmove(self.held, self.held + done, self.size)
        elif self.size == 0 and self.room > KEEP:
            PyMem_Free(self.held)
            self.held, self.room = NULL, 0

    cdef bytes rest(self):
        return PyBytes_FromStringAndSize(self.held, self.size) if self.size else b""


cdef class Scanner(Framer):
    """See `_sse_pure.Scanner`."""

    cdef tuple needles
    cdef tuple keys
    cdef bint unclosed
    cdef list marks
    cdef readonly Py_ssize_t events
    cdef readonly Py_ssize_t measured
    cdef readonly Py_ssize_t plain
    cdef readonly Py_ssize_t plain_bytes

    def __init__(self, tuple needles=(), *, measure=(), bint unclosed=False, Py_ssize_t max_event=MAX_EVENT):
        self.start(max_event)
        self.needles = check_needles(needles)
        self.unclosed = unclosed
        self.keys = measured_keys(measure)

    def feed(self, data):
        self.marks = []
        whole = self.push(data, True)
        return whole, self.marks

    def through(self, data, odd):
        self.marks = []
        try:
            whole = self.push(data, True)
        except EventTooLarge:
            return odd(b"", None)
        return odd(whole, self.marks) if self.marks else whole

    def tail(self):
        return self.rest()

    cdef int found(self, const char *base, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef unsigned long long mask = 0
        cdef Py_ssize_t i
        cdef bytes text
        self.events += self.has_data
        for i in range(len(self.needles)):
            text = <bytes>self.needles[i]
            if memmem(base + start, end - start, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text)) != NULL:
                mask |= 1ULL << i
        if self.unclosed and self.has_data and not closed(base + start, end - start):
            mask |= UNCLOSED
        if mask:
            self.marks.append((start, end, mask))
        else:
            self.plain += self.has_data
            self.plain_bytes += end - start
        for text in self.keys:
            self.measured += measure(base + start, end - start, PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
        return 0


cdef inline bint closed(const char *text, Py_ssize_t size) noexcept nogil:
    """Whether one raw event ends with a closing brace, but for line ends and blanks."""
    while size and (text[size - 1] == LF or text[size - 1] == CR or text[size - 1] == c" " or text[size - 1] == c"\t"):
        size -= 1
    return size > 0 and text[size - 1] == c"}"


cdef Py_ssize_t measure(const char *text, Py_ssize_t size, const char *key, Py_ssize_t length) noexcept nogil:
    """The summed lengths of the string values of `key` in one raw event."""
    cdef Py_ssize_t total = 0, at = 0, start
    cdef const void *hit
    while True:
        hit = memmem(text + at, size - at, key, length)
        if hit == NULL:
            return total
        at = <const char *>hit - text
        start = skip_blanks(text, at + length, size)
        if start == size or text[start] != c":":
            at += 1
            continue
        start = skip_blanks(text, start + 1, size)
        if start == size or text[start] != c'"':
            at += 1
            continue
        start += 1
        at = string_end(text, start, size)
        total += at - start


cdef inline Py_ssize_t skip_blanks(const char *text, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    while at < size and (text[at] == c" " or text[at] == c"\t"):
        at += 1
    return at


cdef inline Py_ssize_t string_end(const char *text, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Where a JSON string ends that is open at `at`: at its quote, or before a line end, which no string contains."""
    while at < size and text[at] != c'"' and text[at] != LF and text[at] != CR:
        if text[at] == c"\\":
            if at + 1 == size or text[at + 1] == LF or text[at + 1] == CR:
                break
            at += 1
        at += 1
    return at


cdef class Decoder(Framer):
    """See `_sse_pure.Decoder`."""

    cdef list out

    def __init__(self, *, Py_ssize_t max_event=MAX_EVENT):
        self.start(max_event)

    def feed(self, data):
        self.out = []
        self.push(data, False)
        return self.out

    def end(self):
        self.out = []
        self.found(self.held, 0, self.size)
        return self.out[len(self.out) - 1] if self.out else None

    cdef int found(self, const char *base, Py_ssize_t start, Py_ssize_t end) except -1:
        cdef Reading reading = Reading()
        reading.read(base + start, end - start)
        if reading.data:
            self.out.append(event_of(reading.event, reading.data))
        if reading.block:
            self.out.append(event_of(b"", reading.block))
        return 0


@cython.final
@cython.freelist(4)
cdef class Reading:
    """What one raw event says: its name, its data, and a bare JSON block."""

    cdef bytes event
    cdef bytes data
    cdef bytes block

    cdef int read(self, const char *text, Py_ssize_t size) except -1:
        cdef Lines lines = lines_of(text, size)
        cdef Py_ssize_t at = 0, end, first
        cdef Span line
        cdef list data = None, block = None
        self.event, self.data, self.block = b"", None, None
        while at < size:
            end = line_end(&lines, at)
            line.start, line.end = at, end
            at = next_line(&lines, end)
            if line.start == end or text[line.start] == c":":
                continue
            if is_field(text + line.start, end - line.start, b"data", 4):
                if self.data is None:
                    self.data = cut(text, value_of(text, line.start + 4, end))
                else:
                    data = [self.data] if data is None else data
                    data.append(cut(text, value_of(text, line.start + 4, end)))
            elif is_field(text + line.start, end - line.start, b"event", 5):
                self.event = cut(text, value_of(text, line.start + 5, end))
            elif (is_field(text + line.start, end - line.start, b"id", 2)
                  or is_field(text + line.start, end - line.start, b"retry", 5)):
                continue
            elif block is not None:
                block.append(cut(text, line))
            else:
                first = skip_blanks(text, line.start, end)
                if first < end and (text[first] == c"{" or text[first] == c"["):
                    block = [cut(text, line)]
        if data is not None:
            self.data = b"\n".join(data)
        if block is not None:
            self.block = b"\n".join(block)
        return 0


cdef Reading reading_of(object raw):
    cdef Reading reading = Reading()
    cdef Py_buffer view
    PyObject_GetBuffer(raw, &view, PyBUF_SIMPLE)
    try:
        reading.read(<const char *>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)
    return reading


def data_of(raw):
    return reading_of(raw).data or b""


def parse(raw):
    cdef Reading reading = reading_of(raw)
    return event_of(reading.event, reading.data or b"")
