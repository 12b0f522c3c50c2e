# cython: boundscheck=False, wraparound=False
"""The compiled half of `peek`: the same descent over bytes, strings eight bytes at a time."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_GET_SIZE

from fastanchor._speedups._peek_pure import MAX_DEPTH, Data, Field, Peek, splice

__all__ = ["Data", "Field", "Peek", "count_text", "peek", "splice"]

include "_strings.pxi"
include "_json.pxi"


def peek(body, tuple wanted, Py_ssize_t start=0, end=None, *, int depth=128):
    cdef bytes held = body if PyBytes_CheckExact(body) else memoryview(body).tobytes()
    cdef Text text = <Text>PyBytes_AS_STRING(held)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(held) if end is None else end
    if not 1 <= depth <= MAX_DEPTH:
        raise ValueError(f"depth must be in 1..{MAX_DEPTH}")
    if not 0 <= start <= size <= PyBytes_GET_SIZE(held):
        raise ValueError("start and end must be in order within the body")
    if None in wanted:
        raise TypeError("names must be bytes")
    return top(held, text, start, size, depth, wanted)


cdef object top(bytes body, Text text, Offset at, Py_ssize_t end, int depth, tuple wanted):
    """The whole answer: the loop of `members` that also takes note of the wanted ones."""
    cdef dict found = {}
    cdef Offset key, name_end, start
    cdef bytes name
    at = space(text, at, end)
    if at == end or text[at] != c"{":
        return None
    at = space(text, at + 1, end)
    cdef bint empty = at < end and text[at] == c"}"
    while not empty:
        key = at
        name_end = string(text, key, end)
        start = colon(text, name_end, end)
        at = value(text, start, end, depth - 1)
        if at == ODD or memchr(text + key, c"\\", name_end - key) != NULL:
            return None
        for name in wanted:
            if (PyBytes_GET_SIZE(name) == name_end - key - 2
                    and memcmp(text + key + 1, PyBytes_AS_STRING(name), name_end - key - 2) == 0):
                if name in found:
                    return None
                found[name] = (key, start, at)
                break
        at = space(text, at, end)
        if at < end and text[at] == c"}":
            break
        at = comma(text, at, end)
    if at == ODD or space(text, at + 1, end) != end:
        return None
    return Peek(body, found, at, empty)


def count_text(body, Py_ssize_t start=0, end=None):
    cdef Py_buffer view
    cdef Py_ssize_t size
    PyObject_GetBuffer(body, &view, PyBUF_SIMPLE)
    try:
        size = view.len if end is None else end
        if not 0 <= start <= size <= view.len:
            raise ValueError("start and end must be in order within the body")
        return text_of(<Text>view.buf, start, size)
    finally:
        PyBuffer_Release(&view)
