"""The phases of a run follow each other without a gap, however early it stops."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.phases import Mark, Phases


def test_the_phases_of_a_run() -> None:
    """Connecting, warm-up, a window of whole seconds at its start, and the drain."""
    phases = Phases(100.25, warm_up_s=2)
    assert phases.is_connecting
    assert phases.connected(101.5) == [Mark("warm-up", 102), Mark("window", 104)]
    assert not phases.is_connecting
    assert phases.stop(110.75) == [Mark("drain", 110)]
    phases.end(111.0)
    assert [(one.name, one.start_s, one.length_s) for one in phases.phases(999.0)] == [
        ("connect", 100.25, 1.25),
        ("warm-up", 101.5, 2.5),
        ("window", 104, 6.75),
        ("drain", 110.75, 0.25),
    ]


@pytest.mark.parametrize("stop_s", [101.0, 102.0, 103.5, 104.5])
def test_a_run_that_stops_early_has_no_window(stop_s: float) -> None:
    """Less than a second of it is none."""
    phases = Phases(100.0, warm_up_s=2)
    phases.connected(101.5)
    phases.stop(stop_s)
    names = [one.name for one in phases.phases(stop_s)]
    assert "window" not in names
    assert names[-1] == "drain"


@given(st.lists(st.floats(0, 50), min_size=4, max_size=4), st.floats(0, 20))
def test_phases_have_no_gap(moments_s: list[float], warm_up_s: float) -> None:
    """They cover the run from its start to its end."""
    start_s, connected_s, stop_s, end_s = sorted(moments_s)
    phases = Phases(start_s, warm_up_s=warm_up_s)
    phases.connected(connected_s)
    phases.stop(stop_s)
    phases.end(end_s)
    found = phases.phases(end_s)
    assert sum(one.length_s for one in found) == pytest.approx(end_s - start_s)
    for left, right in itertools.pairwise(found):
        assert left.start_s + left.length_s == pytest.approx(right.start_s)


def test_a_second_stop_changes_nothing() -> None:
    """Locust may ask twice."""
    phases = Phases(100.0, warm_up_s=0)
    phases.stop(105.0)
    assert phases.stop(107.0) == []
