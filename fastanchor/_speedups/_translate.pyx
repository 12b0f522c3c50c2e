# cython: boundscheck=False, wraparound=False
"""The compiled half of `translate`."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Free
from libc.stdio cimport snprintf
from libc.string cimport memchr, memcmp

import re

from fastanchor._speedups._translate_pure import Data, General

__all__ = ["Data", "General", "Lane"]

include "_strings.pxi"
include "_buffer.pxi"

cdef enum:
    LF = 10
    CR = 13
    LONGEST = 65536      # bytes of an event that the lane takes
    KEPT = 4096          # bytes of text that are kept until they are taken
    PARTS = 32           # of an event
    DIGITS = 15          # of a number in `counts`: it fits any integer
    PATIENCE = 64        # events that go the general way before the lane steps aside
    MOST_PATIENCE = 512  # what events that the lane took can add up to


cdef inline bint is_blank(unsigned char byte) noexcept nogil:
    return byte == c" " or byte == c"\t"


cdef inline Offset blanks(Text text, Offset at, Offset end) noexcept nogil:
    while at < end and is_blank(text[at]):
        at += 1
    return at


cdef inline Offset count(Text text, Offset at, Offset end) noexcept nogil:
    """A positive whole number of at most DIGITS digits."""
    cdef Offset start = at
    if at == end or not c"1" <= text[at] <= c"9":
        return ODD
    while at < end and c"0" <= text[at] <= c"9":
        at += 1
    return at if at - start <= DIGITS else ODD


cdef inline Offset repeated(Text text, Offset at, Offset end, Offset start, Offset stop) noexcept nogil:
    cdef Py_ssize_t size = stop - start
    return at + size if end - at >= size and memcmp(text + at, text + start, size) == 0 else ODD


cdef enum Kind:
    LITERAL  # the bytes of tokens that stay the same
    SAID     # the text
    AGAIN    # the text once more, byte for byte
    IDLE     # a string that means nothing
    COUNT    # a number in `counts`


cdef struct Part:
    Kind kind
    Text exact  # of a literal: as it was learned
    Py_ssize_t size
    Text bare  # the same without white space between its tokens
    Py_ssize_t bare_size
    const unsigned char *gaps  # for each byte of `bare`: whether white space may stand before it


cdef inline Offset literal(Part *part, Text text, Offset at, Offset end) noexcept nogil:
    cdef Py_ssize_t i = 0
    if end - at >= part.size and memcmp(text + at, part.exact, part.size) == 0:
        return at + part.size
    while i < part.bare_size:
        if at == end:
            return ODD
        if text[at] == part.bare[i]:
            i += 1
        elif not (part.gaps[i] and is_blank(text[at])):
            return ODD
        at += 1
    return at


cdef object HEAD = re.compile(rb"(?:event:[^\r\n{]*\r?\n)?data: ?")


cdef class Shape:
    """One learned event: what it looks like, and what it becomes."""

    cdef bytes raw
    cdef Buffer bare
    cdef Buffer gaps
    cdef Part parts[PARTS]
    cdef int size
    cdef bint counted
    cdef bint confirmed
    cdef bytes text  # of the event that was learned
    cdef bytes head
    cdef bytes middle  # between the number and the text; None when events have no number
    cdef bytes tail

    def __dealloc__(self):
        PyMem_Free(self.bare.bytes)
        PyMem_Free(self.gaps.bytes)

    cdef Offset match(self, Text text, Offset at, Offset end, Offset *start, Offset *stop) noexcept nogil:
        """Where an event of this shape ends that starts at `at`, or ODD. Its text, with quotes, is text[start:stop]."""
        cdef int i
        cdef Part *part
        for i in range(self.size):
            part = &self.parts[i]
            if part.kind == LITERAL:
                at = literal(part, text, at, end)
            else:
                at = blanks(text, at, end)
                if part.kind == SAID:
                    start[0] = at
                    at = string(text, at, end)
                    stop[0] = at
                    if at - start[0] == 2:
                        return ODD
                elif part.kind == AGAIN:
                    at = repeated(text, at, end, start[0], stop[0])
                else:
                    at = count(text, at, end) if part.kind == COUNT else string(text, at, end)
            if at == ODD:
                return ODD
        return at

    cdef int write(self, Buffer *out, long long number, const void *text, Py_ssize_t size) except -1:
        """What an event with this text becomes; `text` is the inside of its string."""
        cdef char digits[24]
        put_bytes(out, self.head)
        if self.middle is not None:
            put(out, digits, snprintf(digits, sizeof(digits), "%lld", number))
            put_bytes(out, self.middle)
        put(out, b'"', 1)
        put(out, text, size)
        put(out, b'"', 1)
        put_bytes(out, self.tail)
        return 0

    cdef bint foretells(self, long long number, bytes text, bytes out) except -1:
        cdef Buffer foretold
        foretold.bytes, foretold.size, foretold.room = NULL, 0, 0
        try:
            self.write(&foretold, number, PyBytes_AS_STRING(text) + 1, PyBytes_GET_SIZE(text) - 2)
            return cut(&foretold) == out
        finally:
            PyMem_Free(foretold.bytes)

    cdef bint learn_out(self, bytes out, bytes text, bytes counter, long long number) except -1:
        """Find text and number in what the event became. Each must be there once."""
        cdef bytes told = counter + b"%d," % number
        if text == b'""' or out.count(text) != 1:
            return False
        self.text = text
        self.head, _, self.tail = out.partition(text)
        if counter:
            if self.head.count(told) != 1:
                return False
            self.head, _, self.middle = self.head.partition(told)
            self.head, self.middle = self.head + counter, b"," + self.middle
        return True

    cdef bint learn_in(self, bytes raw, bytes text, tuple idle, bytes counts) except -1:
        """Take the event apart: `text` (a JSON string as orjson writes it) must be a value in it."""
        cdef Text base = <Text>PyBytes_AS_STRING(raw)
        cdef Offset end = PyBytes_GET_SIZE(raw), at = raw.find(b"{"), stop, after
        cdef int depth = 0
        cdef bytes name = b""  # of the top-level member that is being read
        cdef bint found = False
        if at < 0 or HEAD.fullmatch(raw, 0, at) is None:
            return False
        self.raw = raw
        reserve(&self.bare, end)
        reserve(&self.gaps, end)
        self.open(base)
        self.token(base, at, False)
        while True:
            at = blanks(base, at, end)
            if at == end:
                return False
            stop = at + 1
            if base[at] == c'"':
                stop = string(base, at, end)
                if stop == ODD:
                    return False
                after = blanks(base, stop, end)
                if after < end and base[after] == c":":
                    name = raw[at + 1:stop - 1] if depth == 1 else name
                elif self.same(base, at, stop, text):
                    if not self.slot(AGAIN if found else SAID, base, at, stop):
                        return False
                    found, at = True, stop
                    continue
                elif depth == 1 and name in idle:
                    if not self.slot(IDLE, base, at, stop):
                        return False
                    at = stop
                    continue
            elif base[at] == c"{" or base[at] == c"[":
                depth += 1
            elif base[at] == c"}" or base[at] == c"]":
                depth -= 1
                if depth == 0:
                    break
            elif base[at] != c"," and base[at] != c":":
                stop = scalar(base, at, end)
                if stop == at:
                    return False  # a line end
                if depth > 1 and counts and name == counts and count(base, at, end) == stop:
                    if not self.slot(COUNT, base, at, stop):
                        return False
                    self.counted, at = True, stop
                    continue
            self.token(base + at, stop - at, True)
            at = stop
        self.token(base + at, 1, True)
        at = blanks(base, stop, end)
        if raw[at:] != b"\n\n" and raw[at:] != b"\r\n\r\n":
            return False
        self.token(base + at, end - at, True)
        self.close(base + end)
        return found

    cdef bint same(self, Text base, Offset at, Offset stop, bytes text) except -1:
        """Whether a string is the text, however it is spelled."""
        cdef Buffer spelled
        if memchr(base + at, c"\\", stop - at) == NULL:
            return stop - at == PyBytes_GET_SIZE(text) and memcmp(base + at, PyBytes_AS_STRING(text), stop - at) == 0
        spelled.bytes, spelled.size, spelled.room = NULL, 0, 0
        try:
            spell(&spelled, base, at, stop)
            return cut(&spelled) == text
        finally:
            PyMem_Free(spelled.bytes)

    # A literal is open from `open` to `close`; slots stand between two.

    cdef void open(self, Text start) noexcept:
        cdef Part *part = &self.parts[self.size]
        part.kind, part.exact = LITERAL, start
        part.bare, part.gaps = self.bare.bytes + self.bare.size, self.gaps.bytes + self.gaps.size

    cdef int token(self, Text start, Py_ssize_t size, bint gap) except -1:
        cdef Py_ssize_t i
        put(&self.bare, start, size)
        for i in range(size):
            self.gaps.bytes[self.gaps.size + i] = gap and i == 0
        self.gaps.size += size
        return 0

    cdef void close(self, Text end) noexcept:
        cdef Part *part = &self.parts[self.size]
        part.size = end - part.exact
        part.bare_size = self.bare.bytes + self.bare.size - part.bare
        self.size += 1

    cdef bint slot(self, Kind kind, Text base, Offset at, Offset stop) noexcept:
        """Close the literal before a slot and open the one after it; whether there is room."""
        if self.size + 3 > PARTS:
            return False
        self.close(base + at)
        self.parts[self.size].kind = kind
        self.size += 1
        self.open(base + stop)
        return True


cdef inline Offset scalar(Text text, Offset at, Offset end) noexcept nogil:
    """The end of a number, or of a word."""
    while at < end and text[at] > c" " and memchr(b',:{}[]"', text[at], 7) == NULL:
        at += 1
    return at


cdef enum Place:
    BETWEEN  # no event has begun
    LINE     # at the start of a line
    RETURN   # at the start of a line, behind a CR
    WITHIN   # a line


cdef bint has_lone_cr(Text text, Offset at, Offset end) noexcept nogil:
    cdef const void *found
    while True:
        found = memchr(text + at, CR, end - at)
        if found == NULL:
            return False
        at = <Text>found - text + 1
        if at == end or text[at] != LF:
            return True


cdef Buffer OUT  # what one call writes, before it becomes bytes


cdef class Lane:
    """See `translate`."""

    cdef public long long number
    cdef readonly long long carried
    cdef tuple idle
    cdef bytes counts
    cdef bytes counter
    cdef Shape shape
    cdef Buffer texts
    cdef bytes last  # event that the lane took, if it has counts
    cdef Place place
    cdef int patience

    def __init__(self, *, tuple idle=(), bytes counts=b"", bytes counter=b""):
        self.idle, self.counts, self.counter = idle, counts, counter
        self.last = b""
        self.patience = PATIENCE

    def __dealloc__(self):
        PyMem_Free(self.texts.bytes)

    def feed(self, data, general):
        cdef bytes held = data if PyBytes_CheckExact(data) else bytes(data)
        cdef Text text = <Text>PyBytes_AS_STRING(held)
        cdef Offset size = PyBytes_GET_SIZE(held), at = 0, start
        cdef list out = None
        cdef bytes piece
        cdef bint whole
        if self.patience <= 0:
            return general(held, False)
        while at < size:
            start = at
            if self.place == BETWEEN and self.shape is not None and self.shape.confirmed:
                at = self.carry(text, at, size)
            if at > start:
                piece = cut(&OUT)
            else:
                whole = self.place == BETWEEN
                at = self.event_end(text, at, size)
                whole = whole and self.place == BETWEEN and not has_lone_cr(text, start, at)
                self.patience -= 1
                piece = general(held if at - start == size else held[start:at], whole)
            if at - start == size:
                return piece
            if out is None:
                out = []
            out.append(piece)
        return b"".join(out) if out is not None else b""

    def learn(self, bytes raw, bytes text, bytes out):
        cdef Offset start, stop
        cdef Offset size = PyBytes_GET_SIZE(raw)
        cdef Shape shape = self.shape
        if shape is not None and shape.match(<Text>PyBytes_AS_STRING(raw), 0, size, &start, &stop) == size:
            if shape.foretells(self.number, text, out):
                shape.confirmed = shape.confirmed or text != shape.text
                return
        self.shape = None
        if self.patience <= 0:
            return
        shape = Shape.__new__(Shape)
        if shape.learn_out(out, text, self.counter, self.number) and shape.learn_in(raw, text, self.idle, self.counts):
            self.shape = shape

    def forget(self):
        self.shape = None

    def take(self):
        if self.texts.size == 0:
            return b"", b""
        text, last = b'"' + cut(&self.texts) + b'"', self.last
        self.texts.size, self.last = 0, b""
        return text, last

    cdef Offset carry(self, Text text, Offset at, Offset end) except -1:
        """Translate events of the learned shape into OUT; where the first starts that is not of it."""
        cdef Shape shape = self.shape
        cdef Offset start, stop, next, last = at
        cdef Py_ssize_t before
        OUT.size = 0
        while at < end and self.texts.size < KEPT:
            next = shape.match(text, at, end, &start, &stop)
            if next == ODD or next - at > LONGEST:
                break
            before = self.texts.size
            spell(&self.texts, text, start + 1, stop - 1)
            shape.write(&OUT, self.number, self.texts.bytes + before, self.texts.size - before)
            self.number += 1
            self.carried += 1
            last, at = at, next
            self.patience = min(self.patience + 1, MOST_PATIENCE)
        if shape.counted and at > last:
            self.last = PyBytes_FromStringAndSize(<const char *>text + last, at - last)
        return at

    cdef Offset event_end(self, Text text, Offset at, Offset end) noexcept:
        """Where the event ends that `at` is in or before: behind its blank line, or `end`. A lone CR is no line end
        here, so what a stream with such lines calls events is never whole."""
        cdef const void *found
        while at < end:
            if text[at] == LF and self.place != WITHIN:
                self.place = BETWEEN
                return at + 1
            if text[at] == CR and (self.place == LINE or self.place == BETWEEN):
                self.place = RETURN
                at += 1
                continue
            found = memchr(text + at, LF, end - at)
            if found == NULL:
                self.place = WITHIN
                return end
            at = <Text>found - text + 1
            self.place = LINE
        return end
