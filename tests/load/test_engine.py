"""The engine: everything happens at its time, in order, whatever becomes of the others."""

import subprocess
import sys
from itertools import islice

import gevent
import pytest
from gevent.event import Event
from serving import DEADLINE_S

from wpsload.clock import clock_ns
from wpsload.engine import ENGINE_NAMES, Engine, EngineName
from wpsload.units import NS_PER_MS, NS_PER_S


@pytest.fixture(params=ENGINE_NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """One of each name."""
    name: EngineName = request.param
    return Engine(gevent.get_hub(), name)


def test_things_happen_when_they_are_due(engine: Engine) -> None:
    """In the order of their times, whatever the order they were asked for, and never early."""
    done: list[tuple[int, int]] = []
    last = Event()
    start_ns = clock_ns()
    for number in (3, 1, 4, 2):
        due_ns = start_ns + number * 5 * NS_PER_MS
        engine.at(due_ns, lambda number=number: done.append((number, clock_ns())))  # type: ignore[misc]  # bound now
    engine.at(start_ns + 25 * NS_PER_MS, last.set)
    assert last.wait(DEADLINE_S)
    assert [number for number, _ in done] == [1, 2, 3, 4]
    assert all(at_ns >= start_ns + number * 5 * NS_PER_MS for number, at_ns in done)


def test_an_earlier_one_comes_first(engine: Engine) -> None:
    """Something due in an hour keeps nothing waiting that is asked for later."""
    is_late, is_soon = Event(), Event()
    late = engine.at(clock_ns() + 3600 * NS_PER_S, is_late.set)
    engine.at(clock_ns() + NS_PER_MS, is_soon.set)
    assert is_soon.wait(DEADLINE_S)
    assert not is_late.is_set()
    late.cancel()


def test_what_is_cancelled_does_not_happen(engine: Engine) -> None:
    """Not even if it is cancelled by another that is due in the same turn before it."""
    done = []
    last = Event()
    now_ns = clock_ns()
    entry = engine.at(now_ns + 5 * NS_PER_MS, lambda: done.append(1))
    engine.at(now_ns + NS_PER_MS, entry.cancel)
    engine.at(now_ns + 10 * NS_PER_MS, last.set)
    assert last.wait(DEADLINE_S)
    assert done == []


def test_an_act_may_ask_for_the_next(engine: Engine) -> None:
    """Which is how a schedule goes on; what is due at once comes after what is due already."""
    order: list[str] = []
    last = Event()

    def first() -> None:
        order.append("first")
        engine.at(0, third)

    def third() -> None:
        order.append("third")
        last.set()

    engine.at(0, first)
    engine.at(0, lambda: order.append("second"))
    assert last.wait(DEADLINE_S)
    assert order == ["first", "second", "third"]


@pytest.mark.parametrize("error", [ZeroDivisionError(), gevent.GreenletExit()])
def test_an_act_that_raises_keeps_no_other_from_happening(
    engine: Engine, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mistake is reported to gevent's hub; what is due with it, and after it, happens."""
    reported: list[BaseException] = []
    monkeypatch.setattr(engine.hub, "handle_error", lambda *told: reported.append(told[2]))
    both, later = Event(), Event()

    def fail() -> None:
        raise error

    engine.at(0, fail)
    engine.at(0, both.set)
    assert both.wait(DEADLINE_S)
    engine.at(clock_ns() + NS_PER_MS, later.set)
    assert later.wait(DEADLINE_S)
    assert reported == [error]


def test_soon_is_in_order(engine: Engine) -> None:
    """What is to happen when the loop turns happens in the order it was asked for."""
    done: list[int] = []
    last = Event()
    for number in range(3):
        engine.soon(done.append, number)
    engine.soon(last.set)
    assert last.wait(DEADLINE_S)
    assert done == [0, 1, 2]


def test_mask_keys_differ(engine: Engine) -> None:
    """Numbers of 32 bits from a strong source: none twice in a row, all bits used."""
    keys = list(islice(engine.mask_keys, 3000))
    assert len(set(keys)) > 2990
    ones = zeros = 0
    for key in keys:
        assert 0 <= key < 2**32
        ones |= key
        zeros |= ~key & 0xFFFFFFFF
    assert ones == zeros == 0xFFFFFFFF


def test_ticks_are_precise_where_the_system_can() -> None:
    """A timerfd is not rounded to gevent's milliseconds: half of a hundred are within 1 ms."""
    engine = Engine(gevent.get_hub(), "fast")
    late_ns: list[int] = []
    last = Event()
    start_ns = clock_ns()

    def note(due_ns: int) -> None:
        late_ns.append(clock_ns() - due_ns)
        if len(late_ns) == 100:
            last.set()

    for number in range(100):
        due_ns = start_ns + number * 700_001
        engine.at(due_ns, lambda due_ns=due_ns: note(due_ns))  # type: ignore[misc]  # bound now
    assert last.wait(DEADLINE_S)
    assert min(late_ns) >= 0
    assert sorted(late_ns)[50] < NS_PER_MS


@pytest.mark.parametrize("name", ENGINE_NAMES)
def test_a_process_that_forks_before_it_runs_has_its_own(name: EngineName) -> None:
    """Locust forks its workers before a run makes the engine; each has one that works."""
    program = f"""
import locust
import os
import gevent
from gevent.event import Event
from wpsload.engine import Engine
pid = os.fork()
engine = Engine(gevent.get_hub(), {name!r})
done = Event()
engine.at(engine.clock_ns() + 1_000_000, done.set)
assert done.wait({DEADLINE_S})
if pid:
    assert os.waitpid(pid, 0)[1] == 0
else:
    os._exit(0)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
