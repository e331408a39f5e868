"""What the meter is told is in the recorder and in Locust's statistics, once, whoever reads."""

from locust.env import Environment

import itertools
import sys
from typing import Any, NoReturn

import gevent
import pytest
from gevent.event import Event
from hypothesis import given
from hypothesis import strategies as st

from wpsload.arrivals import parse_plan
from wpsload.clock import clock_ns
from wpsload.locust_stats import LocustStats
from wpsload.metrics import DELIVERY, ECHO, SEND_TO_GROUP, SEND_TO_GROUP_SERVICE, Sample
from wpsload.options import Settings
from wpsload.poller import has_epoll
from wpsload.run import LoadRun

START = 1_790_000_000


def no_target() -> NoReturn:
    """Nobody connects here."""
    raise AssertionError


class Bench:
    """A run in an environment of its own, with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now_s = float(START)
        self.environment = Environment()
        self.environment.create_local_runner()
        statistics = LocustStats(self.environment)
        self.run = LoadRun(no_target, statistics, now_s=lambda: self.now_s)

    def echo(self, *latencies_ns: int) -> None:
        """So many echoes, of 200 bytes each."""
        series = self.run.books.meter.series(ECHO)
        series.latencies_ns.extend(latencies_ns)
        series.sizes_bytes.extend([200] * len(latencies_ns))

    def counted(self) -> int:
        """Echoes in Locust's statistics."""
        return int(self.environment.stats.get("message", "ECHO").num_requests)


@pytest.fixture
def bench() -> Bench:
    """A run of its own for each test."""
    return Bench()


@pytest.mark.skipif(not has_epoll(), reason="it is compiled on Linux alone")
@pytest.mark.parametrize(("name", "warnings"), [("fast", 1), ("python", 0)])
def test_a_missing_compiled_part_is_said_once(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    name: str,
    warnings: int,
) -> None:
    """As after an installation without a compiler; the run has an engine all the same."""
    monkeypatch.setitem(sys.modules, "wpsload._express", None)
    bench.run.settings = Settings.read({"wps_engine": name})
    assert bench.run.engine is bench.run.engine
    assert bench.run.engine.express is None
    assert [record.message.count("C compiler") for record in caplog.records] == [1] * warnings


def test_reading_brings_in_what_the_meter_was_told(bench: Bench) -> None:
    """Nothing is left out, in either place, and nothing counts twice."""
    bench.echo(5, 6)
    bench.run.books.meter.sent += 2
    bench.run.books.meter.sent_bytes += 30
    bench.run.books.meter.received_bytes += 400
    for _ in range(2):
        totals = bench.run.recorder.totals()
        assert totals.metrics[ECHO].successes == bench.counted() == 2
        assert (totals.sent, totals.sent_bytes, totals.received_bytes) == (2, 30, 400)
    assert bench.environment.stats.total.total_content_length == 400


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(1, 10**9)), max_size=30))
def test_each_sample_is_in_both_once(script: list[tuple[bool, bool, int]]) -> None:
    """Whatever comes by the meter and by itself, and however often somebody rolls."""
    bench = Bench()
    for is_batched, rolls, latency_ns in script:
        if is_batched:
            bench.echo(latency_ns)
        else:
            bench.run.record(Sample(ECHO, latency_ns, size_bytes=200))
        if rolls:
            bench.run.roll()
    totals = bench.run.recorder.totals()
    entry = bench.environment.stats.get("message", "ECHO")
    assert entry.num_requests == len(script) == bench.environment.stats.total.num_requests
    assert entry.total_response_time == pytest.approx(sum(one for _, _, one in script) / 1e6)
    if script:
        latency = totals.metrics[ECHO].latency
        assert (latency.count, latency.sum_ns) == (len(script), sum(one for _, _, one in script))


@pytest.mark.parametrize("late_s", [-0.003, 0.0, 0.003, 0.1])
def test_a_batch_belongs_to_its_second(bench: Bench, late_s: float) -> None:
    """Rolling at quarters of the second, too early or too late, finds the right one."""
    for quarter in range(1, 13):
        bench.echo(5)
        bench.run.books.meter.sent += 1
        bench.now_s = START + quarter / 4 + late_s
        bench.run.roll()
    seconds = bench.run.recorder.seconds()
    assert [row.second for row in seconds] == [START, START + 1, START + 2]
    assert [row.sent for row in seconds] == [4, 4, 4]
    assert [row.metrics[ECHO].count for row in seconds] == [4, 4, 4]


def test_a_second_that_was_read_does_not_change(bench: Bench) -> None:
    """What is told after a reader looked, comes later than all that was read as over."""
    bench.now_s = START + 0.9
    bench.echo(5)
    bench.now_s = START + 1.01
    bench.run.recorder.forget_before(START + 1)
    bench.echo(6)
    bench.now_s = START + 1.02
    assert [row.second for row in bench.run.recorder.seconds()] == [START + 1]


def test_a_new_test_begins_with_nothing(bench: Bench) -> None:
    """What the last one left in the meter is forgotten with the rest."""
    bench.echo(5)
    bench.now_s = START + 50.0
    bench.run.start(Settings.read({}))
    bench.echo(6)
    (second,) = bench.run.recorder.seconds()
    assert (second.second, second.metrics[ECHO].latency.sum_ns) == (START + 50, 6)


def test_what_outlives_its_run_writes_into_its_own_books(bench: Bench) -> None:
    """A connection that is still closing is no part of the next run."""
    bench.run.start(Settings.read({}))
    books = bench.run.books
    bench.run.start(Settings.read({}))
    books.meter.sent += 1
    books.meter.series(ECHO).latencies_ns.append(5)
    books.meter.series(ECHO).sizes_bytes.append(5)
    books.ledger.counts.received += 1
    assert bench.run.recorder.totals().metrics == {}
    assert bench.run.recorder.totals().sent == 0
    assert bench.run.books.ledger.counts.received == 0


def test_a_listener_that_comes_later_hears_the_rest(bench: Bench) -> None:
    """From the next batch on, and the counts stay true."""
    heard: list[float] = []
    bench.echo(1_000_000)
    bench.run.roll()
    bench.environment.events.request.add_listener(
        lambda response_time, **_: heard.append(response_time)
    )
    bench.echo(2_000_000, 3_000_000)
    assert bench.run.recorder.totals().metrics[ECHO].successes == bench.counted() == 3
    assert heard == [2.0, 3.0]


def test_failures_are_told_by_the_next_roll(bench: Bench) -> None:
    """Whoever listens may wait for something, which nobody may where they happen."""
    heard: list[str] = []
    bench.environment.events.request.add_listener(
        lambda exception, **_: heard.append(str(exception))
    )
    bench.run.record(Sample(SEND_TO_GROUP, None, failure="Timeout", is_answered=False))
    assert heard == []
    bench.run.roll()
    bench.run.roll()
    assert heard == ["Timeout"]
    assert bench.run.recorder.totals().failures == 1


def test_readers_wait_for_a_slow_listener(bench: Bench) -> None:
    """A report must not leave while half of a batch is told."""
    reached, may_go_on = Event(), Event()

    def slow(**_: Any) -> None:
        reached.set()
        may_go_on.wait()

    bench.environment.events.request.add_listener(slow)
    bench.echo(5, 6)
    bench.run.books.meter.series(DELIVERY).latencies_ns.append(7)
    bench.run.books.meter.series(DELIVERY).sizes_bytes.append(0)
    rolling = gevent.spawn(bench.run.roll)
    reached.wait()
    reading = gevent.spawn(lambda: (bench.run.recorder, bench.environment.stats.num_requests))
    gevent.idle()
    assert not reading.ready()
    may_go_on.set()
    rolling.get()
    _, counted = reading.get()
    assert counted == 3


def test_a_second_look_is_not_told_to_locust(bench: Bench) -> None:
    """Service times are of messages that Locust has counted: it would count them again."""
    series = bench.run.books.meter.series(SEND_TO_GROUP_SERVICE)
    series.latencies_ns.append(5)
    series.sizes_bytes.append(0)
    assert bench.run.recorder.totals().metrics[SEND_TO_GROUP_SERVICE].successes == 1
    assert bench.environment.stats.total.num_requests == 0


def due_after_ns(bench: Bench, plan: str | None, *sender: int) -> list[int]:
    """The first 20 due times of a sender, counted from the first."""
    own = None if plan is None else parse_plan(plan)
    times_ns = list(itertools.islice(bench.run.due_times_ns(own, *sender), 20))
    return [due - times_ns[0] for due in times_ns]


def test_a_seed_repeats_what_each_sender_does(bench: Bench) -> None:
    """The same sender has the same times in another run, and another sender has others."""
    bench.run.start(Settings.read({"wps_seed": "tuesday"}))
    once = due_after_ns(bench, "poisson 5/s", 1, 2)
    assert once == due_after_ns(bench, "poisson 5/s", 1, 2)
    assert once != due_after_ns(bench, "poisson 5/s", 1, 3)
    bench.run.start(Settings.read({"wps_seed": "wednesday"}))
    assert once != due_after_ns(bench, "poisson 5/s", 1, 2)
    bench.run.start(Settings.read({}))
    assert due_after_ns(bench, "poisson 5/s", 1, 2) != due_after_ns(bench, "poisson 5/s", 1, 2)


def test_the_plan_of_the_run_is_that_of_all(bench: Bench) -> None:
    """Its time is that of the run, whoever comes when; a plan of one's own begins now."""
    bench.run.start(Settings.read({"wps_plan": "constant 1/s for 1ms then constant 100/s"}))
    started_ns = clock_ns()
    while clock_ns() < started_ns + 1_000_000:
        pass
    assert due_after_ns(bench, None)[1] == 10_000_000
    assert due_after_ns(bench, "every 3s")[1] == 3_000_000_000
