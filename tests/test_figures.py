"""What a report is made of covers the part of the run that it says."""

from recording import MS, START, record_of, steady_run

from wpsload.figures import Figures, figures_of, totals_of
from wpsload.metrics import CONNECT, DELIVERY, SEND_TO_GROUP, Sample
from wpsload.recorder import Recorder


def test_the_window_leaves_out_the_warm_up() -> None:
    """Percentiles are of the steady state, connecting is of the whole run."""
    views = figures_of(record_of(steady_run()))
    assert views.window is not None
    assert views.window.metrics[SEND_TO_GROUP].latency.max_ns == 2 * MS
    assert views.run.metrics[SEND_TO_GROUP].latency.max_ns == 100 * MS
    assert views.of(CONNECT) is views.run
    assert views.of(SEND_TO_GROUP) is views.window


def test_the_drain_counts_towards_latency_but_not_towards_rates() -> None:
    """A stall at the end hides nothing, and a slow drain makes no rate lower."""
    views = figures_of(record_of(steady_run(seconds=20)))
    assert views.window is not None
    assert views.window.metrics[DELIVERY].latency.max_ns == 900 * MS
    assert DELIVERY not in views.rates.metrics
    assert views.rates.counts["sent"] / views.rates.seconds == 300


def successes(figures: Figures) -> int:
    """Of all metrics."""
    return sum(one.successes for one in figures.metrics.values())


def test_parts_of_the_window_are_the_window() -> None:
    """Five of them, with all samples."""
    views = figures_of(record_of(steady_run(seconds=23)))
    assert views.window is not None
    assert [one.seconds for one in views.parts] == [5, 5, 4, 5, 5]
    assert sum(map(successes, views.parts)) == successes(views.window)


def test_without_a_window_the_run_is_reported() -> None:
    """And a reader can tell."""
    recorder = Recorder()
    recorder.add(Sample(SEND_TO_GROUP, MS), START)
    views = figures_of(record_of(recorder))
    assert views.window is None
    assert views.of(SEND_TO_GROUP) is views.rates is views.run


def test_totals_are_those_of_the_recorder() -> None:
    """The record loses nothing that the recorder knew."""
    recorder = steady_run()
    record = record_of(recorder)
    assert totals_of(record, figures_of(record).run) == recorder.totals()
    recorder.forget_before(START + 9)
    recorder.add(Sample(CONNECT, None, failure="late"), START + 3)
    assert figures_of(record_of(recorder)).run.counts["failures"] == recorder.totals().failures == 1
    assert figures_of(record_of(Recorder())).run.seconds == 0
