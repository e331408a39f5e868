# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Many durations, or buckets, at once, for `wpsload.histogram`.

Each message of a load has its latency counted twice, and each second is looked through several
times. In Python that takes a tenth of the time of a message, and those that are due meanwhile wait
for a millisecond now and then. Built where there is a compiler.
"""

from cpython cimport array
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from libc.stdint cimport INT64_MAX, int64_t, uint32_t
from libc.string cimport memcpy

__all__ = ["add", "at_ranks", "count_all"]

cdef enum:
    MOST_BUCKETS = 8192  # up to an hour there are 4,600


cdef uint32_t upper_half(int64_t value) noexcept:
    """The octave and the bucket in it, see `wpsload.histogram`."""
    cdef float rounded = <float>value
    cdef uint32_t bits
    memcpy(&bits, &rounded, sizeof(bits))
    return bits >> 16


def count_all(
    array.array values_ns, dict buckets, int64_t times, int64_t limit_ns, int64_t exact_below
):
    """Add each of the values, of 64 bits, `times` times to the count of its bucket.

    Up to `exact_below` a bucket holds one value. Returns the least, the greatest and the sum of the
    values; None, and nothing is counted, if there is none or one is no number from 0 to `limit_ns`.
    """
    cdef uint32_t bias = upper_half(exact_below) - exact_below
    cdef int64_t least = INT64_MAX, greatest = -1, total = 0, value
    cdef uint32_t first, last, index
    cdef Py_ssize_t at
    cdef uint32_t *counts = <uint32_t *>PyMem_Calloc(MOST_BUCKETS, sizeof(uint32_t))
    if counts == NULL:
        raise MemoryError
    try:
        if values_ns.ob_descr.typecode != c"q" or upper_half(limit_ns) - bias >= MOST_BUCKETS:
            return None
        for at in range(len(values_ns)):
            value = values_ns.data.as_longlongs[at]
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


def add(dict buckets, dict more):
    """Add each count of `more`."""
    for index, count in more.items():
        buckets[index] = buckets.get(index, 0) + count


def at_ranks(dict buckets, list ranks):
    """The bucket of the value at each of `ranks`, ascending from 1 on; None beyond the last one."""
    cdef int64_t *counts = <int64_t *>PyMem_Calloc(MOST_BUCKETS, sizeof(int64_t))
    if counts == NULL:
        raise MemoryError
    cdef uint32_t index = 0
    cdef int64_t passed, wanted
    cdef list found = []
    try:
        for key, count in buckets.items():
            counts[<uint32_t>key % MOST_BUCKETS] = count
        passed = counts[0]
        for rank in ranks:
            wanted = rank
            while passed < wanted and index + 1 < MOST_BUCKETS:
                index += 1
                passed += counts[index]
            found.append(index if passed >= wanted else None)
    finally:
        PyMem_Free(counts)
    return found
