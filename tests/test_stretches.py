"""Phases and their parts add up to the run, whatever order things come in."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from wpsload.stretches import MOST_SLICES, Stretches


class Seen:
    """The seconds that were counted."""

    def __init__(self, *seconds: int) -> None:
        self.seconds = list(seconds)

    def include(self, other: "Seen") -> None:
        """Those of both."""
        self.seconds += other.seconds


def stretches(window: int, end: int, seconds: list[int]) -> Stretches[Seen]:
    """Connecting from second 100 on, then a window, then a drain."""
    made = Stretches(Seen)
    made.mark("connect", 100)
    made.mark("window", window)
    for second in seconds:
        made.add(second, Seen(second))
    made.mark("drain", end)
    return made


@given(st.integers(101, 120), st.integers(1, 3000), st.integers(1, 9))
def test_parts_are_of_equal_length_and_complete(window: int, length: int, into: int) -> None:
    """No second is in two of them, none is missing, and each part has its own."""
    end = window + length
    made = stretches(window, end, list(range(100, end)))
    parts = list(made.parts(100, end, cut="window", into=into))
    assert [second for one in parts for second in sorted(one.held.seconds)] == list(range(100, end))
    for one in parts:
        assert sorted(one.held.seconds) == list(range(one.first, one.after))
    windows = [one.after - one.first for one in parts if one.phase == "window"]
    assert len(windows) == min(into, length)
    assert max(windows) - min(windows) <= 2 * (2 * length // MOST_SLICES + 1)


def test_memory_does_not_grow_with_the_length() -> None:
    """An hour has as many slices as some minutes."""
    made = stretches(101, 10**6, list(range(101, 7300)))
    assert all(len(one.slices) <= MOST_SLICES for one in made._phases)


def test_what_comes_late_is_in_its_phase() -> None:
    """As a report of a worker does, after the seconds around it."""
    made = stretches(110, 120, [105, 125, 112, 101])
    parts = {one.phase: one.held.seconds for one in made.parts(100, 126, cut="", into=1)}
    assert parts.keys() == {"connect", "window", "drain"}
    assert sorted(itertools.chain(*parts.values())) == [101, 105, 112, 125]
    assert parts["connect"] == [105, 101]


def test_a_phase_that_never_began_is_none() -> None:
    """The run stopped before its window."""
    made = stretches(110, 105, [100, 101])
    assert [one.phase for one in made.parts(100, 106, cut="window", into=5)] == ["connect", "drain"]
