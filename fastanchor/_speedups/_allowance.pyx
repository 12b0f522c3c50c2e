# cython: boundscheck=False, wraparound=False, cdivision=True
"""The compiled half of `allowance`: digits into a small buffer on the stack, and a bytes object of each."""

from libc.math cimport ceil, fmin
from libc.stdint cimport int64_t, uint64_t

from cpython.bytes cimport PyBytes_FromStringAndSize

__all__ = ["Allowance"]

cdef enum:
    ROOM = 64  # of one value

cdef int64_t LAST = 253402300799
cdef double LONGEST = 1e15


cdef char *digits(char *at, int64_t value, int width) noexcept nogil:
    """Write a number with at least so many digits. Returns the place behind it."""
    cdef char turned[20]
    cdef int n = 0
    cdef uint64_t rest = <uint64_t>(-value if value < 0 else value)
    if value < 0:
        at[0] = c"-"
        at += 1
    while rest or n < width:
        turned[n] = <char>(48 + rest % 10)
        rest //= 10
        n += 1
    while n:
        n -= 1
        at[0] = turned[n]
        at += 1
    return at


cdef char *letter(char *at, char byte) noexcept nogil:
    at[0] = byte
    return at + 1


cdef char *duration(char *at, double seconds) noexcept nogil:
    cdef int64_t whole
    if seconds < 1:
        whole = <int64_t>ceil(seconds * 1000) if seconds > 0 else 0
        if whole > 0:
            at = digits(at, whole, 1)
            at = letter(at, c"m")
            return letter(at, c"s")
        at = letter(at, c"0")
        return letter(at, c"s")
    whole = <int64_t>ceil(fmin(seconds, LONGEST))
    if whole >= 3600:
        at = letter(digits(at, whole // 3600, 1), c"h")
    if whole >= 60:
        at = letter(digits(at, whole // 60 % 60, 1), c"m")
    return letter(digits(at, whole % 60, 1), c"s")


cdef char *instant(char *at, int64_t unix) noexcept nogil:
    """RFC 3339; the day as Howard Hinnant's `civil_from_days` finds it."""
    cdef int64_t day, second, era, of_era, year, of_year, month
    unix = 0 if unix < 0 else LAST if unix > LAST else unix
    day, second = unix // 86400 + 719468, unix % 86400
    era = day // 146097
    of_era = day - era * 146097
    year = (of_era - of_era // 1460 + of_era // 36524 - of_era // 146096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    day = of_year - (153 * month + 2) // 5 + 1
    month = month + 3 if month < 10 else month - 9
    year = year + era * 400 + (1 if month <= 2 else 0)
    at = letter(digits(at, year, 4), c"-")
    at = letter(digits(at, month, 2), c"-")
    at = letter(digits(at, day, 2), c"T")
    at = letter(digits(at, second // 3600, 2), c":")
    at = letter(digits(at, second // 60 % 60, 2), c":")
    return letter(digits(at, second % 60, 2), c"Z")


cdef inline bytes text(char *start, char *end):
    return PyBytes_FromStringAndSize(start, end - start)


cdef class Allowance:
    """How one allowance is told; see the twin for its arguments."""

    cdef tuple _limit, _plain_limit
    cdef bytes _remaining, _reset, _plain_remaining, _plain_reset
    cdef int64_t _cap
    cdef double _unit
    cdef bint _instant, _plain

    def __init__(
        self, tuple limit not None, bytes remaining not None, bytes reset not None, int64_t cap, double unit, *,
        bint instant, bytes plain=b""
    ):
        self._limit, self._remaining, self._reset = limit, remaining, reset
        self._cap, self._unit, self._instant = cap, unit, instant
        self._plain = bool(plain)
        self._plain_limit = (plain + b"-limit", limit[1])
        self._plain_remaining, self._plain_reset = plain + b"-remaining", plain + b"-reset"

    def add(self, list fields not None, int64_t left, double wait, double unix):
        """Add the fields; `wait` counts where nothing comes back by itself, `unix` is now."""
        cdef char room[ROOM]
        cdef int64_t whole
        cdef bytes shown = text(room, digits(room, left, 1))
        if self._unit > 0:
            wait = <double>(self._cap - left) * self._unit
        whole = <int64_t>ceil(fmin(unix + wait, LONGEST))
        fields.append(self._limit)
        fields.append((self._remaining, shown))
        fields.append((self._reset, text(room, instant(room, whole) if self._instant else duration(room, wait))))
        if self._plain:
            fields.append(self._plain_limit)
            fields.append((self._plain_remaining, shown))
            fields.append((self._plain_reset, text(room, digits(room, whole, 1))))
