"""A mergeable histogram of durations in integer nanoseconds with a stated error.

Buckets are log-linear, as in HdrHistogram: every octave (from a power of two to the next) is cut
into 128 equal buckets, so a value differs from the middle of its bucket by at most 1/256 of
itself, 0.4 %. Below 256 ns a bucket holds one value and there is no error at all. The count, the
sum, the least and the greatest value are exact.

Only buckets that hold something are stored: a histogram per metric and second is cheap.
"""

import struct
import sys
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import Any, Self

from wpsload.compiled import load
from wpsload.units import NS_PER_S

__all__ = ["LIMIT_NS", "QUANTILES", "RELATIVE_ERROR", "Histogram", "merged"]

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}
"""The quantiles of every report, by their name in it."""

_BITS = 7
_BUCKETS_PER_OCTAVE = 1 << _BITS

# The upper half of a number of 32 bits with floating point is its exponent and the first 7 bits
# behind it: the octave and the bucket in it. So the processor and C do what would take Python most
# of the time, for many values at once. Source: IEEE 754, binary32.
_UPPER_HALVES = slice(1, None, 2) if sys.byteorder == "little" else slice(0, None, 2)

RELATIVE_ERROR = 1 / (2 * _BUCKETS_PER_OCTAVE) + 2**-24
"""How far a quantile is from the true one at most, as a share of it: half a bucket, and what 32
bits round."""

LIMIT_NS = 3600 * NS_PER_S
"""One hour. Longer values are in the count, the sum and the greatest value, but in no bucket: a
quantile among them is the greatest value. It bounds a histogram to about 4,600 buckets."""

_compiled: Any = load("wpsload._buckets")
_SUPPORT = 10  # rally demands 1: then p99.9 of 1,000 samples is the whim of a single one


class Histogram:
    """Durations in nanoseconds, counted in buckets 0.8 % wide.

    `count` is the number of values, those beyond `LIMIT_NS` included; `overflow` the number of
    the latter; `sum_ns` the sum of all.
    """

    __slots__ = ("_buckets", "_max_ns", "_min_ns", "count", "overflow", "sum_ns")

    def __init__(self) -> None:
        self.count = 0
        self.overflow = 0
        self.sum_ns = 0
        self._min_ns = -1
        self._max_ns = -1
        # Plain numbers in a plain dict: the garbage collector has nothing to look at in it.
        self._buckets: dict[int, int] = {}

    @property
    def min_ns(self) -> int | None:
        """The least value, exactly; None if there is none."""
        return self._min_ns if self.count else None

    @property
    def max_ns(self) -> int | None:
        """The greatest value, exactly; None if there is none."""
        return self._max_ns if self.count else None

    def record(self, value_ns: int, count: int = 1) -> None:
        """Count a value, `count` (1 or more) times.

        Raises:
            ValueError: if the value is negative: two clocks were mixed.
        """
        self.record_all((value_ns,), count)

    def record_all(self, values_ns: Sequence[int], count: int = 1) -> None:
        """Count every value `count` times; for an array of 64 bits each at a fraction of the time.

        Raises:
            ValueError: if a value is negative; then none is counted.
        """
        if not values_ns:
            return
        counted = None
        if isinstance(values_ns, array) and _compiled is not None:
            counted = _compiled.count_all(
                values_ns, self._buckets, count, LIMIT_NS, _BUCKETS_PER_OCTAVE
            )  # None if they are not like most
        least_ns, greatest_ns, sum_ns = counted or self._count_all(values_ns, count)
        if least_ns < self._min_ns or not self.count:
            self._min_ns = least_ns
        self._max_ns = max(self._max_ns, greatest_ns)
        self.count += len(values_ns) * count
        self.sum_ns += sum_ns * count

    def _count_all(self, values_ns: Sequence[int], count: int) -> tuple[int, int, int]:
        """Add them to their buckets; the least, the greatest, and the sum of them."""
        least_ns, greatest_ns, sum_ns = min(values_ns), max(values_ns), sum(values_ns)
        if least_ns < 0:
            raise ValueError(f"a duration cannot be negative: {least_ns} ns")
        if greatest_ns > LIMIT_NS:
            within = [value_ns for value_ns in values_ns if value_ns <= LIMIT_NS]
            self.overflow += (len(values_ns) - len(within)) * count
            values_ns = within
        buckets = self._buckets
        for half, times in Counter(_upper_halves(values_ns)).items():
            index = half - _BIAS if half >= _FIRST_OCTAVE else _EXACT[half]
            buckets[index] = buckets.get(index, 0) + times * count
        return least_ns, greatest_ns, sum_ns

    def values(self) -> Iterator[tuple[int, int]]:
        """Nanoseconds and how many values they stand for, each within `RELATIVE_ERROR` of them.

        In no order, and never outside of the least and the greatest value. Values beyond
        `LIMIT_NS` come as the greatest one.
        """
        least_ns, greatest_ns = self._min_ns, self._max_ns
        for index, count in self._buckets.items():
            value_ns = _middle_ns(index)
            # `min` and `max` would be calls, for each of hundreds of buckets, many times a second.
            if value_ns < least_ns:
                value_ns = least_ns
            elif value_ns > greatest_ns:
                value_ns = greatest_ns
            yield value_ns, count
        if self.overflow:
            yield self._max_ns, self.overflow

    def quantile(self, q: float) -> int | None:
        """Nanoseconds that a share `q` (0 to 1) of the values do not exceed; None without values.

        By nearest rank: the value that stands at place ceil(q · count) once they are sorted,
        within `RELATIVE_ERROR`, and never outside of the least and the greatest value.

        Raises:
            ValueError: if `q` is not within 0 and 1.
        """
        return self.quantiles((q,))[0]

    def quantiles(self, shares: Iterable[float]) -> list[int | None]:
        """`quantile` for each of `shares`; the values are sorted only once.

        Raises:
            ValueError: if one of them is not within 0 and 1.
        """
        ranks = []
        for q in shares:
            if not 0 <= q <= 1:
                raise ValueError(f"a quantile lies within 0 and 1, not at {q}")
            ranks.append(_rank(q, self.count))
        if not self.count:
            return [None] * len(ranks)
        ascending = sorted(ranks)
        indexes = dict(zip(ascending, _at_ranks(self._buckets, ascending), strict=True))
        found: list[int | None] = []
        for rank in ranks:
            index = indexes[rank]
            if rank <= 1:
                found.append(self._min_ns)
            elif index is None:
                found.append(self._max_ns)
            else:
                found.append(min(max(_middle_ns(index), self._min_ns), self._max_ns))
        return found

    def supported_quantile(self, q: float) -> int | None:
        """As `quantile`, but None also if fewer than 10 values lie beyond it.

        The whole of a run is reported by it: p50 takes 20 values, p99.9 takes 10,000.
        """
        is_supported = self.count - _rank(q, self.count) >= _SUPPORT
        return self.quantile(q) if is_supported else None

    def include(self, other: "Histogram") -> None:
        """Count the values of another histogram as well."""
        if not other.count:
            return
        self._min_ns = min(self._min_ns, other._min_ns) if self.count else other._min_ns
        self._max_ns = max(self._max_ns, other._max_ns)
        self.count += other.count
        self.overflow += other.overflow
        self.sum_ns += other.sum_ns
        buckets = self._buckets
        if not buckets:
            buckets.update(other._buckets)  # a copy, many times faster than a loop
            return
        _add(buckets, other._buckets)

    def to_dict(self) -> dict[str, Any]:
        """The histogram as values of msgpack and JSON.

        The keys are `buckets_per_octave`, `indexes` (ascending) and `counts` of the buckets in two
        lists of one length, `overflow`, `min_ns`, `max_ns` (None without values) and `sum`, which
        is in whole seconds and the nanoseconds left, as it can outgrow the 64 bits of msgpack.
        """
        indexes = sorted(self._buckets)
        return {
            "buckets_per_octave": _BUCKETS_PER_OCTAVE,
            "indexes": indexes,
            "counts": [self._buckets[index] for index in indexes],
            "overflow": self.overflow,
            "min_ns": self.min_ns,
            "max_ns": self.max_ns,
            "sum": list(divmod(self.sum_ns, NS_PER_S)),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The histogram that `to_dict` was called on.

        Raises:
            ValueError: if its buckets are not ours.
        """
        if data["buckets_per_octave"] != _BUCKETS_PER_OCTAVE:
            raise ValueError(
                f"histogram has {data['buckets_per_octave']} buckets per octave,"
                f" expected {_BUCKETS_PER_OCTAVE}"
            )
        histogram = cls()
        histogram._buckets.update(zip(data["indexes"], data["counts"], strict=True))
        histogram.overflow = data["overflow"]
        histogram.count = sum(data["counts"]) + histogram.overflow
        if histogram.count:
            histogram._min_ns = data["min_ns"]
            histogram._max_ns = data["max_ns"]
        whole_s, rest_ns = data["sum"]
        histogram.sum_ns = whole_s * NS_PER_S + rest_ns
        return histogram

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # values are added: it cannot be a key

    def __repr__(self) -> str:
        return f"<Histogram count={self.count} min_ns={self.min_ns} max_ns={self.max_ns}>"


def _add_in_python(buckets: dict[int, int], more: Mapping[int, int]) -> None:
    for index, count in more.items():
        buckets[index] = buckets.get(index, 0) + count


def _at_ranks_in_python(buckets: Mapping[int, int], ranks: Sequence[int]) -> list[int | None]:
    """The bucket of the value at each of `ranks`, ascending; None beyond the last one."""
    indexes = sorted(buckets)
    passed = list(accumulate(map(buckets.__getitem__, indexes)))
    places = (bisect_left(passed, rank) for rank in ranks)
    return [indexes[place] if place < len(indexes) else None for place in places]


_add, _at_ranks = _add_in_python, _at_ranks_in_python
if _compiled is not None:
    _add, _at_ranks = _compiled.add, _compiled.at_ranks  # the same, see there


def _upper_halves(values_ns: Sequence[int]) -> Sequence[int]:
    packed = struct.pack(f"{len(values_ns)}f", *values_ns)
    return memoryview(packed).cast("H")[_UPPER_HALVES]


_EXACT = {_upper_halves((value,))[0]: value for value in range(_BUCKETS_PER_OCTAVE)}
_FIRST_OCTAVE = _upper_halves((_BUCKETS_PER_OCTAVE,))[0]
_BIAS = _FIRST_OCTAVE - _BUCKETS_PER_OCTAVE


def merged(parts: Iterable[Histogram]) -> Histogram:
    """Counts of all, as if each value had been recorded in one. Associative, commutative."""
    whole = Histogram()
    for one in parts:
        whole.include(one)
    return whole


def _rank(q: float, count: int) -> int:
    """ceil(q · count)."""
    numerator, denominator = _as_written(q)
    return -(-numerator * count // denominator)


@lru_cache
def _as_written(q: float) -> tuple[int, int]:
    # In floats 0.07 * 100 is a little more than 7.
    return Fraction(str(q)).as_integer_ratio()


@lru_cache(8192)  # all there are
def _middle_ns(index: int) -> int:
    """The middle of a bucket: the one value that is near to all in it."""
    octave = index >> _BITS
    if octave <= 1:
        return index
    shift = octave - 1
    return ((index - (shift << _BITS)) << shift) + (1 << (shift - 1))
