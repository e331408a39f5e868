"""Self-measurement: what is provoked is found, in the right place."""

import gc
import os
import socket
import time
from array import array

import gevent
import pytest
from gevent.event import Event
from serving import DEADLINE_S

from wpsload.clock import clock_ns
from wpsload.engine import Engine
from wpsload.selfcheck import BEAT_NS, SelfCheck
from wpsload.stream import Stream
from wpsload.units import NS_PER_MS, NS_PER_S, seconds
from wpsload.verdict import SelfMeasurement

BLOCKED_NS = 200 * NS_PER_MS
is_linux = pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="needs /proc")


class Bench:
    """A self-check of an engine of its own."""

    def __init__(self) -> None:
        self.engine = Engine(gevent.get_hub())
        self.told: list[SelfMeasurement] = []
        self.check = SelfCheck(self.engine, self.told.append)
        self.check.start()

    def until(self, due_ns: int) -> None:
        """Let the event loop run until then."""
        is_due = Event()
        self.engine.at(due_ns, is_due.set)
        assert is_due.wait(DEADLINE_S)

    def measured(self) -> SelfMeasurement:
        """All of it, once it has ended."""
        self.check.stop()
        whole = SelfMeasurement()
        for one in self.told:
            whole = whole.merge(one)
        return whole


def block(duration_ns: int) -> None:
    """Keep the core and the event loop busy."""
    until_ns = clock_ns() + duration_ns
    while clock_ns() < until_ns:
        pass


def test_a_blocked_loop_is_late_for_each_beat() -> None:
    """One stall hides no beat: each that was missed is as late as it was."""
    bench = Bench()
    bench.until(clock_ns() + 2 * BEAT_NS)
    bench.engine.at(0, lambda: block(BLOCKED_NS))
    bench.until(clock_ns() + 2 * BEAT_NS)
    lag = bench.measured().loop_lag
    assert (lag.max_ns or 0) >= BLOCKED_NS - 2 * BEAT_NS
    late = sum(count for lag_ns, count in lag.values() if lag_ns > BLOCKED_NS // 2)
    assert late >= BLOCKED_NS // BEAT_NS // 2 - 2


def test_what_is_written_late_has_slipped() -> None:
    """From when it was due to the end of the turn that wrote it."""
    bench = Bench()
    turn = bench.engine.turn
    due_ns = clock_ns()
    turn.begin()
    turn.due_ns.append(due_ns)
    turn.hold(lambda: block(BLOCKED_NS))
    turn.end()
    slip = bench.measured().slip
    assert slip.count == 1
    slack = 1 + 1 / 32  # it keeps five bits
    assert BLOCKED_NS / slack <= (slip.max_ns or 0) <= (clock_ns() - due_ns) * slack


def test_nothing_is_noted_while_nobody_looks() -> None:
    """Before and after, due times are forgotten and not kept."""
    engine = Engine(gevent.get_hub())
    engine.turn.due_ns.append(clock_ns())
    engine.turn.end()
    assert engine.take_self_check() == (array("q"), [], 0)
    assert not engine.turn.due_ns


def test_pauses_of_the_collector_are_found() -> None:
    """A collection of a million objects takes a while."""
    bench = Bench()
    heap: list[list[int]] = [[] for _ in range(500_000)]
    gc.collect()
    pause = bench.measured().gc_pause
    assert len(heap) == 500_000
    assert pause.count >= 1
    assert (pause.max_ns or 0) > NS_PER_MS
    assert bench.check._collecting not in gc.callbacks


def test_cpu_is_that_of_this_process() -> None:
    """A second of hard work is more than half a core, whoever else wants it."""
    bench = Bench()
    begun_s = time.process_time()
    while time.process_time() - begun_s < 1:
        block(5 * NS_PER_MS)
        gevent.idle()
    whole = bench.measured()
    assert whole.cpu.count >= 1
    assert seconds(whole.cpu.sum_ns) <= seconds(whole.wall_ns) + 0.5
    assert whole.wall_ns >= NS_PER_S


@is_linux
def test_open_files_are_counted() -> None:
    """Each socket is one more."""
    bench = Bench()
    before = bench.measured().fds
    pairs = [socket.socketpair() for _ in range(50)]
    bench = Bench()
    after = bench.measured().fds
    assert before is not None
    assert after is not None
    assert after.used >= before.used + len(pairs)  # engines of other tests may be closing theirs
    assert after.limit == before.limit > 0
    for pair in pairs:
        for each in pair:
            each.close()


@is_linux
def test_what_linux_tells_is_measured() -> None:
    """Nothing that it has is left out."""
    whole = Bench().measured()
    assert None not in (whole.core_wait_ns, whole.stolen_ns, whole.major_faults)


@is_linux
def test_what_waits_in_the_kernel_is_late() -> None:
    """From its arrival to when it is read, by the clock of the kernel."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    lags_ns: list[int] = []
    stream = Stream(near)
    stream.note_arrivals(lags_ns)
    for _ in range(50):  # the kernel begins to stamp a moment after it was asked to
        far.sendall(b"hello")
        block(20 * NS_PER_MS)
        assert stream.read() == b"hello"
        if lags_ns:
            break
    assert len(lags_ns) == 1
    assert lags_ns[0] >= 19 * NS_PER_MS
    far.close()
    assert stream.read() == b""
    stream.close()


def test_few_of_many_streams_are_asked() -> None:
    """The first of 64; it would cost each read a microsecond."""
    bench = Bench()

    class Counted(Stream):
        asked = 0

        def __init__(self) -> None:
            """No socket."""

        def note_arrivals(self, lags_ns: list[int]) -> None:
            Counted.asked += 1

    for _ in range(65):
        bench.engine.sample(Counted())
    assert Counted.asked == 2
    bench.check.stop()
    bench.engine.sample(Counted())
    assert Counted.asked == 2


def test_ending_twice_is_ending_once() -> None:
    """Whoever stops it."""
    bench = Bench()
    bench.check.stop()
    told = len(bench.told)
    bench.check.stop()
    assert len(bench.told) == told
