# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Counts many durations at once, for `wpsload.histogram`, in which bucket each of them falls.

Each message of a load has its latency counted twice. In Python that takes a tenth of the message,
and holds up those that are due meanwhile for ten times as long as here. Built where there is a
compiler.
"""

from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport INT64_MAX, int64_t, uint32_t
from libc.string cimport memcpy

__all__ = ["count_all"]

cdef enum:
    MOST_BUCKETS = 8192  # up to an hour there are 4,600


cdef uint32_t upper_half(int64_t value) noexcept:
    """The octave and the bucket in it, see `wpsload.histogram`."""
    cdef float rounded = <float>value
    cdef uint32_t bits
    memcpy(&bits, &rounded, sizeof(bits))
    return bits >> 16


def count_all(list values_ns, dict buckets, int64_t times, int64_t limit_ns, int64_t exact_below):
    """Add each of the values, `times` times, to the count of its bucket.

    Up to `exact_below` a bucket holds one value. Returns the least, the greatest and the sum of the
    values; None, and nothing is counted, if there is none or one is no number from 0 to `limit_ns`.
    """
    cdef uint32_t bias = upper_half(exact_below) - exact_below
    cdef int64_t least = INT64_MAX, greatest = -1, total = 0, value
    cdef uint32_t first, last, index
    cdef uint32_t *counts = <uint32_t *>PyMem_Calloc(MOST_BUCKETS, sizeof(uint32_t))
    if counts == NULL:
        raise MemoryError
    try:
        if upper_half(limit_ns) - bias >= MOST_BUCKETS:
            return None
        for one in values_ns:
            try:
                value = one
            except OverflowError:
                return None
            if not 0 <= value <= limit_ns:
                return None
            least = min(least, value)
            greatest = max(greatest, value)
            total += value
            counts[value if value < exact_below else upper_half(value) - bias] += 1
        if greatest < 0:
            return None
        first = least if least < exact_below else upper_half(least) - bias
        last = greatest if greatest < exact_below else upper_half(greatest) - bias
        for index in range(first, last + 1):
            if counts[index]:
                buckets[index] = buckets.get(index, 0) + counts[index] * times
    finally:
        PyMem_Free(counts)
    return least, greatest, total
