# Bytes that grow, and JSON strings written into them. Included by what builds output, after `_strings.pxi`.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.mem cimport PyMem_Realloc
from libc.string cimport memchr, memcpy


cdef struct Buffer:
    unsigned char *bytes
    Py_ssize_t size
    Py_ssize_t room


cdef int reserve(Buffer *buffer, Py_ssize_t more) except -1:
    cdef Py_ssize_t room
    cdef void *grown
    if buffer.size + more > buffer.room:
        room = max(buffer.size + more, 2 * buffer.room, 256)
        grown = PyMem_Realloc(buffer.bytes, room)
        if grown == NULL:
            raise MemoryError
        buffer.bytes, buffer.room = <unsigned char *>grown, room
    return 0


cdef inline int put(Buffer *buffer, const void *data, Py_ssize_t size) except -1:
    reserve(buffer, size)
    memcpy(buffer.bytes + buffer.size, data, size)
    buffer.size += size
    return 0


cdef inline int put_bytes(Buffer *buffer, bytes data) except -1:
    return put(buffer, PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data))


cdef inline bytes cut(Buffer *buffer):
    return PyBytes_FromStringAndSize(<const char *>buffer.bytes, buffer.size)


cdef int spell(Buffer *buffer, Text text, Offset at, Offset end) except -1:
    """Write the inside of a valid JSON string as orjson would have written it. It never gets longer."""
    cdef Offset run
    cdef const void *found
    cdef int unit
    cdef unsigned char *to
    reserve(buffer, end - at)
    while at < end:
        found = memchr(text + at, c"\\", end - at)
        run = <Text>found - text if found != NULL else end
        put(buffer, text + at, run - at)
        if run == end:
            break
        at = run + 2
        to = buffer.bytes + buffer.size
        if text[run + 1] == c"u":
            unit = hex4(text, run, end)
            at = run + 6
            if 0xD800 <= unit <= 0xDBFF:
                unit = 0x10000 + ((unit - 0xD800) << 10) + hex4(text, at, end) - 0xDC00
                at += 6
            buffer.size += character(to, unit)
        elif text[run + 1] == c"/":
            to[0] = c"/"
            buffer.size += 1
        else:
            to[0], to[1] = c"\\", text[run + 1]
            buffer.size += 2
    return 0


cdef const char *SHORT = b"btn\0fr"  # the names of the control characters 8 to 13
cdef const char *HEX = b"0123456789abcdef"


cdef int character(unsigned char *to, int unit) noexcept nogil:
    """Write one character inside a JSON string; how many bytes it took."""
    if unit < 0x20:
        to[0] = c"\\"
        if 8 <= unit <= 13 and unit != 11:
            to[1] = SHORT[unit - 8]
            return 2
        memcpy(to + 1, b"u00", 3)
        to[4], to[5] = HEX[unit >> 4], HEX[unit & 15]
        return 6
    if unit == c'"' or unit == c"\\":
        to[0], to[1] = c"\\", unit
        return 2
    if unit < 0x80:
        to[0] = unit
        return 1
    if unit < 0x800:
        to[0], to[1] = 0xC0 | unit >> 6, 0x80 | unit & 63
        return 2
    if unit < 0x10000:
        to[0], to[1], to[2] = 0xE0 | unit >> 12, 0x80 | unit >> 6 & 63, 0x80 | unit & 63
        return 3
    to[0], to[1], to[2], to[3] = 0xF0 | unit >> 18, 0x80 | unit >> 12 & 63, 0x80 | unit >> 6 & 63, 0x80 | unit & 63
    return 4
