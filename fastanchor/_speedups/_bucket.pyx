# cython: boundscheck=False, wraparound=False, cdivision=True
"""The compiled half of `bucket`: every word is changed by one compare-and-swap, sequentially consistent.

Rules:
- A worker *pins* a slot (its own column, which only it writes) before it trusts it, and looks at the owner again
  after; an idle slot is marked CLOSING before its columns are looked at. One of the two always sees the other.
- Gauge and column are two words. While a worker changes them, its *intent* names the slot, so that `release_worker`
  can tell a difference that a dead worker left from one that a living worker is about to remove. The gauge carries a
  tag that every change moves on.
- Owners are entered under the file lock, which is rare.
"""

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcmp, memcpy

import os

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Malloc

from fastanchor._speedups._bucket_file import COUNTER_COUNT, OWNER, locked, map_file, open_lock
from fastanchor._speedups._bucket_pure import Limit, Refused, TableFull, check_claim

__all__ = ["Claim", "Limit", "Refused", "Table", "TableFull"]

cdef extern from *:
    """
    #include <stdint.h>
    #include <sched.h>
    #define FA_MINUTE 60000000000LL
    #define FA_FAR (1LL << 62)
    static inline int64_t fa_load(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void fa_store(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_SEQ_CST); }
    static inline int fa_cas(int64_t *p, int64_t old, int64_t new_) {
        return __atomic_compare_exchange_n(p, &old, new_, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline int64_t fa_add(int64_t *p, int64_t v) { return __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline int32_t fa_column(const int32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }
    static inline void fa_pin(int32_t *p, int32_t v) { __atomic_add_fetch(p, v, __ATOMIC_SEQ_CST); }
    static inline void fa_clear(int32_t *p) { __atomic_store_n(p, 0, __ATOMIC_SEQ_CST); }
    static inline int64_t fa_cost(int64_t amount, int64_t cap) {
        if (cap == 0) return 0;
        unsigned __int128 n = ((unsigned __int128)amount * FA_MINUTE + cap - 1) / cap;
        return n > (unsigned __int128)FA_FAR ? FA_FAR : (int64_t)n;
    }
    static inline int64_t fa_span(int64_t cap) {
        if (cap == 0) return 0;
        int64_t slack = FA_MINUTE / cap - 1;
        if (slack > cap) slack = cap;
        return FA_MINUTE + (slack > 0 ? slack : 0);
    }
    static inline int64_t fa_units(int64_t span, int64_t cap) {
        return span <= 0 ? 0 : (int64_t)((unsigned __int128)span * cap / FA_MINUTE);
    }
    """
    int64_t fa_load(const int64_t *) nogil
    void fa_store(int64_t *, int64_t) nogil
    bint fa_cas(int64_t *, int64_t, int64_t) nogil
    int64_t fa_add(int64_t *, int64_t) nogil
    int32_t fa_column(const int32_t *) nogil
    void fa_pin(int32_t *, int32_t) nogil
    void fa_clear(int32_t *) nogil
    int64_t fa_cost(int64_t, int64_t) nogil
    int64_t fa_span(int64_t) nogil
    int64_t fa_units(int64_t, int64_t) nogil
    int64_t FAR "FA_FAR"
    int sched_yield() nogil

cdef enum:
    GAUGE = 0
    RATE = 1
    WINDOW = 3
    BALANCE = 7
    LIMITS = 16  # in one reservation
    STATE = 2
    KEEP = 3
    GAUGE_WORD = 4
    RATE_WORD = 5
    WINDOW_WORD = 7
    BALANCE_WORD = 11
    WORDS = 12
    EMPTY = 0
    LIVE = 1
    CLOSING = 2
    PROBE = 64
    PAGE = 4096
    COUNTERS = 512
    INTENT = 8  # words between two intents
    NEVER = -1
    NOT_OPEN = -2
    TRIES = 1000

cdef int64_t MOST = (1 << 40) - 1
cdef int64_t BALANCE_MOST = (<int64_t>1 << 62) - 1
cdef int64_t WINDOW_MOST = (1 << 23) - 1
cdef int64_t UNOPENED = <int64_t>(<uint64_t>1 << 63)
cdef int64_t COUNT = 0xFFFFFFFF
cdef int64_t TAG = 0x7FFFFFFF


cdef struct Term:
    int64_t kind
    int64_t cap
    int64_t amount
    int64_t window


cdef int64_t number(object value) except? -7:
    """An int as a machine word; one that does not fit is out of range in any case."""
    try:
        return value
    except OverflowError:
        return -3 if value < 0 else FAR


cdef Py_ssize_t read_limits(object limits, Term *terms) except -1:
    """Check the limits and copy them out of Python."""
    cdef Py_ssize_t n = 0
    cdef int64_t most
    for kind, cap, amount, window in limits:
        if n == LIMITS:
            raise ValueError("a reservation has at most 16 limits")
        terms[n].kind, terms[n].cap = number(kind), number(cap)
        terms[n].amount, terms[n].window = number(amount), number(window)
        most = BALANCE_MOST if terms[n].kind == BALANCE else MOST
        if not 0 <= terms[n].kind <= BALANCE:
            raise ValueError("a limit has an unknown kind")
        if n > 0 and terms[n].kind == GAUGE:
            raise ValueError("the gauge comes first")
        if not 0 <= terms[n].cap <= most or not 0 <= terms[n].amount <= most:
            raise ValueError("a limit's cap or amount is out of range")
        if not 0 <= terms[n].window <= WINDOW_MOST:
            raise ValueError("a limit's window is out of range")
        n += 1
    return n


cdef inline int64_t counted(int64_t word, int64_t window, int64_t *of) noexcept nogil:
    """The count of the window that counts, and its number in `of`: a clock that went back stays where it was."""
    of[0] = word >> 40
    if of[0] >= window:
        return word & MOST
    of[0] = window
    return 0


cdef inline int64_t regauged(int64_t word, int64_t count) noexcept nogil:
    return ((((word >> 32) + 1) & TAG) << 32) | (count if count > 0 else 0)


cdef int64_t left(int64_t *slot, Term *term, int64_t now) noexcept nogil:
    """What remains under a limit; `slot` is NULL for an owner who has none."""
    cdef int64_t of, rest, tat
    if slot == NULL:
        return 0 if term.kind == BALANCE else term.cap
    if term.kind == GAUGE:
        rest = term.cap - (fa_load(slot + GAUGE_WORD) & COUNT)
    elif term.kind < WINDOW:
        tat = fa_load(slot + RATE_WORD + term.kind - RATE)
        return fa_units(fa_span(term.cap) - (tat - now if tat > now else 0), term.cap)
    elif term.kind < BALANCE:
        rest = term.cap - counted(fa_load(slot + WINDOW_WORD + term.kind - WINDOW), term.window, &of)
    else:
        rest = fa_load(slot + BALANCE_WORD)
        return 0 if rest == UNOPENED else rest
    return rest if rest > 0 else 0


cdef int64_t take_rate(int64_t *word, Term *term, int64_t now) noexcept nogil:
    """Returns 0, the nanoseconds to wait, or NEVER."""
    cdef int64_t old, new, span = fa_span(term.cap)
    if term.amount > term.cap:
        return NEVER
    while True:
        old = fa_load(word)
        new = (old if old > now else now) + fa_cost(term.amount, term.cap)
        if new > now + span:
            return new - now - span
        if fa_cas(word, old, new):
            return 0


cdef int64_t take_window(int64_t *word, Term *term) noexcept nogil:
    cdef int64_t old, count, of
    while True:
        old = fa_load(word)
        count = counted(old, term.window, &of) + term.amount
        if count > term.cap:
            return NEVER
        if fa_cas(word, old, (of << 40) | count):
            return 0


cdef int64_t take_balance(int64_t *word, Term *term) noexcept nogil:
    cdef int64_t old
    while True:
        old = fa_load(word)
        if old == UNOPENED:
            return NOT_OPEN
        if old < term.amount:
            return NEVER
        if fa_cas(word, old, old - term.amount):
            return 0


cdef void adjust(int64_t *slot, Term *term, int64_t used, int64_t since, int64_t now) noexcept nogil:
    """Put `used` in the place of the amount."""
    cdef int64_t *word
    cdef int64_t old, new, count, change, passed = now - since if now > since else 0
    if term.kind == GAUGE or used == term.amount:
        return
    if term.kind < WINDOW:
        word = slot + RATE_WORD + term.kind - RATE
        change = fa_cost(used, term.cap) - fa_cost(term.amount, term.cap)
        while True:
            old = fa_load(word)
            if used < term.amount:
                new = old + (change + passed if change + passed < 0 else 0)
            else:
                new = (old if old > now else now)
                new = FAR if change > FAR - new else new + change
            if fa_cas(word, old, new):
                return
    elif term.kind < BALANCE:
        word = slot + WINDOW_WORD + term.kind - WINDOW
        while True:
            old = fa_load(word)
            if old >> 40 != term.window:
                return
            count = (old & MOST) + used - term.amount
            count = 0 if count < 0 else MOST if count > MOST else count
            if fa_cas(word, old, (term.window << 40) | count):
                return
    else:
        word = slot + BALANCE_WORD
        while True:
            old = fa_load(word)
            if old == UNOPENED:
                return
            change = term.amount - used  # both are below 2**62
            new = FAR if change > 0 and old > FAR - change else -FAR if change < 0 and old < -FAR - change else old + change
            if fa_cas(word, old, new):
                return


cdef class Claim:
    """What the requests of one owner take, compiled; see the twin for its arguments."""

    cdef readonly bytes owner
    cdef readonly int64_t keep
    cdef Term *_terms  # the amount says what is counted
    cdef Py_ssize_t _count

    def __cinit__(self, bytes owner not None, limits, int64_t keep):
        cdef Term terms[LIMITS]
        check_claim(owner, limits)
        self.owner, self.keep = owner, keep
        self._count = read_limits(limits, terms)
        self._terms = <Term *>PyMem_Malloc(sizeof(Term) * (self._count + 1))  # never of no size
        if self._terms == NULL:
            raise MemoryError
        memcpy(self._terms, terms, sizeof(Term) * self._count)

    def __dealloc__(self):
        PyMem_Free(self._terms)

    cdef Py_ssize_t fill(self, Term *terms, int64_t *amounts) noexcept nogil:
        """The limits with these amounts of requests, tokens and money. Returns how many there are."""
        cdef Py_ssize_t i
        for i in range(self._count):
            terms[i] = self._terms[i]
            terms[i].amount = amounts[self._terms[i].amount]
        return self._count


cdef int in_range(int64_t *amounts) except -1:
    if not 0 <= amounts[0] <= MOST or not 0 <= amounts[1] <= MOST or not 0 <= amounts[2] <= BALANCE_MOST:
        raise ValueError("a limit's cap or amount is out of range")
    return 0


cdef class Table:
    """One process's view of the shared table; see the twin for its arguments."""

    cdef object _map, _geometry, _path
    cdef Py_buffer _buffer
    cdef bint _open
    cdef int64_t *_base
    cdef int64_t *_intent
    cdef int64_t _start, _stride, _mask, _columns
    cdef int _lock
    cdef int64_t _pid
    cdef readonly int worker

    def __cinit__(self, path, int worker=-1):
        self._open = False
        self._map, self._geometry = map_file(path)
        self._columns = self._geometry.workers
        if not -1 <= worker < self._columns:
            raise ValueError(f"the table has columns for {self._columns} workers")
        PyObject_GetBuffer(self._map, &self._buffer, PyBUF_WRITABLE)
        self._open = True
        self._base = <int64_t *>self._buffer.buf
        self._intent = NULL if worker < 0 else self._base + PAGE // 8 + INTENT * worker
        self._start = self._geometry.start // 8
        self._stride = self._geometry.slot // 8
        self._mask = self._geometry.slots - 1
        self._path = path
        self._lock = open_lock(path)
        self._pid = os.getpid()
        self.worker = worker

    def __dealloc__(self):
        if self._open:
            PyBuffer_Release(&self._buffer)

    @property
    def slots(self):
        return self._geometry.slots

    @property
    def workers(self):
        return self._geometry.workers

    def close(self):
        """Let go of the file. The table cannot be used any more."""
        if self._open:
            self._open = False
            PyBuffer_Release(&self._buffer)
            self._map.close()
            os.close(self._lock)

    def reserve(self, bytes owner not None, limits, int64_t now, int64_t wall, int64_t keep):
        """Take every amount, or none. See `bucket`."""
        cdef Term terms[LIMITS]
        cdef Py_ssize_t n = read_limits(limits, terms), i, place
        cdef int64_t wait
        cdef int64_t *slot
        place = self._take(owner, terms, n, now, wall, keep, &slot, &wait)
        if place < n:
            return Refused(place, wait)
        return [left(slot, &terms[i], now) for i in range(n)]

    def settle(self, bytes owner not None, limits, used, int64_t since, int64_t now):
        """Put what was used in the place of what was reserved, and give the gauge back. See `bucket`."""
        cdef Term terms[LIMITS]
        cdef int64_t amounts[LIMITS]
        cdef Py_ssize_t n = read_limits(limits, terms), i = 0
        if len(used) != n:
            raise ValueError("one amount for each limit is needed")
        for amount in used:
            amounts[i] = number(amount)
            if not 0 <= amounts[i] <= (BALANCE_MOST if terms[i].kind == BALANCE else MOST):
                raise ValueError("a limit's cap or amount is out of range")
            i += 1
        self._put(owner, terms, amounts, n, since, now)

    def admit(self, tuple claims not None, int64_t tokens, int64_t money, int64_t now, int64_t wall):
        """Take what one request of so many tokens takes of every claim, or nothing. See `bucket`."""
        cdef Term terms[LIMITS]
        cdef int64_t[3] amounts = [1, tokens, money]
        cdef Py_ssize_t n, i, place, taken = 0
        cdef int64_t wait
        cdef int64_t *slot
        cdef Claim claim
        cdef list rest = []
        in_range(amounts)
        for item in claims:
            claim = <Claim?>item
            n = claim.fill(terms, amounts)
            try:
                place = self._take(claim.owner, terms, n, now, wall, claim.keep, &slot, &wait)
            except TableFull:
                self._give_back(claims, taken, amounts)
                raise
            if place < n:
                self._give_back(claims, taken, amounts)
                return Refused(len(rest) + place, wait)
            for i in range(n):
                rest.append(left(slot, &terms[i], now))
            taken += 1
        return rest

    def finish(
        self, tuple claims not None, int64_t tokens, int64_t money, int64_t requests, int64_t used_tokens,
        int64_t used_money, int64_t since, int64_t now,
    ):
        """Put what the request used in the place of what it was admitted with. See `bucket`."""
        cdef int64_t[3] amounts = [1, tokens, money], used = [requests, used_tokens, used_money]
        in_range(amounts)
        in_range(used)
        self._finish(claims, len(claims), amounts, used, since, now)

    def left(self, tuple claims not None, int64_t now):
        """What is left under every limit of the claims, in order."""
        cdef Term terms[LIMITS]
        cdef int64_t[3] nothing = [0, 0, 0]
        cdef Py_ssize_t n, i
        cdef int64_t *slot
        cdef Claim claim
        cdef list found, rest = []
        for item in claims:
            claim = <Claim?>item
            n = claim.fill(terms, nothing)
            while True:
                slot = self._find(claim.owner)
                found = [left(slot, &terms[i], now) for i in range(n)]
                if slot == NULL or self._is(slot, claim.owner):
                    break
            rest += found
        return rest

    def remaining(self, bytes owner not None, limits, int64_t now):
        """What is left under each limit, 0 at least (a balance as it is)."""
        cdef Term terms[LIMITS]
        cdef Py_ssize_t n = read_limits(limits, terms), i
        cdef int64_t *slot
        while True:
            slot = self._find(owner)
            rest = [left(slot, &terms[i], now) for i in range(n)]
            if slot == NULL or self._is(slot, owner):
                return rest

    def balance(self, bytes owner not None):
        """The owner's balance, or None when no account was opened."""
        cdef int64_t value
        cdef int64_t *slot
        while True:
            slot = self._find(owner)
            value = UNOPENED if slot == NULL else fa_load(slot + BALANCE_WORD)
            if slot == NULL or self._is(slot, owner):
                return None if value == UNOPENED else value

    def set_balance(self, bytes owner not None, expected, value, int64_t wall):
        """Change the balance if it is `expected` (None: not open). Returns whether it was."""
        cdef int64_t *slot
        if abs(value) > BALANCE_MOST:
            raise ValueError("a balance is out of range")
        with locked(self._lock_file()):  # nobody is evicted while we hold it
            slot = self._entered(owner, wall)
            return fa_cas(slot + BALANCE_WORD, UNOPENED if expected is None else <int64_t>expected, <int64_t>value)

    def held(self, bytes owner not None):
        """How many reservations of the owner are open in all workers."""
        cdef int64_t count
        cdef int64_t *slot
        while True:
            slot = self._find(owner)
            count = 0 if slot == NULL else fa_load(slot + GAUGE_WORD) & COUNT
            if slot == NULL or self._is(slot, owner):
                return count

    def release_worker(self, int worker):
        """Give back what a dead worker held. Returns how many slots could not be set right yet. See `bucket`."""
        cdef int64_t at, wrong = 0
        cdef int64_t *slot
        if not 0 <= worker < self._columns:
            raise ValueError(f"the table has columns for {self._columns} workers")
        fa_store(self._base + PAGE // 8 + INTENT * worker, 0)
        for at in range(self._mask + 1):
            slot = self._base + self._start + at * self._stride
            if fa_load(slot + STATE) == EMPTY:
                continue
            fa_clear(<int32_t *>(slot + WORDS) + worker)
            if fa_load(slot + GAUGE_WORD) & COUNT != self._sum(slot) and not self._repair(slot, at + 1):
                wrong += 1
        return wrong

    def counter(self, index):
        """One of the file's counters."""
        return fa_load(self._counter(index))

    def bump(self, index):
        """Add one to a counter. Returns the new value."""
        return fa_add(self._counter(index), 1)

    cdef Py_ssize_t _take(
        self, bytes owner, Term *terms, Py_ssize_t n, int64_t now, int64_t wall, int64_t keep, int64_t **slot,
        int64_t *wait,
    ) except -1:
        """Take every amount, or none. Returns n, or the place of the limit that refuses, with its `wait`."""
        cdef int64_t old
        cdef int64_t *found
        cdef Py_ssize_t i, undone
        if self.worker < 0:
            raise ValueError("a table opened without a worker cannot reserve")
        slot[0] = found = self._pinned(owner, wall)
        wait[0] = NEVER
        if not self._gauge(found, terms[0].cap if n and terms[0].kind == GAUGE else -1):
            return 0
        old = fa_load(found + KEEP)
        while old < keep and not fa_cas(found + KEEP, old, keep):
            old = fa_load(found + KEEP)
        for i in range(n):
            wait[0] = take(found, &terms[i], now)
            if wait[0] != 0:
                for undone in range(i):
                    adjust(found, &terms[undone], 0, 0, 0)
                self._ungauge(found)
                return i
        return n

    cdef int _put(self, bytes owner, Term *terms, int64_t *used, Py_ssize_t n, int64_t since, int64_t now) except -1:
        """Put what was used in the place of the amounts, and give the gauge back."""
        cdef Py_ssize_t i
        cdef int64_t *slot = self._find(owner)
        if slot == NULL or self.worker < 0 or fa_column(self._column(slot)) <= 0:
            return 0
        for i in range(n):
            adjust(slot, &terms[i], used[i], since, now)
        self._ungauge(slot)
        return 0

    cdef int _finish(
        self, tuple claims, Py_ssize_t count, int64_t *amounts, int64_t *used, int64_t since, int64_t now
    ) except -1:
        """Settle the first so many claims."""
        cdef Term terms[LIMITS]
        cdef int64_t each[LIMITS]
        cdef Py_ssize_t n, i, j
        cdef Claim claim
        for i in range(count):
            claim = <Claim?>claims[i]
            n = claim.fill(terms, amounts)
            for j in range(n):
                each[j] = used[claim._terms[j].amount]
            self._put(claim.owner, terms, each, n, since, now)
        return 0

    cdef int _give_back(self, tuple claims, Py_ssize_t count, int64_t *amounts) except -1:
        """The first so many claims were taken a moment ago, for nothing."""
        cdef int64_t[3] nothing = [0, 0, 0]
        return self._finish(claims, count, amounts, nothing, 0, 0)

    cdef int64_t *_counter(self, index) except NULL:
        if not 0 <= index < COUNTER_COUNT:
            raise ValueError(f"a table has {COUNTER_COUNT} counters")
        return self._base + COUNTERS // 8 + <Py_ssize_t>index

    cdef int _lock_file(self) except -1:
        """A fork shares its parent's lock, which would exclude nobody: open another."""
        if os.getpid() != self._pid:
            self._lock, self._pid = open_lock(self._path), os.getpid()
        return self._lock

    cdef int64_t *_place(self, bytes owner, int step) noexcept:
        """The slot at so many steps from the owner's home."""
        cdef uint64_t first
        memcpy(&first, PyBytes_AS_STRING(owner), 8)
        return self._base + self._start + ((first + <uint64_t>step) & <uint64_t>self._mask) * self._stride

    cdef bint _is(self, int64_t *slot, bytes owner) noexcept:
        return fa_load(slot + STATE) == LIVE and memcmp(slot, PyBytes_AS_STRING(owner), 16) == 0

    cdef int64_t *_find(self, bytes owner) except? NULL:
        """The owner's slot, or NULL."""
        cdef int step
        cdef int64_t *slot
        if len(owner) != 16:
            raise ValueError(f"an owner is {OWNER} bytes")
        for step in range(PROBE):
            slot = self._place(owner, step)
            if self._is(slot, owner):
                return slot
        return NULL

    cdef int64_t *_entered(self, bytes owner, int64_t wall) except NULL:
        """The owner's slot, made when there is none; the caller holds the lock."""
        cdef int step
        cdef int64_t word
        cdef int64_t *slot = self._find(owner)
        if slot != NULL:
            return slot
        for step in range(PROBE):
            slot = self._place(owner, step)
            if not self._vacated(slot, wall):
                continue
            memcpy(slot, PyBytes_AS_STRING(owner), 16)
            fa_store(slot + KEEP, 0)
            for word in range(RATE_WORD, BALANCE_WORD):
                fa_store(slot + word, 0)
            fa_store(slot + BALANCE_WORD, UNOPENED)
            fa_store(slot + STATE, LIVE)
            return slot
        raise TableFull(f"all {PROBE} slots for an owner are in use")

    cdef bint _vacated(self, int64_t *slot, int64_t wall) noexcept:
        """Whether the slot is nobody's, or was idle and is now closed."""
        cdef bint used = fa_load(slot + STATE) == LIVE
        if used and not idle(slot, wall):
            return False
        fa_store(slot + STATE, CLOSING)
        if self._sum(slot) == 0 and (not used or idle(slot, wall)):
            return True
        fa_store(slot + STATE, LIVE if used else EMPTY)
        return False

    cdef int64_t *_pinned(self, bytes owner, int64_t wall) except NULL:
        """The owner's slot, with this worker's column raised and its intent declared."""
        cdef int64_t *slot
        while True:
            slot = self._find(owner)
            if slot == NULL:
                with locked(self._lock_file()):
                    slot = self._entered(owner, wall)
            fa_store(self._intent, self._number(slot))
            fa_pin(self._column(slot), 1)
            if self._is(slot, owner):
                return slot
            self._unpin(slot)

    cdef void _unpin(self, int64_t *slot) noexcept:
        """Take a pin back that changed no gauge; the tag moves on for whoever has just added the columns up."""
        cdef int64_t old = fa_load(slot + GAUGE_WORD)
        while not fa_cas(slot + GAUGE_WORD, old, regauged(old, old & COUNT)):
            old = fa_load(slot + GAUGE_WORD)
        fa_pin(self._column(slot), -1)
        fa_store(self._intent, 0)

    cdef bint _gauge(self, int64_t *slot, int64_t cap) noexcept:
        """Raise the gauge of a pinned slot, unless it has reached its cap (-1: none)."""
        cdef int64_t old
        while True:
            old = fa_load(slot + GAUGE_WORD)
            if cap >= 0 and old & COUNT >= cap:
                self._unpin(slot)
                return False
            if fa_cas(slot + GAUGE_WORD, old, regauged(old, (old & COUNT) + 1)):
                fa_store(self._intent, 0)
                return True

    cdef void _ungauge(self, int64_t *slot) noexcept:
        cdef int64_t old
        fa_store(self._intent, self._number(slot))
        old = fa_load(slot + GAUGE_WORD)
        while not fa_cas(slot + GAUGE_WORD, old, regauged(old, (old & COUNT) - 1)):
            old = fa_load(slot + GAUGE_WORD)
        fa_pin(self._column(slot), -1)
        fa_store(self._intent, 0)

    cdef inline int32_t *_column(self, int64_t *slot) noexcept:
        return <int32_t *>(slot + WORDS) + self.worker

    cdef inline int64_t _number(self, int64_t *slot) noexcept:
        """The slot's number from 1 on, for an intent."""
        return (slot - self._base - self._start) // self._stride + 1

    cdef int64_t _sum(self, int64_t *slot) noexcept:
        cdef int64_t total = 0, i
        cdef int32_t *column = <int32_t *>(slot + WORDS)
        for i in range(self._columns):
            total += fa_column(column + i)
        return total

    cdef bint _intended(self, int64_t slot_number) noexcept:
        """Whether a worker is in the middle of this slot."""
        cdef int64_t i
        for i in range(self._columns):
            if fa_load(self._base + PAGE // 8 + INTENT * i) == slot_number:
                return True
        return False

    cdef bint _repair(self, int64_t *slot, int64_t slot_number) noexcept:
        """Set the gauge to the sum of its columns, at a moment in which nobody is between the two."""
        cdef int64_t old, total
        cdef int i
        for i in range(TRIES):
            old = fa_load(slot + GAUGE_WORD)
            if not self._intended(slot_number):
                total = self._sum(slot)
                if not self._intended(slot_number) and fa_cas(slot + GAUGE_WORD, old, regauged(old, total)):
                    return True
            sched_yield()
        return False


cdef bint idle(int64_t *slot, int64_t wall) noexcept nogil:
    return (
        fa_load(slot + KEEP) < wall
        and fa_load(slot + BALANCE_WORD) == UNOPENED
        and fa_load(slot + GAUGE_WORD) & COUNT == 0
    )


cdef int64_t take(int64_t *slot, Term *term, int64_t now) noexcept nogil:
    """Take one amount. Returns 0, or why not (a wait, NEVER, NOT_OPEN)."""
    if term.kind == GAUGE:
        return 0  # taken already
    if term.kind < WINDOW:
        return take_rate(slot + RATE_WORD + term.kind - RATE, term, now)
    if term.kind < BALANCE:
        return take_window(slot + WINDOW_WORD + term.kind - WINDOW, term)
    return take_balance(slot + BALANCE_WORD, term)
