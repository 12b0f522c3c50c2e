# JSON strings (RFC 8259) in C: where one ends, and whether it is valid through and through. Included by what reads JSON.
#
# Each step takes the offset where its part starts and gives the one behind it, or ODD.

from libc.stdint cimport uint64_t
from libc.string cimport memchr, memcpy

ctypedef const unsigned char *Text
ctypedef Py_ssize_t Offset  # of the byte behind a part, or ODD

cdef enum:
    ODD = -1

cdef extern from *:
    """
    #define ONES 0x0101010101010101ULL
    #define HIGH 0x8080808080808080ULL
    """
    uint64_t ONES
    uint64_t HIGH
    int __builtin_ctzll(uint64_t word) nogil

cdef extern from "<endian.h>" nogil:
    uint64_t le64toh(uint64_t word)

cdef unsigned char PLAIN[256]  # bytes that stand for themselves in a string: ASCII but controls, quote, backslash

cdef int byte
for byte in range(256):
    PLAIN[byte] = 0x20 <= byte < 0x80 and byte != 0x22 and byte != 0x5C


cdef Offset string(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    if at == ODD or at == end or text[at] != c'"':
        return ODD
    at += 1
    while True:
        at = plain(text, at, end)
        if at == end:
            return ODD
        if text[at] == c'"':
            return at + 1
        if text[at] == c"\\":
            at = escape(text, at, end)
        else:
            at = beyond_ascii(text, at, end)
        if at == ODD:
            return ODD


cdef inline Offset plain(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    """Skip the bytes that stand for themselves."""
    cdef uint64_t word, quote, backslash, marks
    while end - at >= 8:
        memcpy(&word, text + at, 8)
        word = le64toh(word)
        quote = word ^ (ONES * 0x22)
        backslash = word ^ (ONES * 0x5C)
        # Per byte, the high bit of (b - n) & ~b is set where b < n. A borrow sets it only above one that is right.
        marks = ((word - ONES * 0x20) & ~word) | ((quote - ONES) & ~quote) | ((backslash - ONES) & ~backslash) | word
        marks &= HIGH
        if marks:
            return at + (__builtin_ctzll(marks) >> 3)
        at += 8
    while at < end and PLAIN[text[at]]:
        at += 1
    return at


cdef inline int hex4(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    """The code unit of `\\uXXXX` at `at`, or ODD."""
    cdef int unit = 0, i
    cdef unsigned char c
    if end - at < 6 or text[at] != c"\\" or text[at + 1] != c"u":
        return ODD
    for i in range(2, 6):
        c = text[at + i]
        if c"0" <= c <= c"9":
            unit = unit * 16 + c - c"0"
        elif c"a" <= (c | 0x20) <= c"f":
            unit = unit * 16 + (c | 0x20) - c"a" + 10
        else:
            return ODD
    return unit


cdef Offset escape(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    cdef int unit, low
    if at + 1 == end:
        return ODD
    if text[at + 1] != c"u":
        return at + 2 if memchr(b'"\\/bfnrt', text[at + 1], 8) != NULL else ODD
    unit = hex4(text, at, end)
    if unit == ODD or 0xDC00 <= unit <= 0xDFFF:
        return ODD
    if unit < 0xD800 or unit > 0xDFFF:
        return at + 6
    low = hex4(text, at + 6, end)
    return at + 12 if 0xDC00 <= low <= 0xDFFF else ODD


cdef Offset beyond_ascii(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    """Skip characters of two to four bytes (RFC 3629: shortest form, no surrogates, none above U+10FFFF)."""
    cdef unsigned char first
    cdef unsigned char least, most
    cdef int size, i
    if text[at] < 0x80:
        return ODD  # a control character
    while at < end and text[at] >= 0x80:
        first, least, most = text[at], 0x80, 0xBF
        if 0xC2 <= first <= 0xDF:
            size = 2
        elif 0xE0 <= first <= 0xEF:
            size = 3
            if first == 0xE0:
                least = 0xA0
            elif first == 0xED:
                most = 0x9F
        elif 0xF0 <= first <= 0xF4:
            size = 4
            if first == 0xF0:
                least = 0x90
            elif first == 0xF4:
                most = 0x8F
        else:
            return ODD
        if end - at < size or not least <= text[at + 1] <= most:
            return ODD
        for i in range(2, size):
            if text[at + i] & 0xC0 != 0x80:
                return ODD
        at += size
    return at
