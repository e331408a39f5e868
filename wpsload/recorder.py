"""What was measured, second by second and over the whole run, mergeable across workers.

A sample belongs to the second in which its operation ended, and counts in one of three ways:

- a success with a latency enters the histogram of its metric;
- a success without one (`Sample.latency_ns` is None) is counted and enters no percentile;
- a failure is counted under its text and never enters a percentile: failing fast must not look
  like being fast.

Two kinds of process use a recorder. A worker drains it every few seconds into a message to the
master, which merges. The master, or the only process, reads it, and forgets the seconds it has
written to a file: totals stay, memory does not grow with the length of the run. It does with the
number of different failure texts, which is why those never hold an id.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from wpsload.histogram import Histogram
from wpsload.metrics import CONNECT, DELIVERY, METRICS, Metric, Sample
from wpsload.stretches import Stretches

__all__ = ["COUNTS", "Measured", "Part", "Recorded", "Recorder", "Second", "Totals"]

COUNTS = (
    *("sent", "sent_bytes", "received_bytes", "opened", "reopened", "closed", "joins"),
    "foreign",
    *("due", "achieved", "late", "dropped", "dropped_waiting"),
)
"""What is counted without being timed: messages and payload bytes written, payload bytes received,
connections that opened, those of them that had been open before, and that closed; requests to join
a group; messages of another run that came; of open loops the arrivals that were due, those of them
that were written, written late, and never written; and once more those of the latter that waited
for their connection. In the end `due` is `achieved` and `dropped`."""

_LOAD_COUNTS = ("due", "achieved", "late", "dropped", "dropped_waiting", "sent")

_MAX_GAP_S = 3600
"""A longer time without data is not filled with empty seconds: it comes from a worker whose clock
is wrong, and could be decades."""

_Key = tuple[str, str]


def _key(metric: Metric) -> _Key:
    return metric.type, metric.name


_REGISTERED = {_key(metric): metric for metric in METRICS}
_POSITIONS = {metric: position for position, metric in enumerate(METRICS)}


@dataclass(frozen=True, slots=True)
class Measured:
    """The samples of one metric.

    `latency` holds the successes that have one; `successes` is the number of all. `failures` maps
    each text to its count, `unanswered` those of them that got no answer at all.
    """

    metric: Metric
    latency: Histogram
    successes: int
    failures: Mapping[str, int]
    unanswered: Mapping[str, int]

    @property
    def failure_count(self) -> int:
        """Failures of every text."""
        return sum(self.failures.values())

    @property
    def unanswered_count(self) -> int:
        """Failures without an answer, of every text."""
        return sum(self.unanswered.values())

    @property
    def count(self) -> int:
        """Successes and failures."""
        return self.successes + self.failure_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a second and a whole run have in common.

    `due`, `achieved`, `late` and `dropped` are those of open loops, see `COUNTS`.
    `connects` are connections that became ready, `sent` messages written, `acked` requests that
    the service answered by an ack, be it good or bad; `delivered` counts a message once for every
    member that received it. Bytes are those of WebSocket payloads. `failures` are the failed
    samples of all metrics. `metrics` has the order of `METRICS`, and no metric without a sample.
    """

    connects: int
    due: int
    achieved: int
    late: int
    dropped: int
    dropped_waiting: int
    sent: int
    acked: int
    delivered: int
    sent_bytes: int
    received_bytes: int
    failures: int
    metrics: Mapping[Metric, Measured]


@dataclass(frozen=True, slots=True, kw_only=True)
class Second(Recorded):
    """One second of the run; `second` is Unix time, `connections_open` holds at its end."""

    second: int
    connections_open: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A stretch of whole seconds of one phase of the run, `second` (Unix time) being the first."""

    phase: str
    second: int
    seconds: int
    counts: Mapping[str, int]
    measured: tuple[Measured, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals(Recorded):
    """The whole run.

    `duration_s` is the number of its seconds, from `start_second` (None without data) to the last
    in which anything happened. Connections are looked at once at the end of each of them.
    """

    start_second: int | None
    duration_s: int
    connections_open: int
    connections_peak: int
    connections_mean: float


class _MetricTally:
    """The samples of one metric while they arrive."""

    __slots__ = ("failures", "latency", "metric", "unanswered", "untimed")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.latency = Histogram()
        self.untimed = 0
        self.unanswered: dict[str, int] = {}
        self.failures: dict[str, int] = {}

    def include(self, other: "_MetricTally") -> None:
        self.latency.include(other.latency)
        self.untimed += other.untimed
        for ours, theirs in ((self.failures, other.failures), (self.unanswered, other.unanswered)):
            for text, count in theirs.items():
                ours[text] = ours.get(text, 0) + count

    @property
    def count(self) -> int:
        """All of them."""
        return self.latency.count + self.untimed + sum(self.failures.values())

    def measured(self) -> Measured:
        latency = Histogram()
        latency.include(self.latency)
        return Measured(
            metric=self.metric,
            latency=latency,
            successes=latency.count + self.untimed,
            failures=dict(self.failures),
            unanswered=dict(self.unanswered),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "type": self.metric.type,
            "name": self.metric.name,
            "meaning": self.metric.meaning,
            "latency": self.latency.to_dict(),
            "untimed": self.untimed,
            "unanswered": self.unanswered,
            "failures": self.failures,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "_MetricTally":
        sent = Metric(data["type"], data["name"], data["meaning"])
        tally = cls(_REGISTERED.get(_key(sent), sent))
        tally.latency = Histogram.from_dict(data["latency"])
        tally.untimed = data["untimed"]
        tally.unanswered = dict(data["unanswered"])
        tally.failures = dict(data["failures"])
        return tally


class _Tally:
    """Everything that belongs to one span of time while it arrives."""

    __slots__ = ("counts", "metrics")

    def __init__(self) -> None:
        self.counts = dict.fromkeys(COUNTS, 0)
        self.metrics: dict[_Key, _MetricTally] = {}

    def metric(self, metric: Metric) -> _MetricTally:
        key = metric.type, metric.name
        tally = self.metrics.get(key)
        if tally is None:
            tally = self.metrics[key] = _MetricTally(metric)
        return tally

    def add(self, sample: Sample) -> None:
        tally = self.metric(sample.metric)
        if sample.failure is not None:
            tally.failures[sample.failure] = tally.failures.get(sample.failure, 0) + 1
            if not sample.is_answered:
                tally.unanswered[sample.failure] = tally.unanswered.get(sample.failure, 0) + 1
        elif sample.latency_ns is None:
            tally.untimed += 1
        else:
            tally.latency.record(sample.latency_ns)

    def include(self, other: "_Tally") -> None:
        for name, amount in other.counts.items():
            self.counts[name] += amount
        for tally in other.metrics.values():
            self.metric(tally.metric).include(tally)

    @property
    def net_opened(self) -> int:
        """Connections opened without those closed; may be negative."""
        return self.counts["opened"] - self.counts["closed"]

    def ordered(self) -> tuple[Measured, ...]:
        """All metrics, in the order of `METRICS`."""
        measured = [tally.measured() for tally in self.metrics.values()]
        measured.sort(key=lambda one: _POSITIONS.get(one.metric, len(_POSITIONS)))
        return tuple(measured)

    def recorded(self) -> dict[str, Any]:
        """The fields of `Recorded`."""
        measured = self.ordered()
        metrics = {one.metric: one for one in measured}
        return {
            "connects": metrics[CONNECT].successes if CONNECT in metrics else 0,
            **{name: self.counts[name] for name in _LOAD_COUNTS},
            "acked": sum(
                one.count - one.unanswered_count for one in measured if one.metric.type == "ACK"
            ),
            "delivered": metrics[DELIVERY].successes if DELIVERY in metrics else 0,
            "sent_bytes": self.counts["sent_bytes"],
            "received_bytes": self.counts["received_bytes"],
            "failures": sum(one.failure_count for one in measured),
            "metrics": metrics,
        }

    def to_dict(self) -> dict[str, Any]:
        return {
            "counts": self.counts,
            "metrics": [tally.to_dict() for tally in self.metrics.values()],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "_Tally":
        tally = cls()
        tally.counts.update(data["counts"])
        for one in map(_MetricTally.from_dict, data["metrics"]):
            tally.metrics[_key(one.metric)] = one
        return tally


@dataclass(slots=True)
class _Row:
    """A second as it goes into the series: with what was recorded, and the connections open."""

    second: int
    tally: _Tally
    connections_open: int


class Recorder:
    """Collects samples and counts; knows neither Locust nor a clock."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything: a new run begins."""
        self._held: dict[int, _Tally] = {}
        self._late: dict[int, _Tally] = {}  # what came for seconds that are forgotten
        self._stretches = Stretches(_Tally)
        self._forgotten_s = 0
        self._forgotten_peak = 0
        self._forgotten_open_sum = 0
        self._start: int | None = None  # the first second forgotten
        self._next: int | None = None  # the second after the last one forgotten
        self._current = _Tally()
        self._current_second: int | None = None

    def add(self, sample: Sample, second: int) -> None:
        """Record a sample whose operation ended in Unix second `second`."""
        if second != self._current_second:
            self._select(second)
        self._current.add(sample)

    def add_latencies(self, metric: Metric, latency: Histogram, second: int) -> None:
        """Record successes of `metric` whose operations ended in Unix second `second`."""
        if second != self._current_second:
            self._select(second)
        self._current.metric(metric).latency.include(latency)

    def count(self, name: str, amount: int, second: int) -> None:
        """Record `amount` more of `name`, one of `COUNTS`.

        Raises:
            KeyError: if there is no such count.
        """
        if second != self._current_second:
            self._select(second)
        self._current.counts[name] += amount

    def drain(self) -> dict[str, Any]:
        """Hand over what was recorded since the last call, as values of msgpack and JSON.

        The recorder is empty afterwards, so that nothing is ever counted twice.

        Raises:
            RuntimeError: if seconds were forgotten, which could not be handed over any more.
        """
        if self._next is not None:
            raise RuntimeError("a recorder that forgets seconds cannot be drained")
        # A list of pairs: JSON has no whole numbers as keys.
        seconds = [[second, tally.to_dict()] for second, tally in sorted(self._held.items())]
        self.reset()
        return {"seconds": seconds}

    def merge(self, delta: Mapping[str, Any]) -> int:
        """Record what another recorder drained; how many more connections it has open since.

        The order of merges does not matter. What belongs to a second already forgotten is in the
        totals only.
        """
        opened = 0
        for second, data in delta["seconds"]:
            tally = _Tally.from_dict(data)
            opened += tally.net_opened
            self._at(second).include(tally)
        return opened

    def seconds(self, *, until: int | None = None) -> list[Second]:
        """The seconds held, ascending, with empty ones wherever nothing happened.

        They end with the last one in which anything happened. `until` leaves out later ones, and
        goes on to that second as long as connections are open. Only gaps of more than an hour are
        not filled.
        """
        return [
            Second(
                second=row.second,
                connections_open=row.connections_open,
                **row.tally.recorded(),
            )
            for row in self._rows(until)
        ]

    def forget_before(self, second: int) -> None:
        """Release the seconds before `second`, which somebody has written; totals keep them."""
        for row in list(self._rows(second - 1)):
            if self._start is None:
                self._start = row.second
            self._stretches.add(row.second, row.tally)
            self._forgotten_s += 1
            self._forgotten_peak = max(self._forgotten_peak, row.connections_open)
            self._forgotten_open_sum += row.connections_open
            self._held.pop(row.second, None)
            self._next = row.second + 1
        self._current_second = None

    def totals(self) -> Totals:
        """The whole run, seconds already forgotten included."""
        rows = list(self._rows(None))
        total = self._forgotten()
        for row in rows:
            total.include(row.tally)
        open_at_end = [row.connections_open for row in rows]
        duration_s = self._forgotten_s + len(rows)
        open_sum = self._forgotten_open_sum + sum(open_at_end)
        start_second = rows[0].second if self._start is None and rows else self._start
        return Totals(
            start_second=start_second,
            duration_s=duration_s,
            connections_open=total.net_opened,
            connections_peak=max([self._forgotten_peak, *open_at_end]),
            connections_mean=open_sum / duration_s if duration_s else 0.0,
            **total.recorded(),
        )

    def counted(self, name: str) -> int:
        """How much of `name`, one of `COUNTS`, there was so far."""
        return sum(tally.counts[name] for tally in self._tallies())

    def ended(self, metric: Metric) -> int:
        """How many operations of `metric` ended so far, well or badly."""
        found = (tally.metrics.get(_key(metric)) for tally in self._tallies())
        return sum(one.count for one in found if one is not None)

    def mark(self, phase: str, second: int) -> None:
        """A phase of the run begins with Unix second `second`, which is not forgotten yet.

        Phases marked for that second or later never begin.
        """
        self._stretches.mark(phase, second)

    def parts(
        self, *, cut: str = "", into: int = 1, breathe: Callable[[], None] = lambda: None
    ) -> list[Part]:
        """What was measured until now by phase, that of the name `cut` in at most `into` parts.

        The parts are of whole seconds and about equally long; together they are the run. A phase
        that has no second is left out. `breathe` is called now and then; more may be recorded
        meanwhile, but no second forgotten.
        """
        self._settle_late()
        if into == 1:
            cut = ""  # spares a copy of all its slices
        stretches = self._stretches.copy(cut=cut)
        last = self._next - 1 if self._next is not None else None
        first = self._start
        for row in self._rows(None):
            breathe()
            stretches.add(row.second, row.tally)
            first = row.second if first is None else first
            last = row.second
        breathe()
        if first is None or last is None:
            return []
        return [
            Part(
                phase=one.phase,
                second=one.first,
                seconds=one.after - one.first,
                counts=dict(one.held.counts),
                measured=one.held.ordered(),
            )
            for one in stretches.parts(first, last + 1, cut=cut, into=into)
        ]

    def _tallies(self) -> Iterator[_Tally]:
        yield from self._held.values()
        yield from self._late.values()
        yield from self._stretches.totals()

    def _forgotten(self) -> _Tally:
        """A new tally of all seconds forgotten."""
        self._settle_late()
        total = _Tally()
        for tally in self._stretches.totals():
            total.include(tally)
        return total

    def _settle_late(self) -> None:
        for second, tally in self._late.items():
            self._stretches.add(second, tally)
        self._late.clear()
        self._current_second = None

    def _select(self, second: int) -> None:
        self._current = self._at(second)
        self._current_second = second

    def _at(self, second: int) -> _Tally:
        if self._next is not None and second < self._next:
            return self._late.setdefault(second, _Tally())
        tally = self._held.get(second)
        if tally is None:
            tally = self._held[second] = _Tally()
        return tally

    def _rows(self, until: int | None) -> Iterator[_Row]:
        self._settle_late()
        connections_open = sum(tally.net_opened for tally in self._stretches.totals())
        position = self._next
        for second in sorted(self._held):
            if until is not None and second > until:
                break
            if position is not None and second - position <= _MAX_GAP_S:
                for empty in range(position, second):
                    yield _Row(empty, _Tally(), connections_open)
            tally = self._held[second]
            connections_open += tally.net_opened
            yield _Row(second, tally, connections_open)
            position = second + 1
        if until is not None and position is not None and connections_open > 0:
            for empty in range(position, min(until + 1, position + _MAX_GAP_S)):
                yield _Row(empty, _Tally(), connections_open)
