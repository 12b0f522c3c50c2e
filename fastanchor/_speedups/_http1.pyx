# cython: boundscheck=False, wraparound=False, initializedcheck=False, cdivision=True
"""The compiled half of `http1` (its twin is `_http1_pure`).

The parsers read a strict subset of the grammar in one pass: origin-form, HTTP/1.1, fields whose meaning is plain. They
never refuse anything: whatever is not in the subset, incomplete heads included, goes to the twin, which decides.
Sizes are Py_ssize_t with explicit caps; nothing is read past the length of its object.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.string cimport memchr, memcmp, memcpy

from . import _http1_pure as pure
from ._http1_chunked import ChunkDecoder, chunk
from ._http1_types import REQUEST_LIMITS, RESPONSE_LIMITS, RequestHead, ResponseHead, UnsafeHeader

cdef dict REASONS = pure.REASONS
cdef bytes V11 = b"1.1"
cdef bytes NOTHING = b""
cdef frozenset NOBODY = frozenset()

# -- tables -----------------------------------------------------------------------------------------------------------

cdef unsigned char LOWER[256]  # a token character in lower case; 0 for anything else
cdef unsigned char IS_VALUE[256]  # HTAB, SP, VCHAR, obs-text
cdef unsigned char IS_TARGET[256]  # VCHAR but "#"
cdef unsigned char IS_HOST[256]  # letters, digits, "-", "."


cdef int _fill_tables() except -1:
    cdef int c
    cdef bytes token = b"!#$%&'*+-.^_`|~"
    for c in range(256):
        LOWER[c] = 0
        IS_VALUE[c] = c == 9 or 0x20 <= c <= 0x7E or c >= 0x80
        IS_TARGET[c] = 0x21 <= c <= 0x7E and c != 35
        IS_HOST[c] = 0
    for c in token:
        LOWER[c] = c
    for c in range(48, 58):
        LOWER[c] = c
        IS_HOST[c] = 1
    for c in range(97, 123):
        LOWER[c] = LOWER[c - 32] = c
        IS_HOST[c] = IS_HOST[c - 32] = 1
    IS_HOST[45] = IS_HOST[46] = 1
    return 0


_fill_tables()


# -- limits -----------------------------------------------------------------------------------------------------------

cdef struct Limits:
    Py_ssize_t line
    Py_ssize_t field
    Py_ssize_t head
    Py_ssize_t fields


cdef Limits _limits
cdef object _limits_of = None  # limits seldom change: their numbers are kept


cdef int _use(object limits) except -1:
    global _limits_of
    if limits is not _limits_of:
        _limits.line = limits.line
        _limits.field = limits.field
        _limits.head = limits.head
        _limits.fields = limits.fields
        _limits_of = limits
    return 0


# -- heads ------------------------------------------------------------------------------------------------------------

cdef enum:
    HOST = 1
    LENGTH = 2
    CODING = 4
    CONNECTION = 8
    AUTHORIZATION = 16
    API_KEY = 32
    CONTENT_TYPE = 64

cdef struct Framing:
    int seen  # which of the fields above have come
    long long length  # -1: none
    bint keep_alive


cdef bint _is(const unsigned char* text, Py_ssize_t size, const char* word, Py_ssize_t word_size) noexcept:
    """Whether `text` is `word` (lower case) but for the case of its letters."""
    cdef Py_ssize_t i
    if size != word_size:
        return False
    for i in range(size):
        if LOWER[text[i]] != <unsigned char>word[i]:
            return False
    return True


cdef bint _plain_host(const unsigned char* text, Py_ssize_t size) noexcept:
    """A name or an IPv4 address with an optional port; anything else is the gate's to judge."""
    cdef Py_ssize_t i = 0
    cdef long port = 0
    while i < size and IS_HOST[text[i]]:
        i += 1
    if i == 0:
        return False
    if i == size:
        return True
    if text[i] != 58 or size - i > 6 or size - i < 2:
        return False
    for i in range(i + 1, size):
        if not 48 <= text[i] <= 57:
            return False
        port = port * 10 + (text[i] - 48)
    return port <= 65535


cdef long long _plain_length(const unsigned char* text, Py_ssize_t size) noexcept:
    """The value of 1*18DIGIT, -1 for anything else."""
    cdef long long value = 0
    cdef Py_ssize_t i
    if size == 0 or size > 18:
        return -1
    for i in range(size):
        if not 48 <= text[i] <= 57:
            return -1
        value = value * 10 + (text[i] - 48)
    return value


cdef bint _note(
    const char* name, Py_ssize_t name_size, const unsigned char* value, Py_ssize_t size, Framing* framing
) noexcept:
    """Take note of a field that frames the message or may come once only; False sends the head to the gate."""
    cdef int which = 0
    if name_size == 4 and memcmp(name, b"host", 4) == 0:
        which = HOST
        if not _plain_host(value, size):
            return False
    elif name_size == 6 and memcmp(name, b"expect", 6) == 0:
        return False
    elif name_size == 9 and memcmp(name, b"x-api-key", 9) == 0:
        which = API_KEY
    elif name_size == 10 and memcmp(name, b"connection", 10) == 0:
        which = CONNECTION
        if _is(value, size, b"close", 5):
            framing.keep_alive = False
        elif not _is(value, size, b"keep-alive", 10):
            return False
    elif name_size == 12 and memcmp(name, b"content-type", 12) == 0:
        which = CONTENT_TYPE
    elif name_size == 13 and memcmp(name, b"authorization", 13) == 0:
        which = AUTHORIZATION
    elif name_size == 14 and memcmp(name, b"content-length", 14) == 0:
        which = LENGTH
        framing.length = _plain_length(value, size)
        if framing.length < 0:
            return False
    elif name_size == 17 and memcmp(name, b"transfer-encoding", 17) == 0:
        which = CODING
        if not _is(value, size, b"chunked", 7):
            return False
    if framing.seen & which:
        return False
    framing.seen |= which
    return not (framing.seen & LENGTH and framing.seen & CODING)


cdef Py_ssize_t _fields(
    const unsigned char* text, Py_ssize_t pos, Py_ssize_t end, list headers, Framing* framing
) except -2:
    """Read fields up to the blank line; the offset behind it, or -1 when the gate has to look."""
    cdef Py_ssize_t start, name_end, value_start, value_end, i
    cdef Py_ssize_t count = 0
    cdef bytes name
    cdef char* out
    cdef unsigned char low
    while pos + 1 < end:
        if text[pos] == 13:
            return pos + 2 if text[pos + 1] == 10 else -1
        count += 1
        start = pos
        while pos < end and LOWER[text[pos]]:
            pos += 1
        if pos == end or text[pos] != 58 or pos == start or count > _limits.fields:
            return -1
        name_end = pos
        pos += 1
        while pos < end and (text[pos] == 32 or text[pos] == 9):
            pos += 1
        value_start = pos
        while pos < end and IS_VALUE[text[pos]]:
            pos += 1
        if pos + 1 >= end or text[pos] != 13 or text[pos + 1] != 10 or pos - start > _limits.field:
            return -1
        value_end = pos
        while value_end > value_start and (text[value_end - 1] == 32 or text[value_end - 1] == 9):
            value_end -= 1
        pos += 2
        name = PyBytes_FromStringAndSize(NULL, name_end - start)
        out = PyBytes_AS_STRING(name)
        for i in range(name_end - start):
            out[i] = <char>LOWER[text[start + i]]
        if not _note(out, name_end - start, text + value_start, value_end - value_start, framing):
            return -1
        if name_end - start == 17 and memchr(text + name_end, 9, pos - name_end) != NULL:
            return -1  # a tab beside a transfer coding is the gate's to judge
        headers.append(
            (name, PyBytes_FromStringAndSize(<const char*>text + value_start, value_end - value_start))
        )
    return -1


cdef bint _may_be_whole(const unsigned char* text, Py_ssize_t size, Py_ssize_t scanned) noexcept:
    """Whether bytes behind `scanned` can have ended the head: keeps a trickled head in linear time."""
    cdef Py_ssize_t pos = scanned - 3 if scanned > 3 else 0
    cdef const unsigned char* found
    if scanned <= 0:
        return True
    while pos + 4 <= size:
        found = <const unsigned char*>memchr(text + pos, 13, size - pos - 3)
        if found == NULL:
            return False
        if found[1] == 10 and found[2] == 13 and found[3] == 10:
            return True
        pos = found - text + 1
    return False


cdef object _fast_request(bytes data):
    cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t pos = 0, target_start, target_end, query_at = -1
    cdef Framing framing
    cdef list headers
    cdef object head
    while pos < size and LOWER[text[pos]]:
        pos += 1
    if pos == 0 or pos + 2 >= size or text[pos] != 32 or text[pos + 1] != 47:
        return None
    if pos == 7 and memcmp(text, b"CONNECT", 7) == 0:
        return None
    target_start = pos + 1
    pos = target_start
    while pos < size and IS_TARGET[text[pos]]:
        if text[pos] == 63 and query_at < 0:
            query_at = pos
        pos += 1
    target_end = pos
    if pos + 11 > size or memcmp(text + pos, b" HTTP/1.1\r\n", 11) != 0 or pos + 9 > _limits.line:
        return None
    framing.seen = 0
    framing.length = -1
    framing.keep_alive = True
    headers = []
    pos = _fields(text, pos + 11, size, headers, &framing)
    if pos < 0 or pos > _limits.head or not framing.seen & HOST:
        return None
    head = RequestHead.__new__(RequestHead)
    head.method = PyBytes_FromStringAndSize(<const char*>text, target_start - 1)
    head.target = PyBytes_FromStringAndSize(<const char*>text + target_start, target_end - target_start)
    if query_at < 0:
        head.path = head.target
        head.query = NOTHING
    else:
        head.path = PyBytes_FromStringAndSize(<const char*>text + target_start, query_at - target_start)
        head.query = PyBytes_FromStringAndSize(<const char*>text + query_at + 1, target_end - query_at - 1)
    head.version = V11
    head.headers = headers
    head.content_length = framing.length if framing.seen & LENGTH else None
    head.chunked = bool(framing.seen & CODING)
    head.keep_alive = bool(framing.keep_alive)
    head.expect_continue = False
    head.size = pos
    return head


cdef object _fast_response(bytes data):
    cdef const unsigned char* text = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data)
    cdef Py_ssize_t pos = 13, i
    cdef int status = 0
    cdef Framing framing
    cdef list headers
    cdef object head
    if size < 17 or memcmp(text, b"HTTP/1.1 ", 9) != 0 or text[12] != 32:
        return None
    for i in range(9, 12):
        if not 48 <= text[i] <= 57:
            return None
        status = status * 10 + (text[i] - 48)
    if status < 200 or status > 599:  # interim responses have rules of their own
        return None
    while pos < size and IS_VALUE[text[pos]]:
        pos += 1
    if pos + 1 >= size or text[pos] != 13 or text[pos + 1] != 10 or pos > _limits.line:
        return None
    framing.seen = 0
    framing.length = -1
    framing.keep_alive = True
    headers = []
    i = _fields(text, pos + 2, size, headers, &framing)
    if i < 0 or i > _limits.head:
        return None
    head = ResponseHead.__new__(ResponseHead)
    head.status = status
    head.reason = PyBytes_FromStringAndSize(<const char*>text + 13, pos - 13)
    head.version = V11
    head.headers = headers
    head.content_length = framing.length if framing.seen & LENGTH else None
    head.chunked = bool(framing.seen & CODING)
    head.keep_alive = bool(framing.keep_alive)
    head.size = i
    return head


def parse_request(buf, limits=REQUEST_LIMITS, Py_ssize_t scanned=0):
    """See `_http1_pure.parse_request`."""
    cdef bytes data = buf if type(buf) is bytes else bytes(buf)
    _use(limits)
    if _may_be_whole(<const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), scanned):
        head = _fast_request(data)
        if head is not None:
            return head
    return pure.parse_request(data, limits, scanned)


def parse_response(buf, limits=RESPONSE_LIMITS, Py_ssize_t scanned=0):
    """See `_http1_pure.parse_response`."""
    cdef bytes data = buf if type(buf) is bytes else bytes(buf)
    _use(limits)
    if _may_be_whole(<const unsigned char*>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), scanned):
        head = _fast_response(data)
        if head is not None:
            return head
    return pure.parse_response(data, limits, scanned)


# -- writers ----------------------------------------------------------------------------------------------------------


cdef bint _is_token(bytes word) noexcept:
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(word)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(word)):
        if not LOWER[p[i]]:
            return False
    return PyBytes_GET_SIZE(word) > 0


cdef bint _is_value(bytes word) noexcept:
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(word)
    cdef Py_ssize_t i
    for i in range(PyBytes_GET_SIZE(word)):
        if not IS_VALUE[p[i]]:
            return False
    return True


cdef char* _put(char* out, bytes word) noexcept:
    """Copy `word` to `out`; behind it."""
    memcpy(out, PyBytes_AS_STRING(word), PyBytes_GET_SIZE(word))
    return out + PyBytes_GET_SIZE(word)


cdef bytes _with_fields(bytes line, list fields, bytes own, frozenset reserved):
    """The start-line, the fields, our own lines, the blank line; every byte of every field is looked at."""
    cdef Py_ssize_t size = PyBytes_GET_SIZE(line) + PyBytes_GET_SIZE(own) + 2
    cdef bytes whole
    cdef char* out
    for name, value in fields:
        if type(name) is not bytes or type(value) is not bytes:
            raise TypeError("field names and values are bytes")
        if not _is_token(<bytes>name):
            raise UnsafeHeader(f"unsafe field name: {name!r}")
        if not _is_value(<bytes>value):
            raise UnsafeHeader(f"unsafe byte in the value of {name.decode('ascii')}")
        if name in reserved:
            raise ValueError(f"{name.decode('ascii')} is written by the wire")
        size += PyBytes_GET_SIZE(<bytes>name) + PyBytes_GET_SIZE(<bytes>value) + 4
    whole = PyBytes_FromStringAndSize(NULL, size)
    out = _put(PyBytes_AS_STRING(whole), line)
    for name, value in fields:
        out = _put(out, <bytes>name)
        out[0] = 58
        out[1] = 32
        out = _put(out + 2, <bytes>value)
        out[0] = 13
        out[1] = 10
        out += 2
    out = _put(out, own)
    out[0] = 13
    out[1] = 10
    return whole


cdef dict _status_lines = {}


def response_head(int status, headers, bytes own=NOTHING, frozenset reserved=NOBODY):
    """See `_http1_pure.response_head`."""
    if not 100 <= status <= 599:
        raise ValueError(f"status out of range: {status}")
    line = _status_lines.get(status)
    if line is None:
        line = _status_lines[status] = b"HTTP/1.1 %d %b\r\n" % (status, REASONS.get(status, b""))
    return _with_fields(line, headers if type(headers) is list else list(headers), own, reserved)


def request_head(bytes method, bytes target, headers, bytes host=None, bytes own=NOTHING, frozenset reserved=NOBODY):
    """See `_http1_pure.request_head`."""
    cdef const unsigned char* p = <const unsigned char*>PyBytes_AS_STRING(target)
    cdef Py_ssize_t i
    cdef bint safe = PyBytes_GET_SIZE(target) > 0 and _is_token(method)
    cdef list fields = headers if type(headers) is list else list(headers)
    for i in range(PyBytes_GET_SIZE(target)):
        if not 0x21 <= p[i] <= 0x7E:
            safe = False
    if not safe:
        raise UnsafeHeader("unsafe byte in the method or the request-target")
    if host is not None:
        for name, _ in fields:
            if name == b"host":
                break
        else:
            fields = [(b"host", host), *fields]
    return _with_fields(b"%b %b HTTP/1.1\r\n" % (method, target), fields, own, reserved)
