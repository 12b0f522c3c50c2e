# cython: boundscheck=False, wraparound=False
"""The compiled half of `tally`: histograms as arrays of C."""

from cpython.mem cimport PyMem_Calloc, PyMem_Free

__all__ = ["Histogram"]


cdef class Histogram:
    """See `_tally_pure.Histogram`."""

    cdef readonly tuple bounds
    cdef readonly double total
    cdef Py_ssize_t size
    cdef double *upper
    cdef long long *numbers

    def __cinit__(self, tuple bounds):
        cdef Py_ssize_t i
        self.bounds = bounds
        self.size = len(bounds)
        self.upper = <double *>PyMem_Calloc(self.size + 1, sizeof(double))
        self.numbers = <long long *>PyMem_Calloc(self.size + 1, sizeof(long long))
        if self.upper == NULL or self.numbers == NULL:
            raise MemoryError
        for i in range(self.size):
            self.upper[i] = bounds[i]

    def __dealloc__(self):
        PyMem_Free(self.upper)
        PyMem_Free(self.numbers)

    @property
    def counts(self):
        return [self.numbers[i] for i in range(self.size + 1)]

    cpdef observe(self, double value):
        cdef Py_ssize_t i = 0
        while i < self.size and self.upper[i] < value:
            i += 1
        self.numbers[i] += 1
        self.total += value
