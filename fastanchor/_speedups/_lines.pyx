# cython: boundscheck=False, wraparound=False, cdivision=True
"""The compiled half of `lines`: each line is checked and taken apart in place, in one pass."""

from libc.stdint cimport int64_t, uint64_t

include "_strings.pxi"
include "_crc32.pxi"

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE

from fastanchor._speedups._lines_pure import Found

__all__ = ["lines"]

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.ref cimport Py_INCREF

cdef extern from "Python.h":
    object PyUnicode_DecodeASCII(const char *text, Py_ssize_t size, const char *errors)
    tuple PyTuple_New(Py_ssize_t size)
    void PyTuple_SET_ITEM(tuple, Py_ssize_t at, object)
    void PyObject_GC_UnTrack(object)

cdef enum:
    HEAD = 18  # the digits of length and check, and the spaces behind them
    DIGITS = 15  # of a count
    DEEPEST = 32
    WRONG = -2  # a shape that says nothing

cdef int64_t EXACT = 1 << 53  # up to here each integer is a float
cdef double TENS[16]
cdef int power
TENS[0] = 1.0
for power in range(1, 16):
    TENS[power] = TENS[power - 1] * 10.0


cdef struct Form:  # a shape
    const char *tag
    Py_ssize_t named  # bytes of the tag
    Text letters
    Py_ssize_t size
    Py_ssize_t kept  # how many values
    bint whole  # the last of them is the line's JSON


cdef struct Number:
    bint negative
    int whole  # digits
    int decimals
    bint plain  # without an exponent
    int64_t digits  # all of them, if there are few enough


cdef int64_t hexadecimal(Text text) noexcept nogil:
    """Eight digits, or -1."""
    cdef int64_t value = 0
    cdef unsigned char c
    cdef int i
    for i in range(8):
        c = text[i]
        if c"0" <= c <= c"9":
            value = value << 4 | (c - c"0")
        elif c"a" <= c <= c"f":
            value = value << 4 | (c - c"a" + 10)
        else:
            return -1
    return value


cdef bint sound(Text line, Py_ssize_t size) noexcept nogil:
    """Whether a line (without its end) is what it says of itself."""
    if size < HEAD or line[8] != c" " or line[17] != c" " or hexadecimal(line) != size - HEAD:
        return False
    return hexadecimal(line + 9) == <int64_t>crc32(line + HEAD, size - HEAD)


cdef Offset number(Text text, Offset at, Py_ssize_t end, Number *found) noexcept nogil:
    cdef Offset start
    found.digits = 0
    found.decimals = 0
    found.plain = True
    found.negative = at < end and text[at] == c"-"
    at += found.negative
    start = at
    while at < end and c"0" <= text[at] <= c"9":
        found.digits = found.digits * 10 + (text[at] - c"0") if at - start < 18 else found.digits
        at += 1
    found.whole = <int>min(at - start, 99)
    if at == start or (text[start] == c"0" and at - start > 1):
        return ODD
    if at < end and text[at] == c".":
        at += 1
        start = at
        while at < end and c"0" <= text[at] <= c"9":
            found.digits = found.digits * 10 + (text[at] - c"0") if found.whole + at - start < 18 else found.digits
            at += 1
        if at == start:
            return ODD
        found.decimals = <int>min(at - start, 99)
    if at < end and text[at] | 0x20 == c"e":
        found.plain = False
        at += 1
        at += at < end and (text[at] == c"+" or text[at] == c"-")
        start = at
        while at < end and c"0" <= text[at] <= c"9":
            at += 1
        if at == start:
            return ODD
    return at


cdef inline Offset word(Text text, Offset at, Py_ssize_t end, const char *wanted, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    if end - at < size:
        return ODD
    for i in range(size):
        if text[at + i] != <unsigned char>wanted[i]:
            return ODD
    return at + size


cdef Offset scalar(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    """Skip a value that is no array and no object."""
    cdef Number found
    if at >= end:
        return ODD
    if text[at] == c'"':
        return string(text, at, end)
    if text[at] == c"t":
        return word(text, at, end, b"true", 4)
    if text[at] == c"f":
        return word(text, at, end, b"false", 5)
    if text[at] == c"n":
        return word(text, at, end, b"null", 4)
    return number(text, at, end, &found)


cdef Offset value(Text text, Offset at, Py_ssize_t end, int depth) noexcept nogil:
    """Skip a value that holds no object."""
    if at >= end or text[at] != c"[":
        return scalar(text, at, end)
    if depth == DEEPEST:
        return ODD
    at += 1
    if at < end and text[at] == c"]":
        return at + 1
    while True:
        at = value(text, at, end, depth + 1)
        if at == ODD or at >= end:
            return ODD
        if text[at] == c"]":
            return at + 1
        if text[at] != c",":
            return ODD
        at += 1


cdef inline int put(tuple values, Py_ssize_t place, value) except -1:
    Py_INCREF(value)
    PyTuple_SET_ITEM(values, place, value)
    return 0


cdef Offset keep(Text text, Offset at, Py_ssize_t end, unsigned char kind, tuple values, Py_ssize_t place) except WRONG:
    """Keep a value of one kind; ODD where it is none, or not ordinary."""
    cdef Offset stop
    cdef Number found
    cdef double real
    if at >= end:
        return ODD
    if kind == c"s":
        if text[at] != c'"':
            return ODD
        stop = plain(text, at + 1, end)
        if stop >= end or text[stop] != c'"':
            return ODD
        put(values, place, PyUnicode_DecodeASCII(<const char *>text + at + 1, stop - at - 1, NULL))
        return stop + 1
    if kind == c"b":
        put(values, place, text[at] == c"t")
        return word(text, at, end, b"true", 4) if text[at] == c"t" else word(text, at, end, b"false", 5)
    if kind == c"n" and text[at] == c"n":
        put(values, place, 0)
        return word(text, at, end, b"null", 4)
    stop = number(text, at, end, &found)
    if stop == ODD or not found.plain or found.whole + found.decimals > DIGITS + 1:
        return ODD
    if kind == c"n":
        if found.negative or found.decimals or found.whole > DIGITS:
            return ODD
        put(values, place, found.digits)
        return stop
    if found.digits > EXACT:
        return ODD
    real = <double>found.digits / TENS[found.decimals]  # both exact, so the quotient is the nearest there is
    put(values, place, -real if found.negative else real)
    return stop


cdef Offset apart(Text text, Offset at, Py_ssize_t end, Form *form, tuple values) except WRONG:
    """Take apart what stands behind the first value of an array. Gives where the array ends, or ODD."""
    cdef Py_ssize_t i, place = 0
    cdef unsigned char kind
    cdef bint first = False  # of its array
    for i in range(form.size):
        kind = form.letters[i]
        if kind == c"*":
            return others(text, at, end)
        if kind == c"]" or not first:
            if at >= end or text[at] != (c"]" if kind == c"]" else c","):
                return ODD
            at += 1
        first = kind == c"["
        if first:
            if at >= end or text[at] != c"[":
                return ODD
            at += 1
        elif kind == c"x":
            at = scalar(text, at, end)
        elif kind != c"]":
            at = keep(text, at, end, kind, values, place)
            place += 1
        if at == ODD:
            return ODD
    return at


cdef Offset others(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    """Skip what is left of an array, up to its end."""
    while at < end and text[at] == c",":
        at = value(text, at + 1, end, 0)
        if at == ODD:
            return ODD
    return at


cdef tuple match(Text text, Py_ssize_t size, Form *form):
    """What a line's JSON holds, or None when it does not have the form."""
    cdef Offset at
    cdef tuple values
    if size < form.named + 4 or text[0] != c"[" or text[1] != c'"' or text[2 + form.named] != c'"':
        return None
    if word(text, 2, size, form.tag, form.named) == ODD:
        return None
    values = PyTuple_New(form.kept)
    at = apart(text, 3 + form.named, size, form, values)
    if at != size - 1 or text[at] != c"]":
        return None
    if form.whole:
        put(values, form.kept - 1, PyBytes_FromStringAndSize(<const char *>text, size))
    PyObject_GC_UnTrack(values)  # it holds no containers: what the collector itself would find out later
    return values


cdef int fill(Form *form, bytes tag, bytes letters) except -1:
    cdef Py_ssize_t i
    form.tag, form.named = PyBytes_AS_STRING(tag), PyBytes_GET_SIZE(tag)
    form.letters, form.size = <Text>PyBytes_AS_STRING(letters), PyBytes_GET_SIZE(letters)
    form.whole = letters.endswith(b"=")
    form.size -= form.whole
    form.kept = form.whole
    for i in range(form.size):
        if form.letters[i] in b"sfnb":
            form.kept += 1
    return 0


def lines(bytes data not None, *shapes):
    """What all whole lines of `data` hold, which starts at the start of a line."""
    cdef list named = [(tag, letters.encode("ascii")) for tag, letters in shapes]  # kept, for the forms point into them
    cdef tuple found = tuple([[] for _ in shapes])
    cdef list rest = []
    cdef int count = <int>len(named), n
    cdef Form *forms = <Form *>PyMem_Malloc(max(count, 1) * sizeof(Form))
    if forms == NULL:
        raise MemoryError
    try:
        for n in range(count):
            fill(&forms[n], named[n][0], named[n][1])
        return read(data, forms, count, found, rest)
    finally:
        PyMem_Free(forms)


cdef object read(bytes data, Form *forms, int count, tuple found, list rest):
    cdef Text text = <Text>PyBytes_AS_STRING(data)
    cdef Text line
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), start = 0, length, damaged = 0
    cdef const void *end
    cdef tuple values
    cdef int n
    while True:
        line = text + start
        end = memchr(line, c"\n", size - start)
        if end == NULL:
            return Found(found, rest, start, damaged)
        length = <Text>end - line
        start += length + 1
        if not sound(line, length):
            damaged += 1
            continue
        values = None
        for n in range(count):
            values = match(line + HEAD, length - HEAD, &forms[n])
            if values is not None:
                (<list>found[n]).append(values)
                break
        if values is None:
            rest.append(PyBytes_FromStringAndSize(<const char *>line + HEAD, length - HEAD))
