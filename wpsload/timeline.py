"""The seconds of a run in columns, as its record has them: a few hundred bytes for each.

A percentile of a second that had no sample is None. Seconds are added once, in ascending order.
"""

from array import array
from collections.abc import Iterable
from dataclasses import fields
from typing import cast

from wpsload.histogram import QUANTILES, Histogram
from wpsload.metrics import Metric
from wpsload.record import HistogramData, MetricSeries, MetricSpan, PhaseName, Series, Span
from wpsload.recorder import Recorder, Second

__all__ = ["COLUMNS", "Timeline", "spans_of"]

COLUMNS = tuple(one.name for one in fields(Second) if one.name not in ("second", "metrics"))
"""The columns of `record.Series.columns`: the fields of `Second` that are numbers."""

_FIGURES = (*QUANTILES, "max")
_NONE = -1


class _MetricColumns:
    __slots__ = ("columns", "failures", "successes")

    def __init__(self, length: int) -> None:
        self.successes = array("q", [0] * length)
        self.failures = array("q", [0] * length)
        self.columns = {name: array("q", [_NONE] * length) for name in _FIGURES}

    def append(self, successes: int, failures: int, latency: Histogram) -> None:
        self.successes.append(successes)
        self.failures.append(failures)
        figures = [latency.quantile(q) for q in QUANTILES.values()]
        for column, figure in zip(self.columns.values(), (*figures, latency.max_ns), strict=True):
            column.append(_NONE if figure is None else figure)


class Timeline:
    """Grows by a second at a time."""

    def __init__(self) -> None:
        self._second = array("q")
        self._users = array("q")
        self._columns = {name: array("q") for name in COLUMNS}
        self._metrics: dict[Metric, _MetricColumns] = {}

    def append(self, second: Second, users: int | None) -> None:
        """One more second, with the users of Locust in it, None if unknown."""
        for metric, measured in second.metrics.items():
            columns = self._metrics.get(metric)
            if columns is None:
                columns = self._metrics[metric] = _MetricColumns(len(self._second))
            columns.append(measured.successes, measured.failure_count, measured.latency)
        self._second.append(second.second)
        self._users.append(_NONE if users is None else users)
        for name, column in self._columns.items():
            column.append(getattr(second, name))
        for metric, columns in self._metrics.items():
            if metric not in second.metrics:
                columns.append(0, 0, Histogram())

    def series(self, then: Iterable[tuple[Second, int | None]] = ()) -> Series:
        """All seconds until now, and `then` those that are not added yet."""
        whole = self
        if rest := list(then):
            whole = self._copy()
            for second, users in rest:
                whole.append(second, users)
        return Series(
            second=whole._second.tolist(),
            users=_optional(whole._users),
            columns={name: column.tolist() for name, column in whole._columns.items()},
            metrics=[
                MetricSeries(
                    type=metric.type,
                    name=metric.name,
                    successes=one.successes.tolist(),
                    failures=one.failures.tolist(),
                    latency_ns={name: _optional(column) for name, column in one.columns.items()},
                )
                for metric, one in whole._metrics.items()
            ],
        )

    def _copy(self) -> "Timeline":
        copied = Timeline()
        copied._second = self._second[:]
        copied._users = self._users[:]
        copied._columns = {name: column[:] for name, column in self._columns.items()}
        for metric, one in self._metrics.items():
            columns = copied._metrics[metric] = _MetricColumns(0)
            columns.successes, columns.failures = one.successes[:], one.failures[:]
            columns.columns = {name: column[:] for name, column in one.columns.items()}
        return copied


def _optional(column: "array[int]") -> list[int | None]:
    return [None if value == _NONE else value for value in column]


def spans_of(recorder: Recorder, *, into: int) -> list[Span]:
    """What `recorder` has by phase, the window in `into` parts, as a record holds it."""
    return [
        Span(
            phase=cast(PhaseName, part.phase),
            second=part.second,
            seconds=part.seconds,
            counts=dict(part.counts),
            metrics=[
                MetricSpan(
                    type=one.metric.type,
                    name=one.metric.name,
                    meaning=one.metric.meaning,
                    latency=HistogramData.of(one.latency),
                    untimed=one.successes - one.latency.count,
                    unanswered=dict(one.unanswered),
                    failures=dict(one.failures),
                )
                for one in part.measured
            ],
        )
        for part in recorder.parts(cut="window", into=into)
    ]
