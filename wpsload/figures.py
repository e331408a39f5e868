"""What a record says: the samples of the window, those of the whole run, and what was lost.

Latencies cover the window and the drain, as a message may be under way at the end of the window:
without the drain a stall at that moment would hide what it delayed. Connecting, joining and leaving
groups happen before the window, so they cover the whole run. Rates are those of the window alone.
A run that stopped before a window began has whole-run figures only. The window of a ladder is that
of the last rung that held, or of the first one if none did.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wpsload.histogram import Histogram
from wpsload.metrics import CONNECT, DELIVERY, METRICS, Metric
from wpsload.record import MetricSpan, Record, Span
from wpsload.recorder import Measured, Totals

__all__ = ["Figures", "Views", "figures_of", "figures_of_rung", "is_of_setup", "totals_of"]

_KNOWN = {(metric.type, metric.name): metric for metric in METRICS}
_POSITIONS = {metric: position for position, metric in enumerate(METRICS)}


def is_of_setup(metric: Metric) -> bool:
    """Whether it is measured while the run sets itself up rather than in its steady state."""
    return metric.type == "CONNECT" or metric.name in ("joinGroup", "leaveGroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of one part of a run.

    `metrics` has the order of `METRICS`. `counts` are those of the recorder, with `connects`,
    `acked`, `delivered` and `failures`, over `seconds` whole seconds.
    """

    metrics: dict[Metric, Measured]
    counts: dict[str, int]
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """A run from all sides.

    `run` is the whole of it. `window` is None if there was none; it has the drain's samples as
    well. `rates` is the window without the drain, to divide by its seconds; the whole run if there
    was no window. `parts` are those of the window, the last one with the drain's samples;
    `rate_parts` are the same without them.
    """

    run: Figures
    window: Figures | None
    rates: Figures
    parts: list[Figures]
    rate_parts: list[Figures]

    def of(self, metric: Metric) -> Figures:
        """What a report shows of `metric`: the window, or the run if that is what it covers."""
        return self.run if self.window is None or is_of_setup(metric) else self.window


def figures_of(record: Record, *, rung: int | None = None) -> Views:
    """The figures of every part of the run; `rung` is another one for the window of a ladder."""
    run = _figures(record.spans)
    shown = record.shown_rung if rung is None else rung
    spans = [one for one in record.spans if one.rung == shown]
    parts = [[one] for one in spans if one.phase == "window"]
    if not parts:
        return Views(run=run, window=None, rates=run, parts=[], rate_parts=[])
    rates = _figures([one for part in parts for one in part])
    rate_parts = [_figures(part) for part in parts]
    parts[-1] += [one for one in spans if one.phase == "drain"]
    return Views(
        run=run,
        window=_figures([one for part in parts for one in part]),
        rates=rates,
        parts=[*rate_parts[:-1], _figures(parts[-1])],
        rate_parts=rate_parts,
    )


def figures_of_rung(record: Record, number: int) -> Figures:
    """What a rung of the ladder has: the samples of its measured part and of its drain."""
    return _figures(
        one for one in record.spans if one.rung == number and one.phase in ("window", "drain")
    )


def totals_of(record: Record, run: Figures) -> Totals:
    """The whole run as the recorder gives it, from its record and the figures of all of it."""
    open_at_end = record.series.columns.get("connections_open", [])
    return Totals(
        start_second=record.series.second[0] if record.series.second else None,
        duration_s=len(record.series.second),
        connections_open=run.counts.get("opened", 0) - run.counts.get("closed", 0),
        connections_peak=max(open_at_end, default=0),
        connections_mean=sum(open_at_end) / len(open_at_end) if open_at_end else 0.0,
        metrics=run.metrics,
        **{name: run.counts.get(name, 0) for name in _TOTALS},
    )


_TOTALS = [
    name
    for name in Totals.__dataclass_fields__
    if name not in ("start_second", "duration_s", "metrics") and not name.startswith("connections")
]


def _figures(spans: Iterable[Span]) -> Figures:
    spans = list(spans)
    counts: dict[str, int] = {}
    found: dict[Metric, list[MetricSpan]] = {}
    for span in spans:
        for name, count in span.counts.items():
            counts[name] = counts.get(name, 0) + count
        for one in span.metrics:
            metric = _KNOWN.get((one.type, one.name), one.metric)
            found.setdefault(metric, []).append(one)
    order = sorted(found, key=lambda metric: _POSITIONS.get(metric, len(_POSITIONS)))
    metrics = {metric: _measured(metric, found[metric]) for metric in order}
    counts["connects"] = metrics[CONNECT].successes if CONNECT in metrics else 0
    counts["delivered"] = metrics[DELIVERY].successes if DELIVERY in metrics else 0
    counts["failures"] = sum(one.failure_count for one in metrics.values())
    acks = [one for metric, one in metrics.items() if metric.type == "ACK"]
    counts["acked"] = sum(one.count - one.unanswered_count for one in acks)
    return Figures(metrics=metrics, counts=counts, seconds=sum(one.seconds for one in spans))


def _measured(metric: Metric, spans: Iterable[MetricSpan]) -> Measured:
    latency = Histogram()
    failures: dict[str, int] = {}
    unanswered: dict[str, int] = {}
    untimed = 0
    for one in spans:
        latency.include(one.latency.histogram())
        untimed += one.untimed
        for ours, theirs in ((failures, one.failures), (unanswered, one.unanswered)):
            for text, count in theirs.items():
                ours[text] = ours.get(text, 0) + count
    return Measured(
        metric=metric,
        latency=latency,
        successes=latency.count + untimed,
        failures=failures,
        unanswered=unanswered,
    )
