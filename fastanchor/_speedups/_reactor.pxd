# What other compiled modules may use of `_reactor`: the C side of handles, and who takes their bytes.

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from "<sys/epoll.h>" nogil:
    cdef union epoll_data:
        uint64_t u64
    cdef struct epoll_event:
        uint32_t events
        epoll_data data

cdef enum:
    BATCH = 8


cdef class Taker:
    cdef int take(self) except -1


cdef class Handle:
    cdef readonly int fd
    cdef readonly bint readable
    cdef readonly bint ended
    cdef public object reader
    cdef public object writer
    cdef Taker taker
    cdef bytes given  # received already, for the next reader
    cdef Reactor reactor
    cdef object _hung_up
    cdef uint32_t _generation
    cdef bint _gone
    cdef int _row
    cdef object _trap
    cpdef bytes recv(self)
    cpdef bint silent(self) except -1
    cpdef Py_ssize_t send(self, data) except -1
    cpdef Py_ssize_t send_both(self, bytes head, bytes body) except -1
    cdef int later(self) except -1
    cdef int hand_over(self, bytes data) except -1
    cdef int wake(self) except -1
    cdef int _happened(self, uint32_t events, object reschedule) except -1


cdef class Reactor:
    cdef readonly object loop
    cdef int _epoll
    cdef int _bell  # always readable, and reported when it is armed: makes the epoll descriptor readable
    cdef object _reschedule
    cdef object _current_task
    cdef list _handles
    cdef uint32_t _generation
    cdef epoll_event _events[BATCH]
    cdef int64_t _latest  # when the last drain began that carried something, and the one before it
    cdef int64_t _before
    cdef int carried  # events that takers took
    cdef int woken  # tasks that have been woken
    cdef double moment  # of this batch of events on the takers' clock; negative: nobody has asked yet
    cdef int _make_room(self, int fd) except -1
    cdef int _take(self, int count) except -1
    cdef int _watch(self, int what, int fd, uint32_t events, uint32_t generation) except -1
    cdef int _control(self, int what, int fd, uint32_t generation) except -1
    cdef int _tell_again(self, int fd, uint32_t generation) except -1
    cdef int _forget(self, int fd) except -1
    cpdef int drain(self) except -1
