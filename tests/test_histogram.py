"""The histogram keeps its stated error, loses nothing, and merges like one."""

import json
import math
from array import array
from fractions import Fraction
from typing import Any

import msgpack  # type: ignore[import-untyped]  # has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload import histogram
from wpsload.histogram import LIMIT_NS, QUANTILES, RELATIVE_ERROR, Histogram, merged

ANY_QUANTILE = st.sampled_from([0.0, 0.07, 0.5, 0.9, 0.99, 0.999, 1.0])

# Magnitudes are equally likely, so that every octave is met.
DURATIONS = st.integers(0, 41).flatmap(lambda bits: st.integers(0, 2**bits))
BEYOND = st.integers(LIMIT_NS + 1, 2**63)
VALUES = st.lists(st.one_of(DURATIONS, BEYOND))


def histogram_of(values: list[int]) -> Histogram:
    """A histogram of these values."""
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    return histogram


def nearest_rank(values: list[int], q: float) -> int:
    """The definition, in the open."""
    return sorted(values)[max(1, math.ceil(Fraction(str(q)) * len(values))) - 1]


@given(st.lists(DURATIONS, min_size=1), ANY_QUANTILE)
def test_quantile_is_within_the_stated_error(values: list[int], q: float) -> None:
    """Against a sorted list, no quantile is off by more than 0.4 %."""
    truth = nearest_rank(values, q)
    found = histogram_of(values).quantile(q)
    assert found is not None
    assert abs(found - truth) <= truth * RELATIVE_ERROR


def test_error_is_at_most_one_percent() -> None:
    """What is promised to readers of reports."""
    assert 1 / 256 < RELATIVE_ERROR < 1.001 / 256


@given(st.integers(0, 255), ANY_QUANTILE)
def test_shortest_durations_are_exact(value: int, q: float) -> None:
    """Below 256 ns every value has a bucket of its own."""
    assert histogram_of([value, value]).quantile(q) == value


@pytest.mark.parametrize("value", [255, 256, 257, 511, 512, 513, 1_000, 370_000, LIMIT_NS])
def test_bucket_edges(value: int) -> None:
    """A value among others keeps its error on both sides of an edge between octaves."""
    found = histogram_of([0, value, value, 2 * LIMIT_NS]).quantile(0.5)
    assert found is not None
    assert abs(found - value) <= value * RELATIVE_ERROR


@given(VALUES, st.lists(ANY_QUANTILE))
def test_many_quantiles_are_as_each_alone(values: list[int], shares: list[float]) -> None:
    """The sorting is shared, and nothing else."""
    histogram = histogram_of(values)
    assert histogram.quantiles(shares) == [histogram.quantile(q) for q in shares]


@given(VALUES, st.integers(1, 5))
def test_values_can_count_several_times(values: list[int], count: int) -> None:
    """All of them at once, or each by itself."""
    histogram = Histogram()
    histogram.record_all(values, count)
    assert histogram == histogram_of([value for value in values for _ in range(count)])


@given(VALUES)
def test_count_sum_and_extremes_are_exact(values: list[int]) -> None:
    """They come from the values, not from the buckets."""
    histogram = histogram_of(values)
    assert histogram.count == len(values)
    assert histogram.sum_ns == sum(values)
    assert histogram.min_ns == min(values, default=None)
    assert histogram.max_ns == max(values, default=None)


@given(VALUES, ANY_QUANTILE)
def test_quantile_stays_within_the_extremes(values: list[int], q: float) -> None:
    """The middle of a bucket may lie beyond the values in it; a quantile never does."""
    found = histogram_of(values).quantile(q)
    assert (found is None) == (not values)
    if found is not None:
        assert min(values) <= found <= max(values)


def test_hundred_values_have_a_seventh_percent() -> None:
    """The rank is that of the decimal: in floats 0.07 * 100 is more than 7."""
    assert histogram_of(list(range(1, 101))).quantile(0.07) == 7


@pytest.mark.parametrize(
    ("name", "needed"), [("p50", 20), ("p90", 100), ("p99", 1_000), ("p99.9", 10_000)]
)
def test_quantile_is_supported_by_ten_values_beyond_it(name: str, needed: int) -> None:
    """One value fewer and there is none to report."""
    histogram = Histogram()
    histogram.record(7, needed - 1)
    assert histogram.supported_quantile(QUANTILES[name]) is None
    histogram.record(7)
    assert histogram.supported_quantile(QUANTILES[name]) == 7


def test_empty_histogram_supports_no_quantile() -> None:
    """No data is not zero."""
    assert Histogram().supported_quantile(0.5) is None


def test_overflow_is_counted_and_not_lost() -> None:
    """What exceeds the limit stays in the count, and is the greatest value to a quantile."""
    histogram = histogram_of([1_000, LIMIT_NS + 1, LIMIT_NS + 7])
    assert histogram.overflow == 2
    assert histogram.count == 3
    assert histogram.quantile(0.6) == LIMIT_NS + 7


def test_longest_duration_within_the_limit_is_in_a_bucket() -> None:
    """The limit itself is no overflow."""
    assert histogram_of([LIMIT_NS]).overflow == 0


def test_number_of_buckets_is_bounded() -> None:
    """However long a run, a histogram stays small."""
    histogram = Histogram()
    for shift in range(42):
        for step in range(300):
            histogram.record(min((1 << shift) + ((step << shift) // 300), 2 * LIMIT_NS))
    assert len(histogram.to_dict()["indexes"]) <= 4_600


@given(st.integers(0, 2**63), st.integers(1, 1_000))
def test_recording_many_at_once(value: int, count: int) -> None:
    """A count is the same as as many calls."""
    at_once = Histogram()
    at_once.record(value, count)
    assert at_once == histogram_of([value] * count)


@given(VALUES, VALUES)
def test_recording_a_list_is_recording_each(before: list[int], values: list[int]) -> None:
    """Whatever was there already, and whether or not some values exceed the limit."""
    at_once = histogram_of(before)
    at_once.record_all(values)
    assert at_once == histogram_of(before + values)
    assert at_once.count == len(before + values)


@pytest.mark.parametrize("kind", ["q", "i", "H"])
def test_recording_an_array_is_recording_each(kind: str) -> None:
    """Of whatever size its numbers are."""
    at_once = Histogram()
    at_once.record_all(array(kind, [7, 300, 65_535]))
    assert at_once == histogram_of([7, 300, 65_535])


def test_list_with_a_negative_duration_is_refused_whole() -> None:
    """Half a batch would be neither lost nor counted."""
    histogram = histogram_of([7])
    with pytest.raises(ValueError, match="negative: -1 ns"):
        histogram.record_all([5, -1])
    assert histogram == histogram_of([7])


@given(st.lists(st.one_of(DURATIONS, st.just(LIMIT_NS + 7))))
def test_values_stand_for_all_that_was_recorded(values: list[int]) -> None:
    """Each for as many as are near to it, in the order of the values once both are sorted."""
    told = [value for value, count in histogram_of(values).values() for _ in range(count)]
    for value, truth in zip(sorted(told), sorted(values), strict=True):
        assert abs(value - truth) <= truth * RELATIVE_ERROR
        assert min(values) <= value <= max(values)


def test_negative_durations_are_refused() -> None:
    """They mean that two clocks were mixed, and would poison the sum."""
    with pytest.raises(ValueError, match="negative: -1 ns"):
        Histogram().record(-1)


@pytest.mark.parametrize("q", [-0.1, 1.1, 99.0])
def test_quantile_outside_of_its_range_is_refused(q: float) -> None:
    """99 is a percentile, not a quantile."""
    with pytest.raises(ValueError, match="within 0 and 1"):
        Histogram().quantile(q)


@given(VALUES, VALUES)
def test_merge_is_recording_in_one(left: list[int], right: list[int]) -> None:
    """Merged histograms are the histogram of all values."""
    assert merged([histogram_of(left), histogram_of(right)]) == histogram_of(left + right)


@given(VALUES, VALUES)
def test_merge_is_commutative(left: list[int], right: list[int]) -> None:
    """The order of workers does not matter."""
    assert merged([histogram_of(left), histogram_of(right)]) == merged(
        [histogram_of(right), histogram_of(left)]
    )


@given(VALUES, VALUES, VALUES)
def test_merge_is_associative(one: list[int], two: list[int], three: list[int]) -> None:
    """Nor does the order of their reports."""
    a, b, c = histogram_of(one), histogram_of(two), histogram_of(three)
    assert merged([merged([a, b]), c]) == merged([a, merged([b, c])]) == merged([a, b, c])


@given(VALUES)
def test_merge_leaves_its_arguments_alone(values: list[int]) -> None:
    """Both can be merged again."""
    left, right = histogram_of(values), histogram_of(values)
    merged([left, right]).record(5)
    assert left == right == histogram_of(values)


@given(VALUES)
def test_round_trip_through_msgpack_and_json(values: list[int]) -> None:
    """The wire to the master and a file both give the histogram back."""
    histogram = histogram_of(values)
    for data in (
        msgpack.unpackb(msgpack.packb(histogram.to_dict())),
        json.loads(json.dumps(histogram.to_dict())),
    ):
        again = Histogram.from_dict(data)
        assert again == histogram
        assert again.count == histogram.count


def test_other_buckets_are_refused() -> None:
    """Indexes of another resolution would be read as other durations."""
    data = Histogram().to_dict() | {"buckets_per_octave": 64}
    with pytest.raises(ValueError, match="64 buckets per octave, expected 128"):
        Histogram.from_dict(data)


def test_histograms_differ_from_other_things() -> None:
    """Equality is about counts."""
    assert Histogram() != 0
    assert histogram_of([1]) != histogram_of([2])


def test_repr_tells_the_size() -> None:
    """What a failing test shows."""
    assert repr(histogram_of([3, 5])) == "<Histogram count=2 min_ns=3 max_ns=5>"


@given(
    values_ns=st.lists(
        st.integers(0, 2**45) | st.integers(0, 300) | st.sampled_from([-1, LIMIT_NS, LIMIT_NS + 1]),
        max_size=60,
    ),
    more_ns=st.lists(st.integers(0, 2**40), max_size=20),
    times=st.integers(1, 3),
)
def test_compiled_it_is_the_same(values_ns: list[int], more_ns: list[int], times: int) -> None:
    """Whether the values are counted by the compiled module, where there is one, or in Python."""
    told: list[tuple[str, dict[str, Any], list[int | None]]] = []
    compiled = histogram._compiled, histogram._add, histogram._at_ranks
    for parts in (compiled, (None, histogram._add_in_python, histogram._at_ranks_in_python)):
        with pytest.MonkeyPatch.context() as patch:
            for name, part in zip(("_compiled", "_add", "_at_ranks"), parts, strict=True):
                patch.setattr(histogram, name, part)
            one, other = Histogram(), Histogram()
            other.record_all(array("q", more_ns))
            try:
                one.record_all(array("q", values_ns), times)
            except ValueError as error:
                told.append((str(error), one.to_dict(), []))
                continue
            one.include(other)
            told.append(("", one.to_dict(), one.quantiles((0, 0.5, 0.9, 0.99, 1))))
    assert told[0] == told[1]
