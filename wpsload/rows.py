"""The rows of the tables that every report has, be it text, Markdown or HTML."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wpsload.figures import Figures, Views, is_of_setup
from wpsload.formatting import ABOUT, NO_FIGURE, cut, duration, grouped
from wpsload.histogram import QUANTILES
from wpsload.metrics import DELIVERY, ECHO, EVENT, SEND_TO_GROUP, Metric
from wpsload.record import Record, ThresholdResult
from wpsload.recorder import Measured, Totals
from wpsload.verdict import MARK

__all__ = [
    "LATENCY_FIGURES",
    "CountRow",
    "FailureRow",
    "LatencyRow",
    "LedgerRow",
    "coverage",
    "failure_rows",
    "following",
    "latency_notes",
    "latency_rows",
    "ledger_rows",
    "load_rows",
    "mark_of",
    "shown_value",
    "spread_text",
    "state_text",
    "threshold_note",
    "throughput_rows",
]

LATENCY_FIGURES = (*QUANTILES, "max")
"""The names of `LatencyRow.figures`."""

_MILLION = 1_000_000
_NAME_WIDTH = 17
_STATES = {
    "running": "NOT OVER: this was written while the run went on",
    "interrupted": "INTERRUPTED: the run was broken off",
    "finished": "",
}


def state_text(record: Record) -> str:
    """That a run did not come to its end; empty if it did."""
    return _STATES[record.state]


def mark_of(record: Record) -> str:
    """What stands before each latency of the record: nothing unless it is INVALID."""
    return MARK if record.is_invalid else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyRow:
    """One metric. `figures` are those of `LATENCY_FIGURES`, in ms unless one says so, marked."""

    metric: Metric
    count: int
    failed: int
    figures: tuple[str, ...]


def latency_rows(record: Record, views: Views) -> list[LatencyRow]:
    """Every metric that has samples; a percentile has 10 samples beyond it, or is a dash."""
    mark = mark_of(record)
    uncertainty_ns = record.clocks["uncertainty_ns"] if record.clocks else 0
    found = [views.of(metric).metrics.get(metric) for metric in views.run.metrics]
    return [
        _latency_row(one, mark, uncertainty_ns if one.metric.type == DELIVERY.type else 0)
        for one in found
        if one is not None
        if one.failure_count or one.latency.max_ns != 0  # without TLS it takes no time
    ]


def _latency_row(measured: Measured, mark: str, uncertainty_ns: int) -> LatencyRow:
    latency = measured.latency
    figures_ns = [latency.supported_quantile(q) for q in QUANTILES.values()]
    return LatencyRow(
        metric=measured.metric,
        count=measured.count,
        failed=measured.failure_count,
        figures=tuple(
            NO_FIGURE
            if figure_ns is None
            else mark + (ABOUT if figure_ns < uncertainty_ns else "") + duration(figure_ns)
            for figure_ns in (*figures_ns, latency.max_ns)
        ),
    )


def latency_notes(rows: Iterable[LatencyRow]) -> list[str]:
    """What the signs in the rows mean."""
    shown = [figure for row in rows for figure in row.figures]
    notes = []
    if NO_FIGURE in shown:
        notes.append(f"{NO_FIGURE} fewer than 10 samples lie beyond this percentile")
    if any(ABOUT in figure for figure in shown):
        notes.append(f"{ABOUT} the clocks of the machines are not known that exactly, see below")
    if any(figure.startswith(MARK) for figure in shown):
        notes.append(f"{MARK} not to be believed: the generator was late itself, see above")
    return notes


def spread_text(views: Views, mark: str) -> str:
    """By how much the p99 varied within the window: no difference between runs means less."""
    parts = views.parts
    if views.window is None or len(parts) < 2:
        return ""
    spreads = []
    for metric, measured in views.window.metrics.items():
        figures = [_p99_ns(part, metric) for part in parts if not is_of_setup(metric)]
        known = [figure for figure in figures if figure is not None]
        if known and len(known) == len(parts):
            p99_ns = measured.latency.supported_quantile(QUANTILES["p99"])
            between = f"{mark}{duration(min(known))}\u2013{mark}{duration(max(known))}"
            name = cut(metric.name, _NAME_WIDTH)
            spreads.append(f"{name} {mark}{duration(p99_ns)} ({between})")
    if not spreads:
        return ""
    return f"p99, and from least to most in {len(parts)} parts of the window: {', '.join(spreads)}"


def _p99_ns(part: Figures, metric: Metric) -> int | None:
    measured = part.metrics.get(metric)
    return None if measured is None else measured.latency.supported_quantile(QUANTILES["p99"])


def coverage(views: Views) -> str:
    """Which part of the run the figures are of."""
    if views.window is None:
        return "no steady state was reached: all figures are of the whole run"
    return (
        "latencies are of the window and its drain, rates of the window;"
        " CONNECT, joinGroup, leaveGroup, totals and failures are of the whole run"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CountRow:
    """A count of the whole run, and its rate in the window."""

    name: str
    total: str
    per_s: str

    @property
    def cells(self) -> tuple[str, str, str]:
        """The row of a table."""
        return self.name, self.total, self.per_s


def _count_row(name: str, total: int, rates: Figures, field: str) -> CountRow:
    per_s = rates.counts.get(field, 0) / (rates.seconds or 1)
    return CountRow(name=name, total=grouped(total), per_s=grouped(per_s, digits=1))


def load_rows(totals: Totals, views: Views) -> list[CountRow]:
    """What an open loop offered, and what became of it; empty if there was none."""
    if not totals.due:
        return []
    return [
        _count_row("offered", totals.due, views.rates, "due"),
        _count_row("sent", totals.achieved, views.rates, "achieved"),
        _count_row("sent late", totals.late, views.rates, "late"),
        _count_row("dropped", totals.dropped, views.rates, "dropped"),
    ]


def following(totals: Totals) -> int:
    """Messages of a closed loop: each waited for an answer to the one before."""
    answered = sum(
        totals.metrics[metric].count
        for metric in (SEND_TO_GROUP, EVENT, ECHO)
        if metric in totals.metrics
    )
    return max(0, answered - totals.achieved)


def throughput_rows(totals: Totals, views: Views) -> list[CountRow]:
    """Connections, messages and bytes."""
    rates, rate_s = views.rates.counts, views.rates.seconds or 1
    rows = [
        _count_row("connected", totals.connects, views.rates, "connects"),
        _count_row("requests", totals.sent, views.rates, "sent"),
        _count_row("acked", totals.acked, views.rates, "acked"),
        _count_row("delivered", totals.delivered, views.rates, "delivered"),
    ]
    for name, size_bytes, field in (
        ("MB sent", totals.sent_bytes, "sent_bytes"),
        ("MB received", totals.received_bytes, "received_bytes"),
    ):
        per_s = grouped(rates.get(field, 0) / _MILLION / rate_s, digits=3)
        total = grouped(size_bytes / _MILLION, digits=1)
        rows.append(CountRow(name=name, total=total, per_s=per_s))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRow:
    """What became of so many messages, or of so many deliveries that were to be expected."""

    what: str
    total: int
    parts: tuple[tuple[int, str], ...]


def ledger_rows(ledger: Mapping[str, Any] | None) -> list[LedgerRow]:
    """Messages sent and deliveries expected; empty without a ledger."""
    if not ledger:
        return []
    sent = (
        (ledger["acknowledged"], "acknowledged"),
        *((count, f"rejected ({name})") for name, count in ledger["rejected"].items()),
        (ledger["timed_out"], "timed out"),
        (ledger["lost"], "lost with their connection"),
        (ledger["unanswered"], "unanswered at stop"),
        (ledger["in_flight"], "in flight"),
    )
    received = (
        (ledger["delivered"], "delivered"),
        (ledger["missing"], "missing"),
        (ledger["duplicated"], "duplicated"),
        (ledger["out_of_order"], "out of order"),
    )
    return [
        LedgerRow(
            what="messages sent",
            total=ledger["sent"],
            parts=tuple((count, word) for count, word in sent if count or word == "acknowledged"),
        ),
        LedgerRow(what="deliveries expected", total=ledger["expected"], parts=received),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureRow:
    """Failures with one text, and the metrics that they happened to."""

    count: int
    text: str
    metrics: tuple[str, ...]


def failure_rows(totals: Totals) -> list[FailureRow]:
    """The most frequent one first."""
    counts: Counter[str] = Counter()
    metrics: defaultdict[str, list[str]] = defaultdict(list)
    for metric, measured in totals.metrics.items():
        for text, count in measured.failures.items():
            counts[text] += count
            metrics[text].append(metric.name)
    # Equally frequent ones by text: the order must not depend on which worker was first.
    texts = sorted(counts, key=lambda text: (-counts[text], text))
    return [
        FailureRow(count=counts[text], text=text, metrics=tuple(metrics[text])) for text in texts
    ]


def shown_value(result: ThresholdResult, mark: str) -> str:
    """The value that a threshold was held against, marked if it is a latency."""
    is_latency = result.unit == "ns" and result.value is not None
    return mark + result.shown if is_latency else result.shown


def threshold_note(result: ThresholdResult) -> str:
    """What the value is of."""
    part = "window" if result.covers == "window" else "whole run"
    return result.note or f"of the {part}"
