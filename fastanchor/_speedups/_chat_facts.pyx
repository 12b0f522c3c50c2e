# cython: boundscheck=False, wraparound=False
"""The facts of a chat request and of a whole chat answer in one pass each, for bodies in which nothing is unusual.

There is no twin: None says that the body is not of this kind, and whoever asked reads it with `peek`, which decides.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

include "_strings.pxi"
include "_json.pxi"

__all__ = ["Asked", "answer", "asked"]

cdef enum:
    DEPTH = 127  # containers below the top, as `peek` has it
    DIGITS = 15

cdef enum:
    MODEL = 1
    MESSAGES = 2
    MAX_TOKENS = 4
    STREAM = 8
    N = 16
    TOOLS = 32
    CACHE_KEY = 64


cdef class Asked:
    """A request for one whole answer: where its model's name stands in the body (quotes included), the bytes of text in
    its messages and tools, and its bound on output (-1: none)."""

    cdef readonly Py_ssize_t model_start
    cdef readonly Py_ssize_t model_end
    cdef readonly Py_ssize_t text
    cdef readonly long long max_tokens


cdef inline bint named(Text text, Offset start, Offset end, const char *name, Py_ssize_t size) noexcept nogil:
    """Whether the key in quotes at start..end is `name`."""
    return end - start - 2 == size and memcmp(text + start + 1, name, size) == 0


cdef inline bint null(Text text, Offset start, Offset end) noexcept nogil:
    return end - start == 4 and memcmp(text + start, b"null", 4) == 0


cdef long long whole(Text text, Offset start, Offset end) noexcept nogil:
    """The value of up to 15 digits, else -1."""
    cdef long long value = 0
    cdef Offset at
    if not 0 < end - start <= DIGITS:
        return -1
    for at in range(start, end):
        if not c"0" <= text[at] <= c"9":
            return -1
        value = value * 10 + text[at] - c"0"
    return value


cdef bint fact(Asked found, Text text, Offset key, Offset name_end, Offset start, Offset end, int *seen) noexcept nogil:
    """Take note of a member; False when it asks for something unusual."""
    cdef int which = 0
    cdef Offset first
    if named(text, key, name_end, b"model", 5):
        which = MODEL
        found.model_start, found.model_end = start, end
        if text[start] != c'"':
            return False
    elif named(text, key, name_end, b"messages", 8):
        which = MESSAGES
        if text[start] != c"[":
            return False
        first = space(text, start + 1, end)
        if text[first] == c"]":
            return False
        found.text += text_of(text, start, end)
    elif named(text, key, name_end, b"max_tokens", 10) or named(text, key, name_end, b"max_completion_tokens", 21):
        which = MAX_TOKENS
        found.max_tokens = whole(text, start, end)
        if found.max_tokens < 0:
            return False
    elif named(text, key, name_end, b"tools", 5):
        which = TOOLS
        found.text += text_of(text, start, end)
    elif named(text, key, name_end, b"stream", 6):
        which = STREAM
        if not (end - start == 5 and memcmp(text + start, b"false", 5) == 0):
            return False
    elif named(text, key, name_end, b"n", 1):
        which = N
        if whole(text, start, end) != 1:
            return False
    elif named(text, key, name_end, b"prompt_cache_key", 16):
        which = CACHE_KEY
        if text[start] != c'"':
            return False
    elif named(text, key, name_end, b"stream_options", 14):
        return False
    if seen[0] & which:
        return False
    seen[0] |= which
    return True


def asked(bytes body):
    """The facts of a request, or None."""
    cdef Text text = <Text>PyBytes_AS_STRING(body)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(body)
    cdef Asked found = Asked.__new__(Asked)
    cdef Offset at = space(text, 0, end), key, name_end, start
    cdef int seen = 0
    found.max_tokens = -1
    if at == end or text[at] != c"{":
        return None
    at = space(text, at + 1, end)
    while True:
        key = at
        name_end = string(text, key, end)
        start = colon(text, name_end, end)
        at = value(text, start, end, DEPTH)
        if at == ODD or memchr(text + key, c"\\", name_end - key) != NULL:
            return None
        if not fact(found, text, key, name_end, start, at, &seen):
            return None
        at = space(text, at, end)
        if at < end and text[at] == c"}":
            break
        at = comma(text, at, end)
    if space(text, at + 1, end) != end or seen & (MODEL | MESSAGES) != MODEL | MESSAGES:
        return None
    return found


cdef Offset details(Text text, Offset at, Py_ssize_t end, bint prompt, long long *cached) noexcept nogil:
    """The details of one count: only cached tokens may be there; ODD where any other is more than 0."""
    cdef Offset key, name_end, start
    cdef long long number
    at = space(text, at + 1, end)
    if at < end and text[at] == c"}":
        return at + 1
    while at != ODD:
        key = at
        name_end = string(text, key, end)
        start = colon(text, name_end, end)
        at = value(text, start, end, 1)
        if at == ODD:
            return ODD
        number = 0 if null(text, start, at) else whole(text, start, at)
        if number and prompt and number > 0 and named(text, key, name_end, b"cached_tokens", 13):
            cached[0] = number
        elif number:
            return ODD
        at = space(text, at, end)
        if at < end and text[at] == c"}":
            return at + 1
        at = comma(text, at, end)
    return ODD


cdef bint counts(Text text, Offset at, Py_ssize_t end, long long *given, long long *made, long long *cached) noexcept nogil:
    """Read a `usage` object; False when something in it has to be looked at."""
    cdef Offset key, name_end, start
    at = space(text, at + 1, end)
    while at != ODD:
        key = at
        name_end = string(text, key, end)
        start = colon(text, name_end, end)
        if start == ODD or start == end:
            return False
        if text[start] == c"{":
            if named(text, key, name_end, b"prompt_tokens_details", 21):
                at = details(text, start, end, True, cached)
            elif named(text, key, name_end, b"completion_tokens_details", 25):
                at = details(text, start, end, False, cached)
            else:
                return False
        else:
            at = value(text, start, end, 1)
            if at == ODD:
                return False
            if named(text, key, name_end, b"prompt_tokens", 13):
                given[0] = whole(text, start, at)
            elif named(text, key, name_end, b"completion_tokens", 17):
                made[0] = whole(text, start, at)
            elif not (named(text, key, name_end, b"total_tokens", 12) or null(text, start, at)):
                return False
        at = space(text, at, end)
        if at < end and text[at] == c"}":
            return given[0] >= 0 and made[0] >= 0 and cached[0] <= given[0]
        at = comma(text, at, end)
    return False


def answer(bytes body):
    """The usage of a whole answer as (prompt, completion, cached) tokens; None when the answer has to be looked at: it
    is no valid JSON object, has no choices, tells of an error, or counts in an unusual way."""
    cdef Text text = <Text>PyBytes_AS_STRING(body)
    cdef Py_ssize_t end = PyBytes_GET_SIZE(body)
    cdef Offset at = space(text, 0, end), key, name_end, start, usage = ODD
    cdef long long given = -1, made = -1, cached = 0
    cdef bint chosen = False
    if at == end or text[at] != c"{":
        return None
    at = space(text, at + 1, end)
    while True:
        key = at
        name_end = string(text, key, end)
        start = colon(text, name_end, end)
        at = value(text, start, end, DEPTH)
        if at == ODD or memchr(text + key, c"\\", name_end - key) != NULL:
            return None
        if named(text, key, name_end, b"usage", 5):
            if usage != ODD or text[start] != c"{":
                return None
            usage = start
        elif named(text, key, name_end, b"choices", 7):
            if chosen or text[start] != c"[" or text[space(text, start + 1, at)] == c"]":
                return None
            chosen = True
        elif named(text, key, name_end, b"x_groq", 6):
            return None
        elif named(text, key, name_end, b"error", 5) and not null(text, start, at):
            return None
        at = space(text, at, end)
        if at < end and text[at] == c"}":
            break
        at = comma(text, at, end)
    if space(text, at + 1, end) != end or usage == ODD or not chosen:
        return None
    return (given, made, cached) if counts(text, usage, end, &given, &made, &cached) else None
