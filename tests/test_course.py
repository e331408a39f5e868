"""A long run has as many points as a short one, and each says what its seconds had."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording import START, record_of

from wpsload.record import Record, Series
from wpsload.recorder import Recorder
from wpsload.reports.course import MOST_POINTS, course_of


def lasting(length_s: int) -> Record:
    """The record of a run of so many seconds."""
    seconds = list(range(START, START + length_s))
    series = Series(second=seconds, users=[None] * length_s)
    return record_of(Recorder(), series=series)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=3 * MOST_POINTS))
def test_means_add_up(column: list[int]) -> None:
    """Over their seconds, the last point's being as many as there are left."""
    course = course_of(lasting(len(column)))
    assert course is not None
    means = course.mean(column)
    assert len(means) == len(course.starts_s) <= MOST_POINTS
    ends_s = [*course.starts_s[1:], len(column)]
    lengths_s = [end_s - start_s for start_s, end_s in zip(course.starts_s, ends_s, strict=True)]
    total = sum(mean * length_s for mean, length_s in zip(means, lengths_s, strict=True))
    assert total == pytest.approx(sum(column))


@pytest.mark.parametrize(
    ("length_s", "every_s"), [(1, 1), (240, 1), (241, 2), (86_400, 600), (10_000_000, 41_667)]
)
def test_a_point_is_of_round_seconds(length_s: int, every_s: int) -> None:
    """As few as there can be, up to a quarter of a year."""
    course = course_of(lasting(length_s))
    assert course is not None
    assert course.every_s == every_s


def test_the_worst_second_stands_for_all() -> None:
    """A second without a sample counts for nothing, and several of them are a gap."""
    course = course_of(lasting(2 * MOST_POINTS))
    assert course is not None
    column = [5, 7, None, 3, None, None, *[1] * (2 * MOST_POINTS - 6)]
    assert course.greatest(column)[:4] == [7, 3, None, 1]


def test_without_seconds_there_is_no_course() -> None:
    """A run that measured nothing."""
    assert course_of(lasting(0)) is None
