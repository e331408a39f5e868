"""The meter hands over everything it was told, once."""

from array import array

from hypothesis import given
from hypothesis import strategies as st

from wpsload.meter import Batch, Meter, Taken
from wpsload.metrics import DELIVERY, ECHO, METRICS, SEND_TO_GROUP, Metric

TOLD = st.tuples(st.sampled_from(METRICS), st.integers(0, 10**10), st.integers(0, 10**6))


def test_nothing_told_is_nothing_taken() -> None:
    """A metric that somebody asked for, and that nothing happened to, is not mentioned."""
    meter = Meter()
    meter.series(ECHO)
    assert meter.take() == Taken(0, 0, 0, ())


def test_a_metric_has_one_series_for_good() -> None:
    """The hot path looks it up once."""
    meter = Meter()
    series = meter.series(ECHO)
    meter.take()
    assert meter.series(ECHO) is series
    assert meter.series(DELIVERY) is not series


def test_counters_begin_anew() -> None:
    """Each is handed over as what came since the last time."""
    meter = Meter()
    meter.sent += 2
    meter.sent_bytes += 30
    meter.received_bytes += 400
    meter.due += 5
    meter.achieved += 4
    meter.late += 3
    meter.dropped += 1
    assert meter.take() == Taken(2, 30, 400, (), due=5, achieved=4, late=3, dropped=1)
    assert meter.take() == Taken(0, 0, 0, ())


def test_what_was_taken_does_not_change() -> None:
    """It is worked on while the next messages arrive."""
    meter = Meter()
    series = meter.series(SEND_TO_GROUP)
    for latency_ns in (5, 6):
        series.latencies_ns.append(latency_ns)
        series.sizes_bytes.append(200)
        if latency_ns == 5:
            first = meter.take()
    assert first.batches == (Batch(SEND_TO_GROUP, array("q", [5]), array("q", [200])),)
    assert meter.take().batches == (Batch(SEND_TO_GROUP, array("q", [6]), array("q", [200])),)


@given(st.lists(st.lists(TOLD)))
def test_every_sample_is_taken_once_and_in_order(
    script: list[list[tuple[Metric, int, int]]],
) -> None:
    """However often somebody takes."""
    meter = Meter()
    taken: dict[Metric, list[tuple[int, int]]] = {}
    for told in script:
        for metric, latency_ns, size_bytes in told:
            series = meter.series(metric)
            series.latencies_ns.append(latency_ns)
            series.sizes_bytes.append(size_bytes)
        for batch in meter.take().batches:
            pairs = zip(batch.latencies_ns, batch.sizes_bytes, strict=True)
            taken.setdefault(batch.metric, []).extend(pairs)
    expected: dict[Metric, list[tuple[int, int]]] = {}
    for metric, latency_ns, size_bytes in (one for told in script for one in told):
        expected.setdefault(metric, []).append((latency_ns, size_bytes))
    assert taken == expected
