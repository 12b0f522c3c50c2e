# The descent over JSON (RFC 8259) in C, and the text in it. Included by what reads whole bodies, behind `_strings.pxi`.

from libc.math cimport isinf
from libc.string cimport memchr, memcmp, memcpy

from fastanchor._speedups._peek_pure import BLOB

cdef enum:
    LONGEST_NUMBER = 1024
    SAFE_NUMBER = 64  # bytes; with at most two digits of exponent, no double overflows

cdef extern from "Python.h":
    double PyOS_string_to_double(const char *text, char **end, void *overflow) except? -1

cdef Py_ssize_t BLOB_SIZE = BLOB
cdef unsigned char BASE64[256]  # the bytes of both base64 alphabets

for byte in range(256):
    BASE64[byte] = byte in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"


# Each step takes the offset where its part starts, or ODD, and gives the one behind it, or ODD.

cdef inline Offset space(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    if at == ODD:
        return ODD
    while at < end and (text[at] == c" " or text[at] == c"\n" or text[at] == c"\r" or text[at] == c"\t"):
        at += 1
    return at


cdef inline Offset punctuation(Text text, Offset at, Py_ssize_t end, unsigned char mark) noexcept nogil:
    """`mark` and the white space around it."""
    at = space(text, at, end)
    if at == ODD or at == end or text[at] != mark:
        return ODD
    return space(text, at + 1, end)


cdef inline Offset colon(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    return punctuation(text, at, end, c":")


cdef inline Offset comma(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    return punctuation(text, at, end, c",")


cdef Offset value(Text text, Offset at, Py_ssize_t end, int depth) noexcept nogil:
    """`depth` is how many more containers may open."""
    if at == ODD or at == end:
        return ODD
    cdef unsigned char first = text[at]
    if first == c'"':
        return string(text, at, end)
    if first == c"{":
        return members(text, at, end, depth)
    if first == c"[":
        return elements(text, at, end, depth)
    if first == c"t":
        return literal(text, at, end, b"true", 4)
    if first == c"f":
        return literal(text, at, end, b"false", 5)
    if first == c"n":
        return literal(text, at, end, b"null", 4)
    return number(text, at, end)


cdef Offset members(Text text, Offset at, Py_ssize_t end, int depth) noexcept nogil:
    if depth == 0:
        return ODD
    at = space(text, at + 1, end)
    if at < end and text[at] == c"}":
        return at + 1
    while at != ODD:
        at = colon(text, string(text, at, end), end)
        at = space(text, value(text, at, end, depth - 1), end)
        if at != ODD and at < end and text[at] == c"}":
            return at + 1
        at = comma(text, at, end)
    return ODD


cdef Offset elements(Text text, Offset at, Py_ssize_t end, int depth) noexcept nogil:
    if depth == 0:
        return ODD
    at = space(text, at + 1, end)
    if at < end and text[at] == c"]":
        return at + 1
    while at != ODD:
        at = space(text, value(text, at, end, depth - 1), end)
        if at != ODD and at < end and text[at] == c"]":
            return at + 1
        at = comma(text, at, end)
    return ODD


cdef inline Offset literal(Text text, Offset at, Py_ssize_t end, const char *word, Py_ssize_t size) noexcept nogil:
    return at + size if end - at >= size and memcmp(text + at, word, size) == 0 else ODD


cdef inline bint is_digit(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    return at < end and c"0" <= text[at] <= c"9"


cdef inline Offset digits(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    """One digit or more."""
    if at == ODD or not is_digit(text, at, end):
        return ODD
    while is_digit(text, at, end):
        at += 1
    return at


cdef Offset number(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    cdef Offset start = at, exponent
    cdef bint risky = False
    if text[at] == c"-":
        at += 1
    at = at + 1 if at < end and text[at] == c"0" else digits(text, at, end)
    if at != ODD and at < end and text[at] == c".":
        at = digits(text, at + 1, end)
    if at != ODD and at < end and (text[at] == c"e" or text[at] == c"E"):
        exponent = at + 1
        if exponent < end and (text[exponent] == c"+" or text[exponent] == c"-"):
            exponent += 1
        at = digits(text, exponent, end)
        risky = at - exponent > 2
    if at == ODD or not (risky or at - start > SAFE_NUMBER):
        return at
    return ODD if overflows(text + start, at - start) else at


cdef bint overflows(Text text, Py_ssize_t size) noexcept with gil:
    cdef char digits[LONGEST_NUMBER + 1]
    if size > LONGEST_NUMBER:
        return True
    memcpy(digits, text, size)
    digits[size] = 0
    return isinf(PyOS_string_to_double(digits, NULL, NULL))


cdef Py_ssize_t text_of(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    cdef Py_ssize_t total = 0, start
    cdef const void *quote
    while True:
        quote = memchr(text + at, c'"', end - at)
        if quote == NULL:
            return total
        start = <Text>quote - text + 1
        at = string_end(text, start, end)
        if not is_blob(text, start, at) and not is_key(text, at, end):
            total += at - start
        at = min(at + 1, end)


cdef inline Offset string_end(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    """Where a string ends that is open at `at`; whatever is in it but an escape is skipped."""
    while True:
        at = plain(text, at, end)
        if at == end or text[at] == c'"':
            return at
        if text[at] != c"\\":
            while at < end and (text[at] >= 0x80 or text[at] < 0x20):
                at += 1
        elif at + 1 < end:
            at += 2
        else:
            return at


cdef inline bint is_key(Text text, Offset at, Py_ssize_t end) noexcept nogil:
    if at < end:
        at = space(text, at + 1, end)
    return at < end and text[at] == c":"


cdef inline bint is_blob(Text text, Offset start, Offset end) noexcept nogil:
    cdef Offset at
    if end - start >= 5 and memcmp(text + start, b"data:", 5) == 0:
        return True
    if end - start < BLOB_SIZE:
        return False
    for at in range(start, start + BLOB_SIZE):
        if not BASE64[text[at]]:
            return False
    return True
