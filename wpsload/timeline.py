"""The seconds of a run in columns, as its record has them: a few hundred bytes for each.

A percentile of a second that had no sample is None. Seconds are added once, in ascending order.
"""

from array import array
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

import msgspec

from wpsload.histogram import QUANTILES, Histogram
from wpsload.metrics import Metric
from wpsload.phases import labelled
from wpsload.record import HistogramData, MetricSeries, MetricSpan, Series, Span
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
        figures = latency.quantiles(QUANTILES.values())
        for column, figure in zip(self.columns.values(), (*figures, latency.max_ns), strict=True):
            column.append(_NONE if figure is None else figure)


class Timeline:
    """Grows by a second at a time."""

    def __init__(self) -> None:
        self._second = array("q")
        self._users = array("q")
        self._columns = {name: array("q") for name in COLUMNS}
        self._metrics: dict[Metric, _MetricColumns] = {}
        self._texts: dict[str, tuple[bytearray, int]] = {}  # JSON of columns, of so many values

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

    def series_json(
        self,
        then: Iterable[tuple[Second, int | None]] = (),
        *,
        breathe: Callable[[], None] = lambda: None,
    ) -> Any:
        """As `series`, for `record.to_json`, at a cost that does not grow with the run.

        What was written once is kept as text. `breathe` is called after each of `then`.
        """
        tail = Timeline()
        tail._metrics = {metric: _MetricColumns(0) for metric in self._metrics}
        for second, users in then:
            for metric in [one for one in second.metrics if one not in self._metrics]:
                self._metrics[metric] = _MetricColumns(len(self._second))
                tail._metrics[metric] = _MetricColumns(len(tail._second))
            tail.append(second, users)
            breathe()

        def text(key: str, column: "array[int]", rest: "array[int]") -> msgspec.Raw:
            return self._text(key, column, rest, is_optional=key.endswith("?"))

        return {
            "second": text("second", self._second, tail._second),
            "users": text("users?", self._users, tail._users),
            "columns": {
                name: text(name, column, tail._columns[name])
                for name, column in self._columns.items()
            },
            "metrics": [
                {
                    "type": metric.type,
                    "name": metric.name,
                    "successes": text(
                        f"{metric} +", one.successes, tail._metrics[metric].successes
                    ),
                    "failures": text(f"{metric} -", one.failures, tail._metrics[metric].failures),
                    "latency_ns": {
                        name: text(f"{metric} {name}?", column, tail._metrics[metric].columns[name])
                        for name, column in one.columns.items()
                    },
                }
                for metric, one in self._metrics.items()
            ],
        }

    def _text(
        self, key: str, column: "array[int]", rest: "array[int]", *, is_optional: bool
    ) -> msgspec.Raw:
        """A column and the `rest` of it, as JSON."""
        text, length = self._texts.get(key, (bytearray(), 0))
        values: Callable[[array[int]], Any] = _optional if is_optional else array.tolist
        if length < len(column):
            text += msgspec.json.encode(values(column[length:]))[1:-1] + b","
            self._texts[key] = text, len(column)
        tail = msgspec.json.encode(values(rest))[1:-1]
        kept = memoryview(text) if tail or not text else memoryview(text)[:-1]  # less a comma
        return msgspec.Raw(b"".join((b"[", kept, tail, b"]")))

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


def spans_of(
    recorder: Recorder, *, into: int, breathe: Callable[[], None] = lambda: None
) -> list[Span]:
    """What `recorder` has by phase, the window in `into` parts, as a record holds it.

    `breathe` is called now and then, see `Recorder.parts`.
    """
    spans = []
    for part in recorder.parts(cut="window", into=into, breathe=breathe):
        metrics = []
        for one in part.measured:
            breathe()
            metrics.append(
                MetricSpan(
                    type=one.metric.type,
                    name=one.metric.name,
                    meaning=one.metric.meaning,
                    latency=HistogramData.of(one.latency),
                    untimed=one.successes - one.latency.count,
                    unanswered=dict(one.unanswered),
                    failures=dict(one.failures),
                )
            )
        phase, rung = labelled(part.phase)
        spans.append(
            Span(
                phase=phase,
                rung=rung,
                second=part.second,
                seconds=part.seconds,
                counts=dict(part.counts),
                metrics=metrics,
            )
        )
    return spans
