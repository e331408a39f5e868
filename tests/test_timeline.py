"""The columns of a run are its seconds, written down or not."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from recording import START, steady_run

from wpsload.metrics import CONNECT, ECHO, SEND_TO_GROUP, Sample
from wpsload.record import Series
from wpsload.recorder import Recorder
from wpsload.timeline import COLUMNS, Timeline


@given(st.integers(0, 24))
def test_it_does_not_matter_how_many_seconds_were_added(settled: int) -> None:
    """Those still on their way complete the columns without being kept."""
    seconds = steady_run().seconds()
    timeline = Timeline()
    for one in seconds[:settled]:
        timeline.append(one, 4)
    rest = [(one, 4) for one in seconds[settled:]]
    whole = timeline.series(rest)
    assert timeline.series(rest) == whole
    for _ in range(2):  # the second time from what is kept as text
        data = msgspec.json.encode(timeline.series_json(rest))
        assert msgspec.json.decode(data, type=Series) == whole
    assert whole.second == [one.second for one in seconds]
    for name in COLUMNS:
        assert whole.columns[name] == [getattr(one, name) for one in seconds]


def test_a_metric_that_comes_later_has_no_past() -> None:
    """Its column is as long as the others, and blank where it had no sample."""
    recorder = Recorder()
    recorder.add(Sample(CONNECT, 5), START)
    recorder.add(Sample(ECHO, 7), START + 1)
    recorder.add(Sample(ECHO, None, failure="Timeout"), START + 1)
    recorder.add(Sample(SEND_TO_GROUP, 9), START + 2)
    series = Timeline().series((one, None) for one in recorder.seconds())
    echo = next(one for one in series.metrics if one.name == "message")
    assert series.users == [None, None, None]
    assert (echo.successes, echo.failures) == ([0, 1, 0], [0, 1, 0])
    assert echo.latency_ns["p99"] == echo.latency_ns["max"] == [None, 7, None]
