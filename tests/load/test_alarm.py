"""Both alarms: never before their time, once for each time they are set, and on time."""

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event
from serving import DEADLINE_S

from wpsload.alarm import Alarm, LoopAlarm, TimerfdAlarm, has_timerfd
from wpsload.clock import clock_ns
from wpsload.poller import EpollPoller
from wpsload.turn import Turn
from wpsload.units import NS_PER_MS, NS_PER_S


class Bell:
    """Notes when it rings."""

    def __init__(self) -> None:
        self.rung_ns: list[int] = []
        self.rung = Event()

    def ring(self) -> None:
        """The alarm's call."""
        self.rung_ns.append(clock_ns())
        self.rung.set()


def timerfd_alarm(ring: Callable[[], None]) -> Alarm:
    """One behind an epoll of its own."""
    return TimerfdAlarm(EpollPoller(gevent.get_hub(), Turn(gevent.get_hub(), clock_ns)), ring)


def loop_alarm(ring: Callable[[], None]) -> Alarm:
    """One of the event loop."""
    return LoopAlarm(gevent.get_hub().loop, ring)


@pytest.fixture(
    params=[
        pytest.param(
            timerfd_alarm,
            marks=pytest.mark.skipif(not has_timerfd(), reason="this system has no timerfd"),
        ),
        loop_alarm,
    ]
)
def make(request: pytest.FixtureRequest) -> Callable[[Callable[[], None]], Alarm]:
    """Makes an alarm of either kind."""
    made: Callable[[Callable[[], None]], Alarm] = request.param
    return made


def set_in(alarm: Alarm, wait_ns: int) -> int:
    """Set it to ring after `wait_ns`; when that is."""
    now_ns = clock_ns()
    alarm.set(now_ns + wait_ns, now_ns)
    return now_ns + wait_ns


@pytest.mark.parametrize("wait_ns", [100_000, 1_500_000, 30 * NS_PER_MS])
def test_it_rings_not_before_its_time(
    make: Callable[[Callable[[], None]], Alarm], wait_ns: int
) -> None:
    """What is due must be due when it rings, or whoever looks finds nothing to do."""
    bell = Bell()
    alarm = make(bell.ring)
    for _ in range(5):
        bell.rung.clear()
        due_ns = set_in(alarm, wait_ns)
        assert bell.rung.wait(DEADLINE_S)
        assert bell.rung_ns[-1] >= due_ns
    assert len(bell.rung_ns) == 5


@pytest.mark.parametrize("past_ns", [0, 1, NS_PER_S, pytest.param(clock_ns(), id="boot")])
def test_what_is_past_due_rings_at_once(
    make: Callable[[Callable[[], None]], Alarm], past_ns: int
) -> None:
    """Late is not never: a time that has gone by, even that of the boot, rings."""
    bell = Bell()
    alarm = make(bell.ring)
    set_in(alarm, -past_ns)
    assert bell.rung.wait(DEADLINE_S)
    assert len(bell.rung_ns) == 1


@pytest.mark.parametrize(("first_ns", "second_ns"), [(NS_PER_S * 3600, 1), (NS_PER_MS, 10**8)])
def test_setting_it_anew_replaces(
    make: Callable[[Callable[[], None]], Alarm], first_ns: int, second_ns: int
) -> None:
    """There is one time; the one before is forgotten, be it earlier or later."""
    bell = Bell()
    alarm = make(bell.ring)
    set_in(alarm, first_ns)
    due_ns = set_in(alarm, second_ns)
    assert bell.rung.wait(DEADLINE_S)
    assert bell.rung_ns[0] >= due_ns
    gevent.Greenlet.spawn_later(0.02, int).join()
    assert len(bell.rung_ns) == 1


def test_it_may_be_set_while_it_rings(make: Callable[[Callable[[], None]], Alarm]) -> None:
    """Which is how the next thing that is due gets its turn."""
    bell = Bell()
    rounds = iter(range(3))

    def again() -> None:
        if next(rounds) < 2:
            set_in(alarm, NS_PER_MS)
        else:
            bell.ring()

    alarm = make(again)
    set_in(alarm, NS_PER_MS)
    assert bell.rung.wait(DEADLINE_S)


def test_what_is_due_within_the_turn_rings_until_it_has_come(
    make: Callable[[Callable[[], None]], Alarm],
) -> None:
    """Set from within, it may be early, but not the last time, and it ends when it is not set."""
    bell = Bell()
    due_ns = 0

    def again() -> None:
        nonlocal due_ns
        bell.rung_ns.append(clock_ns())
        if not due_ns:
            due_ns = set_in(alarm, 15_000)
        elif clock_ns() < due_ns:
            alarm.set(due_ns, clock_ns())
        else:
            bell.rung.set()

    alarm = make(again)
    set_in(alarm, NS_PER_MS)
    assert bell.rung.wait(DEADLINE_S)
    rung = len(bell.rung_ns)
    assert bell.rung_ns[-1] >= due_ns
    gevent.Greenlet.spawn_later(0.02, int).join()
    assert len(bell.rung_ns) == rung


def test_a_ring_that_was_replaced_in_the_same_turn_is_not_heard(
    make: Callable[[Callable[[], None]], Alarm],
) -> None:
    """Its time had come, but before the loop got to it, it was set to another."""
    bell = Bell()
    alarm = make(bell.ring)
    due_ns = set_in(alarm, 1_000)
    while clock_ns() < due_ns + NS_PER_MS:
        pass  # the loop does not turn meanwhile
    due_ns = set_in(alarm, 20 * NS_PER_MS)
    assert bell.rung.wait(DEADLINE_S)
    assert bell.rung_ns[0] >= due_ns
