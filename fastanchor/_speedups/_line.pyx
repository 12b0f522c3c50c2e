# cython: boundscheck=False, wraparound=False, cdivision=True
"""The compiled half of `line`: numbers and text straight into one buffer, and their CRC-32 eight bytes at a time."""

from libc.math cimport fabs, isfinite, rint
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, strlen

include "_strings.pxi"
include "_crc32.pxi"

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Realloc

__all__ = ["line"]

cdef extern from "Python.h":
    bint PyUnicode_CheckExact(object)
    bint PyLong_CheckExact(object)
    bint PyFloat_CheckExact(object)
    double PyFloat_AS_DOUBLE(object)
    bint PyTuple_CheckExact(object)
    bint PyList_CheckExact(object)
    bint PyUnicode_IS_COMPACT_ASCII(object)
    Py_ssize_t PyUnicode_GET_LENGTH(object)
    const unsigned char *PyUnicode_1BYTE_DATA(object)
    char *PyOS_double_to_string(double, char, int, int, int *) except NULL
    void PyMem_Free(void *)
    long long PyLong_AsLongLongAndOverflow(object, int *) except? -1

cdef enum:
    HEAD = 18  # the digits, and the spaces behind them
    DEEPEST = 8
    FIRST = 4096
    SHORT = 64  # for which there is always room: a number, a word, a bracket or two

cdef char *HEX = "0123456789abcdef"
cdef double MICRO = 1e6
cdef double EXACT = 9007199254740992.0

cdef unsigned char *buffer = NULL  # grows with the longest line
cdef Py_ssize_t room = 0
cdef Py_ssize_t at = 0


cdef inline int need(Py_ssize_t more) except -1:
    """Make room for so many bytes behind what is written."""
    return 0 if room - at >= more else grow(more)


cdef int grow(Py_ssize_t more) except -1:
    global buffer, room
    cdef Py_ssize_t wanted = room if room else FIRST
    cdef void *grown
    while wanted - at < more:
        wanted *= 2
    grown = PyMem_Realloc(buffer, wanted)
    if grown == NULL:
        raise MemoryError
    buffer, room = <unsigned char *>grown, wanted
    return 0


cdef inline int raw(const char *text, Py_ssize_t size) noexcept nogil:
    """Write where there is room."""
    global at
    memcpy(buffer + at, text, size)
    at += size
    return 0


cdef inline int digits(uint64_t value) noexcept nogil:
    global at
    cdef unsigned char turned[20]
    cdef int n = 0
    while True:
        turned[n] = <unsigned char>(48 + value % 10)
        value //= 10
        n += 1
        if value == 0:
            break
    while n:
        n -= 1
        buffer[at] = turned[n]
        at += 1
    return 0


cdef int integer(value) except -1:
    cdef int overflow = 0
    cdef long long small = PyLong_AsLongLongAndOverflow(value, &overflow)
    cdef bytes text
    if overflow:
        text = str(value).encode("ascii")
        need(PyBytes_GET_SIZE(text))
        return raw(PyBytes_AS_STRING(text), PyBytes_GET_SIZE(text))
    if small < 0:
        raw(b"-", 1)
        return digits(-<uint64_t>small)
    return digits(<uint64_t>small)


cdef int decimal(double value) except -1:
    """A float with at most six decimals."""
    cdef double scaled = value * MICRO
    cdef char *text
    if not isfinite(value):
        return raw(b"null", 4)
    if fabs(scaled) < EXACT:
        return fraction(<int64_t>rint(scaled))
    text = PyOS_double_to_string(value, c"r", 0, 2, NULL)  # 2: with ".0" where there is no fraction
    raw(text, strlen(text))  # 25 bytes at most
    PyMem_Free(text)
    return 0


cdef int fraction(int64_t micro) noexcept nogil:
    """So many millionths."""
    global at
    cdef uint64_t whole, part = <uint64_t>micro
    cdef int n
    if micro < 0:
        raw(b"-", 1)
        part = -part
    whole, part = part // 1000000, part % 1000000
    digits(whole)
    buffer[at] = c"."
    for n in range(6, 0, -1):
        buffer[at + n] = <unsigned char>(48 + part % 10)
        part //= 10
    n = 6
    while n > 1 and buffer[at + n] == c"0":
        n -= 1
    at += n + 1
    return 0


cdef int text(str value) except -1:
    cdef bytes encoded
    if PyUnicode_IS_COMPACT_ASCII(value):
        return quoted(PyUnicode_1BYTE_DATA(value), PyUnicode_GET_LENGTH(value))
    encoded = value.encode("utf-8", "replace")
    return quoted(<const unsigned char *>PyBytes_AS_STRING(encoded), PyBytes_GET_SIZE(encoded))


cdef int quoted(const unsigned char *text, Py_ssize_t size) except -1:
    global at
    cdef Py_ssize_t i = 0, stop
    cdef unsigned char byte
    need(6 * size + 2)  # an escape has six bytes at most
    buffer[at] = c'"'
    at += 1
    while i < size:
        stop = plain(text, i, size)
        memcpy(buffer + at, text + i, stop - i)
        at += stop - i
        if stop == size:
            break
        byte = text[stop]
        i = stop + 1
        if byte == c'"' or byte == c"\\":
            buffer[at] = c"\\"
            buffer[at + 1] = byte
            at += 2
        elif byte < 0x20:
            memcpy(buffer + at, b"\\u00", 4)
            buffer[at + 4] = HEX[byte >> 4]
            buffer[at + 5] = HEX[byte & 15]
            at += 6
        else:
            buffer[at] = byte
            at += 1
    buffer[at] = c'"'
    at += 1
    return 0


cdef int item(value, int depth) except -1:
    global at
    if PyUnicode_CheckExact(value):
        return text(<str>value)
    if value is None:
        return raw(b"null", 4)
    if value is True:
        return raw(b"true", 4)
    if value is False:
        return raw(b"false", 5)
    if PyLong_CheckExact(value):
        return integer(value)
    if PyFloat_CheckExact(value):
        return decimal(PyFloat_AS_DOUBLE(value))
    if not PyTuple_CheckExact(value) and not PyList_CheckExact(value):
        raise TypeError(f"a line has no place for {type(value).__name__}")
    if depth == DEEPEST:
        raise ValueError("arrays are too deep")
    return array(value, depth + 1)


cdef int array(values, int depth) except -1:
    global at
    need(SHORT)
    raw(b"[", 1)
    if PyTuple_CheckExact(values):
        for value in <tuple>values:
            item(value, depth)
            need(SHORT)
            raw(b",", 1)
    else:
        for value in <list>values:
            item(value, depth)
            need(SHORT)
            raw(b",", 1)
    if buffer[at - 1] == c",":
        at -= 1
    return raw(b"]", 1)


cdef void hexadecimal(unsigned char *place, uint32_t value) noexcept nogil:
    cdef int n
    for n in range(7, -1, -1):
        place[n] = HEX[value & 15]
        value >>= 4


def line(tuple values not None):
    """The values as a line. Raises TypeError for one that has no place in it, ValueError for arrays too deep."""
    global at
    at = 0
    need(HEAD)
    at = HEAD
    array(values, 0)
    hexadecimal(buffer, <uint32_t>(at - HEAD))
    buffer[8] = buffer[17] = c" "
    hexadecimal(buffer + 9, crc32(buffer + HEAD, at - HEAD))
    need(1)
    raw(b"\n", 1)
    return PyBytes_FromStringAndSize(<char *>buffer, at)
