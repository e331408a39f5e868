"""The recorder counts each sample once, in its second and in the run, however work is divided."""

import json
from collections import defaultdict
from typing import Any

import msgpack  # type: ignore[import-untyped]  # has no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.histogram import Histogram
from wpsload.metrics import (
    CONNECT,
    CONNECTION_LOST,
    DELIVERY,
    ECHO,
    JOIN_GROUP,
    METRICS,
    SEND_TO_GROUP,
    Metric,
    Sample,
)
from wpsload.recorder import COUNTS, Recorder

START = 1_790_000_000
CUSTOM = Metric("ACK", "custom", "a scenario's own metric")

SAMPLES = st.builds(
    Sample,
    metric=st.sampled_from([*METRICS, CUSTOM]),
    latency_ns=st.none() | st.integers(0, 10**13),
    failure=st.none() | st.sampled_from(["Timeout", "Forbidden", "HTTP 401"]),
    is_answered=st.booleans(),
)
SECONDS = st.integers(START, START + 9)
ADDITIONS = st.tuples(st.just("add"), SAMPLES, SECONDS)
COUNTINGS = st.tuples(
    st.just("count"), st.tuples(st.sampled_from(COUNTS), st.integers(0, 10**6)), SECONDS
)
ENTRIES = st.lists(st.one_of(ADDITIONS, COUNTINGS), max_size=40)


def record(recorder: Recorder, entry: Any) -> None:
    """Give the recorder one entry of `ENTRIES`."""
    kind, what, second = entry
    if kind == "add":
        recorder.add(what, second)
    else:
        name, amount = what
        recorder.count(name, amount, second)


def recorder_of(entries: list[Any]) -> Recorder:
    """A recorder that was given all entries."""
    recorder = Recorder()
    for entry in entries:
        record(recorder, entry)
    return recorder


def over_the_wire(delta: dict[str, Any]) -> dict[str, Any]:
    """What arrives at the master, and would come back from a file."""
    unpacked = msgpack.unpackb(msgpack.packb(delta))
    assert unpacked == json.loads(json.dumps(delta)) == delta
    return dict(unpacked)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans(), st.one_of(ADDITIONS, COUNTINGS))))
def test_merged_workers_equal_one_process(script: list[tuple[int, bool, Any]]) -> None:
    """Three workers that drain whenever they like lose nothing and count nothing twice."""
    workers: defaultdict[int, Recorder] = defaultdict(Recorder)
    master = Recorder()
    for worker, drains, entry in script:
        record(workers[worker], entry)
        if drains:
            master.merge(over_the_wire(workers[worker].drain()))
    for recorder in workers.values():
        master.merge(over_the_wire(recorder.drain()))
    one = recorder_of([entry for _, _, entry in script])
    assert master.seconds() == one.seconds()
    assert master.totals() == one.totals()


@given(ENTRIES, st.lists(SECONDS))
def test_forgetting_keeps_the_totals(entries: list[Any], forgotten: list[int]) -> None:
    """Releasing seconds while they are written changes neither totals nor the series."""
    kept, released = recorder_of(entries), recorder_of(entries)
    written = []
    for second in sorted(forgotten):
        rows = released.seconds(until=second - 1)
        written += [row for row in rows if row.second < second]
        released.forget_before(second)
    for recorder in (kept, released):
        recorder.count("sent", 1, START + 20)
    assert released.totals() == kept.totals()
    assert written + released.seconds() == kept.seconds()


@given(ENTRIES)
def test_seconds_add_up_to_the_totals(entries: list[Any]) -> None:
    """The series and the totals tell the same story."""
    recorder = recorder_of(entries)
    totals, rows = recorder.totals(), recorder.seconds()
    for name in (
        "connects",
        *("due", "achieved", "late", "dropped"),
        "sent",
        "acked",
        "delivered",
        "sent_bytes",
        "received_bytes",
        "failures",
    ):
        assert getattr(totals, name) == sum(getattr(row, name) for row in rows)
    for metric, measured in totals.metrics.items():
        parts = [row.metrics[metric] for row in rows if metric in row.metrics]
        assert measured.count == sum(part.count for part in parts)
        assert measured.latency.count == sum(part.latency.count for part in parts)


@given(ENTRIES)
def test_seconds_are_in_order_and_without_gaps(entries: list[Any]) -> None:
    """One row for every second between the first and the last."""
    seconds = [row.second for row in recorder_of(entries).seconds()]
    assert seconds == (list(range(seconds[0], seconds[-1] + 1)) if seconds else [])


def test_empty_recorder_has_no_seconds_and_zero_totals() -> None:
    """Nothing measured is nothing told."""
    recorder = Recorder()
    totals = recorder.totals()
    assert recorder.seconds(until=START) == []
    assert totals.start_second is None
    assert (totals.duration_s, totals.connections_mean, totals.metrics) == (0, 0.0, {})
    assert recorder.drain() == {"seconds": []}


def test_failures_never_improve_a_percentile() -> None:
    """A failure that took 1 ns leaves the latency at that of the success."""
    recorder = Recorder()
    recorder.add(Sample(SEND_TO_GROUP, 5_000_000), START)
    recorder.add(Sample(SEND_TO_GROUP, 1, failure="Forbidden"), START)
    measured = recorder.totals().metrics[SEND_TO_GROUP]
    assert measured.latency.count == 1
    assert measured.latency.min_ns == 5_000_000
    assert (measured.successes, measured.failure_count, measured.count) == (1, 1, 2)


def test_untimed_success_counts_without_a_latency() -> None:
    """A delivery from a foreign clock is delivered, and no percentile knows of it."""
    recorder = Recorder()
    recorder.add(Sample(DELIVERY, None), START)
    totals = recorder.totals()
    assert totals.delivered == 1
    assert totals.metrics[DELIVERY].latency.count == 0


@given(st.lists(st.integers(0, 10**13)), st.lists(st.integers(0, 10**13), min_size=1))
def test_latencies_together_are_samples_one_by_one(before: list[int], batch: list[int]) -> None:
    """A batch is as good as its samples, next to others of the same second."""
    one_by_one, together = Recorder(), Recorder()
    for latency_ns in before:
        one_by_one.add(Sample(SEND_TO_GROUP, latency_ns), START)
        together.add(Sample(SEND_TO_GROUP, latency_ns), START)
    for latency_ns in batch:
        one_by_one.add(Sample(SEND_TO_GROUP, latency_ns), START)
    latency = Histogram()
    latency.record_all(batch)
    together.add_latencies(SEND_TO_GROUP, latency, START)
    assert together.seconds() == one_by_one.seconds()
    assert together.totals() == one_by_one.totals()


def test_latencies_belong_to_their_second() -> None:
    """Also where that was forgotten meanwhile, and after another one was in use."""
    recorder, latency = Recorder(), Histogram()
    latency.record(5, 3)
    recorder.add_latencies(ECHO, latency, START)
    recorder.add_latencies(ECHO, latency, START + 1)
    assert [row.metrics[ECHO].count for row in recorder.seconds()] == [3, 3]
    recorder.forget_before(START + 1)
    recorder.add_latencies(ECHO, latency, START)
    assert [row.metrics[ECHO].count for row in recorder.seconds()] == [3]
    assert recorder.totals().metrics[ECHO].count == 9


def test_acked_counts_what_the_service_answered() -> None:
    """A refusal is an ack; a timeout is none; an echo is none."""
    recorder = Recorder()
    recorder.add(Sample(SEND_TO_GROUP, 5), START)
    recorder.add(Sample(JOIN_GROUP, 5, failure="Forbidden"), START)
    recorder.add(Sample(SEND_TO_GROUP, None, failure="Timeout", is_answered=False), START)
    recorder.add(Sample(ECHO, 5), START)
    totals = recorder.totals()
    assert totals.acked == 2
    assert totals.failures == 2


def test_connects_are_those_that_became_ready() -> None:
    """A refused connection is a failure, not a connect."""
    recorder = Recorder()
    recorder.add(Sample(CONNECT, 9), START)
    recorder.add(Sample(CONNECT, None, failure="HTTP 401"), START)
    assert recorder.totals().connects == 1


def test_failures_are_grouped_by_text() -> None:
    """The same text is one group."""
    recorder = Recorder()
    for text in ("closed 1006", "closed 1006", "closed 4001"):
        recorder.add(Sample(CONNECTION_LOST, None, failure=text), START)
    failures = recorder.totals().metrics[CONNECTION_LOST].failures
    assert failures == {"closed 1006": 2, "closed 4001": 1}


def test_connections_open_carry_over_quiet_seconds() -> None:
    """Open connections are those opened so far without those closed so far."""
    recorder = Recorder()
    recorder.count("opened", 5, START)
    recorder.count("closed", 3, START + 2)
    assert [row.connections_open for row in recorder.seconds()] == [5, 5, 2]
    totals = recorder.totals()
    assert (totals.connections_peak, totals.connections_open) == (5, 2)
    assert totals.connections_mean == 4.0
    assert (totals.start_second, totals.duration_s) == (START, 3)


def test_idle_connections_go_on_until_asked() -> None:
    """A run that only holds connections has a row for each second of it."""
    recorder = Recorder()
    recorder.count("opened", 5, START)
    assert [row.second for row in recorder.seconds(until=START + 2)] == [
        START,
        START + 1,
        START + 2,
    ]


def test_seconds_after_until_are_left_out() -> None:
    """They are still in the making, and stay where they are."""
    recorder = Recorder()
    recorder.count("sent", 1, START)
    recorder.count("sent", 1, START + 2)
    assert [row.second for row in recorder.seconds(until=START + 1)] == [START]
    assert len(recorder.seconds()) == 3


def test_nothing_goes_on_without_connections() -> None:
    """Between two tests of one process there is nothing to tell."""
    recorder = Recorder()
    recorder.count("opened", 1, START)
    recorder.count("closed", 1, START)
    assert [row.second for row in recorder.seconds(until=START + 5)] == [START]


def test_quiet_time_is_filled_even_if_it_was_forgotten_meanwhile() -> None:
    """An outage without any event leaves no hole in the series once there is data again."""
    recorder = Recorder()
    recorder.count("sent", 1, START)
    recorder.forget_before(START + 5)
    recorder.count("sent", 1, START + 7)
    assert [row.second for row in recorder.seconds()] == list(range(START + 1, START + 8))


def test_gap_of_decades_is_not_filled() -> None:
    """A worker whose clock says 1970 must not take the memory of the master."""
    recorder = Recorder()
    recorder.count("sent", 1, 0)
    recorder.count("sent", 1, START)
    assert [row.second for row in recorder.seconds()] == [0, START]


def test_late_data_is_in_the_totals() -> None:
    """A report for seconds already written still counts, and is not written twice."""
    recorder, worker = Recorder(), Recorder()
    recorder.count("opened", 1, START)
    recorder.forget_before(START + 1)
    worker.count("opened", 1, START)
    worker.add(Sample(CONNECT, 9), START)
    recorder.merge(worker.drain())
    assert recorder.seconds() == []
    assert recorder.totals().connects == 1
    assert recorder.totals().connections_open == 2


def test_recording_goes_on_in_a_second_that_was_forgotten() -> None:
    """Neither the second in use nor its neighbours are mistaken for a released one."""
    recorder = Recorder()
    recorder.count("sent", 1, START)
    recorder.forget_before(START + 1)
    recorder.count("sent", 1, START)
    recorder.count("sent", 1, START + 1)
    assert recorder.totals().sent == 3
    assert [row.second for row in recorder.seconds()] == [START + 1]


def test_memory_is_released() -> None:
    """After hours of seconds only those not yet forgotten are held."""
    recorder = Recorder()
    for second in range(START, START + 7_200):
        recorder.count("sent", 1, second)
        recorder.forget_before(second - 5)
    assert len(recorder.seconds()) == 6
    assert recorder.totals().sent == 7_200
    assert recorder.totals().duration_s == 7_200


def test_snapshots_do_not_change() -> None:
    """What was read stays as it was when more is recorded."""
    recorder = Recorder()
    recorder.add(Sample(ECHO, 5), START)
    second, totals = recorder.seconds()[0], recorder.totals()
    recorder.add(Sample(ECHO, 5), START)
    assert second.metrics[ECHO].count == totals.metrics[ECHO].count == 1


def test_metrics_have_the_order_of_the_registry() -> None:
    """Whatever came first; a scenario's own metrics follow."""
    recorder = Recorder()
    for metric in (CUSTOM, DELIVERY, CONNECT):
        recorder.add(Sample(metric, 5), START)
    assert list(recorder.totals().metrics) == [CONNECT, DELIVERY, CUSTOM]


def test_reset_forgets_everything() -> None:
    """The second test in one process starts from nothing."""
    recorder = Recorder()
    recorder.count("opened", 1, START)
    recorder.forget_before(START + 1)
    recorder.add(Sample(ECHO, 5), START + 1)
    recorder.reset()
    assert recorder.totals() == Recorder().totals()


def test_unknown_count_is_refused() -> None:
    """A slip in a name would otherwise be a number nobody ever sees."""
    with pytest.raises(KeyError, match="recieved_bytes"):
        Recorder().count("recieved_bytes", 1, START)


def test_recorder_that_forgets_cannot_be_drained() -> None:
    """What was forgotten would be missing at the master, so it is said at once."""
    recorder = Recorder()
    recorder.count("sent", 1, START)
    recorder.forget_before(START + 1)
    with pytest.raises(RuntimeError, match="cannot be drained"):
        recorder.drain()
