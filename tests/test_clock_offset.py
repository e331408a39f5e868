"""Offsets between clocks: the true one is within what is said, whatever the network did."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.clock_offset import DRIFT_PPM, ClockOffset, Exchange, Offsets, between

_HOUR_NS = 3600 * 10**9

delays_ns = st.integers(0, 10**9)


@given(
    offset_ns=st.integers(-(10**15), 10**15),
    drift_ppm=st.floats(-DRIFT_PPM, DRIFT_PPM),
    trips=st.lists(st.tuples(st.integers(0, _HOUR_NS), delays_ns, delays_ns), min_size=1),
    later_ns=st.integers(0, _HOUR_NS),
)
def test_the_truth_is_within_the_uncertainty(
    offset_ns: int, drift_ppm: float, trips: list[tuple[int, int, int]], later_ns: int
) -> None:
    """For any delays there and back, and clocks that drift apart no faster than is allowed for."""

    def other(now_ns: int) -> int:
        return offset_ns + now_ns + round(now_ns * drift_ppm / 1e6)

    offsets = Offsets()
    now_ns = 0
    for at_ns, there_ns, back_ns in sorted(trips):
        asked_ns = max(at_ns, now_ns)
        now_ns = asked_ns + there_ns + back_ns
        offsets.add(Exchange(asked_ns, other(asked_ns + there_ns), now_ns))
    now_ns += later_ns
    known = offsets.at(now_ns)
    assert known is not None
    truth_ns = other(now_ns) - now_ns
    # The reading drifts within the exchange too, by less than it does until now.
    drifted_ns = 2 * 10**9 * DRIFT_PPM // 10**6
    assert abs(known.offset_ns - truth_ns) <= known.uncertainty_ns + drifted_ns + 2


def test_the_shortest_round_trip_counts() -> None:
    """A slow exchange that comes later does not spoil a quick one."""
    offsets = Offsets()
    offsets.add(Exchange(1_000, 5_000 + 1_050, 1_100))
    offsets.add(Exchange(2_000, 5_000 + 2_000, 102_000))
    known = offsets.at(102_000)
    assert known is not None
    assert known.offset_ns == 5_000
    assert known.uncertainty_ns == 50 + 100_900 * DRIFT_PPM // 10**6


def test_an_old_exchange_gives_way() -> None:
    """As clocks drift, a longer round trip of today is worth more than a short one of long ago."""
    offsets = Offsets()
    offsets.add(Exchange(0, 50, 100))
    hour_ns = _HOUR_NS
    offsets.add(Exchange(hour_ns, hour_ns + 90_000, hour_ns + 200_000))
    known = offsets.at(hour_ns + 200_000)
    assert known is not None
    assert known.uncertainty_ns == 100_000
    assert known.offset_ns == -10_000


def test_two_that_know_a_third_know_each_other() -> None:
    """As two workers that both asked the master."""
    one, other = ClockOffset(1_000, 3), ClockOffset(400, 5)  # the third is ahead of each by that
    assert between(one, other) == ClockOffset(600, 8)


def test_nothing_is_known_at_first() -> None:
    """Before the first exchange there is no offset, not even zero."""
    assert Offsets().at(0) is None


def test_time_does_not_run_backwards() -> None:
    """An exchange that ends before it began is a mistake of the caller."""
    with pytest.raises(ValueError, match="before its question"):
        Offsets().add(Exchange(10, 0, 9))
