"""A ladder is read as it is written, senders are spread evenly, and a climb goes rung by rung."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.errors import ConfigError
from wpsload.ladder import Climb, Pace, Stage, Step, Timing, View, default_ladder, parse_ladder

TIMING = Timing(connect_s=10, settle_s=2, measure_s=5, drain_s=3)
STEPS = (Step(10, 10.0), Step(20, 20.0))


def view(now_s: float, *, ready: int = 100, is_idle: bool = True, told_s: float = 1e9) -> View:
    """A run that lacks nothing, unless told otherwise."""
    return View(now_s=now_s, ready=ready, is_idle=is_idle, told_until_s=told_s)


def test_rungs_are_connections_and_messages_a_second() -> None:
    """Spaces do not matter, and a rate may have a fraction."""
    assert parse_ladder("100@20/s, 200@40.5/s") == (Step(100, 20.0), Step(200, 40.5))
    assert str(Step(200, 40.5)) == "200@40.5/s"


@pytest.mark.parametrize("text", ["", "100", "100@20", "0@20/s", "100@0/s", "100@20/s,", "a@b/s"])
def test_what_is_no_rung_is_refused(text: str) -> None:
    """The error shows how a rung is written."""
    with pytest.raises(ConfigError, match="is no rung"):
        parse_ladder(text)


@pytest.mark.parametrize("text", ["100@20/s,50@40/s", "100@20/s,200@10/s"])
def test_a_ladder_never_goes_down(text: str) -> None:
    """Neither in connections nor in messages."""
    with pytest.raises(ConfigError, match="goes down"):
        parse_ladder(text)


@pytest.mark.parametrize("units", [1, 5])
def test_the_default_is_around_what_the_guide_says(units: int) -> None:
    """What it publishes is a rung, with some below and some beyond it."""
    steps = default_ladder(units)
    assert parse_ladder(",".join(map(str, steps))) == steps
    at = steps.index(Step(1000 * units, 200.0 * units))
    assert 0 < at < len(steps) - 1
    assert max(step.connections for step in steps) == 1000 * units


@given(st.integers(1, 3000), st.floats(0.1, 10_000), st.sampled_from([0.1, 1.0, 5.0]))
def test_senders_offer_the_rate_of_the_rung(
    connections: int, in_per_s: float, interval_s: float
) -> None:
    """As many as it takes send that often; if all are too few, each sends more often."""
    pace = Pace.of(1, Step(connections, in_per_s), interval_s, is_sending=True, is_measured=False)
    senders = [number for number in range(connections + 5) if pace.sends(number)]
    assert len(senders) == pace.senders
    assert max(senders) < connections
    assert len(senders) / pace.every_s == pytest.approx(in_per_s)
    # One sender more than would do at that interval takes a little longer.
    assert len(senders) == 1 or pace.every_s < 2 * interval_s * (1 + 1e-9)


@given(st.integers(1, 300), st.integers(1, 300))
def test_senders_are_spread_evenly(groups: int, wanted: int) -> None:
    """No group of ten has two more senders than another."""
    connections = 10 * groups
    pace = Pace.of(1, Step(connections, float(wanted)), 1.0, is_sending=True, is_measured=False)
    counts = [sum(map(pace.sends, range(first, first + 10))) for first in range(0, connections, 10)]
    assert max(counts) - min(counts) <= 1


def test_nobody_sends_between_rungs() -> None:
    """Then whatever is under way arrives."""
    pace = Pace.of(1, STEPS[0], 1.0, is_sending=False, is_measured=False)
    assert not any(map(pace.sends, range(10)))


def stages(climb: Climb, *views: View) -> list[Stage | None]:
    """What begins at each look."""
    return [climb.look(one) for one in views]


def test_a_rung_has_its_parts() -> None:
    """Connecting ends when all are there; the window has whole seconds."""
    climb = Climb(STEPS, TIMING, now_s=100.0)
    assert stages(
        climb,
        *(view(101.2, ready=9), view(102.2), view(104.1), view(104.2), view(109.5)),
        *(view(110.2), view(111.2, is_idle=False), view(112.2)),
    ) == [
        *(None, Stage.SETTLE, None, Stage.MEASURE, None),
        *(Stage.DRAIN, None, Stage.JUDGE),
    ]
    assert math.ceil(104.2) + TIMING.measure_s == 110


def test_it_goes_on_until_a_rung_misses_or_is_the_last() -> None:
    """The last one ends it, whether it held or not."""
    for holds, ended_on in (((False,), 1), ((True, False), 2), ((True, True), 2)):
        climb = Climb(STEPS, TIMING, now_s=0.0)
        for has_held in holds:
            assert climb.stage is Stage.CONNECT
            climb.judged(1.0, has_held=has_held)
        assert (climb.stage, climb.rung) == (Stage.OVER, ended_on)


def test_connections_that_never_come_do_not_stop_the_climb() -> None:
    """The load begins without them, and the rung will have missed."""
    climb = Climb(STEPS, TIMING, now_s=0.0)
    assert stages(climb, view(9.9, ready=9), view(10.0, ready=9)) == [None, Stage.SETTLE]


def test_what_never_comes_is_waited_for_no_longer_than_the_drain() -> None:
    """What is still under way then is lost."""
    climb = Climb(STEPS, TIMING, now_s=0.0)
    stages(climb, view(1.0), view(3.0), view(8.0))
    assert climb.stage is Stage.DRAIN
    assert stages(climb, view(10.9, is_idle=False), view(11.0, is_idle=False)) == [
        None,
        Stage.JUDGE,
    ]


def test_a_rung_is_judged_when_all_have_told() -> None:
    """Or when one that is lost has been waited for long enough."""
    climb = Climb(STEPS, TIMING, now_s=0.0)
    stages(climb, view(1.0), view(3.0), view(8.0), view(9.0))
    assert climb.stage is Stage.JUDGE
    assert not climb.is_told(view(10.0, told_s=8.9))
    assert climb.is_told(view(10.0, told_s=9.1))
    assert climb.is_told(view(20.0, told_s=8.9))
