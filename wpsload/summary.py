"""The end of a run in lines of plain text, at most 80 columns wide."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wpsload.figures import Figures, Views, figures_of, is_of_setup, totals_of
from wpsload.histogram import QUANTILES
from wpsload.metrics import DELIVERY, ECHO, EVENT, SEND_TO_GROUP, Metric
from wpsload.record import Record
from wpsload.recorder import Measured, Totals
from wpsload.units import ms, seconds
from wpsload.verdict import MARK, Verdict, verdict_lines

__all__ = ["report_lines", "summary_lines"]

_WIDTH = 80
_TYPE_WIDTH = 8
_NAME_WIDTH = 17
_LONGEST_EXACT_COUNT = 999_999  # longer ones would take the table beyond its width
_LONGEST_IN_MS = 99_999
_MILLION = 1_000_000
_MAX_TEXTS = 10
_NO_FIGURE = "-"
_ABOUT = "≈"


def report_lines(record: Record) -> list[str]:
    """All that is said of a run at its end: the summary, what is in doubt, and the target."""
    endings = {
        "running": "NOT OVER: this was written while the run went on",
        "interrupted": "INTERRUPTED: the run was broken off",
        "finished": "",
    }
    ending = endings[record.state]
    return [
        *summary_lines(record),
        "",
        *([ending] if ending else []),
        *(f"DOUBT: {doubt}" for doubt in record.doubts),
        f"target: {record.target}",
    ]


def summary_lines(record: Record) -> list[str]:
    """The verdict, latencies of every metric that has samples, then load, books and failures.

    A percentile is shown if at least 10 samples lie beyond it, otherwise there is a dash. The
    lines say which part of the run they are of. If the verdict is INVALID, every latency has a
    mark.
    """
    views = figures_of(record)
    totals = totals_of(record, views.run)
    if not totals.duration_s:
        return ["nothing was measured", *_threshold_lines(record, "")]
    verdict = None if record.verdict is None else Verdict.from_dict(record.verdict)
    mark = MARK if record.is_invalid else ""
    uncertainty_ns = record.clocks["uncertainty_ns"] if record.clocks else 0
    lines: list[str] = []
    for section in (
        verdict_lines(verdict) if verdict is not None else [],
        [
            *_latency_lines(views, mark, uncertainty_ns),
            *_spread_lines(views, mark),
            *_clock_lines(record.clocks),
        ],
        _phase_lines(record, views),
        _load_lines(totals, views),
        _throughput_lines(totals, views),
        [*_ledger_lines(record.ledger), *_foreign_lines(views)],
        _failure_lines(totals),
        _threshold_lines(record, mark),
    ):
        lines += [*([""] if lines and section else []), *section]
    return lines


def _latency_lines(views: Views, mark: str, uncertainty_ns: int) -> list[str]:
    found = [views.of(metric).metrics.get(metric) for metric in views.run.metrics]
    rows = [
        _latency_cells(
            measured, mark, uncertainty_ns if measured.metric.type == DELIVERY.type else 0
        )
        for measured in found
        if measured is not None
        if measured.failure_count or measured.latency.max_ns != 0  # without TLS it takes no time
    ]
    if not rows:
        return []
    lines = _aligned([("latency", "in ms", "count", "failed", *QUANTILES, "max"), *rows], left=2)
    if any(_NO_FIGURE in row for row in rows):
        lines.append(f"{_NO_FIGURE} fewer than 10 samples lie beyond this percentile")
    if any(_ABOUT in cell for row in rows for cell in row):
        lines.append(f"{_ABOUT} the clocks of the machines are not known that exactly, see below")
    if mark:
        lines.append(f"{MARK} not to be believed: the generator was late itself, see above")
    return lines


def _spread_lines(views: Views, mark: str) -> list[str]:
    """By how much the p99 varied within the window: no difference between runs means less."""
    parts = views.parts
    if views.window is None or len(parts) < 2:
        return []
    spreads = []
    for metric, measured in views.window.metrics.items():
        figures = [_p99_ns(part, metric) for part in parts if not is_of_setup(metric)]
        known = [figure for figure in figures if figure is not None]
        if known and len(known) == len(parts):
            p99_ns = measured.latency.supported_quantile(QUANTILES["p99"])
            between = f"{mark}{_duration(min(known))}\u2013{mark}{_duration(max(known))}"
            name = _cut(metric.name, _NAME_WIDTH)
            spreads.append(f"{name} {mark}{_duration(p99_ns)} ({between})")
    if not spreads:
        return []
    text = f"p99, and from least to most in {len(parts)} parts of the window: {', '.join(spreads)}"
    return textwrap.wrap(text, _WIDTH)


def _p99_ns(part: Figures, metric: Metric) -> int | None:
    measured = part.metrics.get(metric)
    return None if measured is None else measured.latency.supported_quantile(QUANTILES["p99"])


def _phase_lines(record: Record, views: Views) -> list[str]:
    """How long each phase took, and what the figures above and below cover."""
    if not record.phases:
        return []
    lengths = ", ".join(f"{one.name} {one.length_s:.1f} s" for one in record.phases)
    if views.window is None:
        covers = "no steady state was reached: all figures are of the whole run"
    else:
        covers = (
            "latencies are of the window and its drain, rates of the window;"
            " CONNECT, joinGroup, leaveGroup, totals and failures are of the whole run"
        )
    return [*textwrap.wrap(f"phases: {lengths}", _WIDTH), *textwrap.wrap(covers, _WIDTH)]


def _threshold_lines(record: Record, mark: str) -> list[str]:
    lines = ["thresholds"] if record.thresholds else []
    for one in record.thresholds:
        part = "window" if one.covers == "window" else "whole run"
        note = one.note if one.note else f"of the {part}"
        verdict = "passed" if one.passed else "FAILED"
        shown = mark + one.shown if one.unit == "ns" and one.value is not None else one.shown
        text = f"{verdict}  {one.expression}  {shown}, {note}"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="        ")
    return lines


def _ledger_lines(ledger: Mapping[str, Any] | None) -> list[str]:
    """What became of every message and of every delivery that was to be expected."""
    if not ledger:
        return []
    sent = [
        (count, word)
        for count, word in (
            (ledger["acknowledged"], "acknowledged"),
            *((count, f"rejected ({name})") for name, count in ledger["rejected"].items()),
            (ledger["timed_out"], "timed out"),
            (ledger["lost"], "lost with their connection"),
            (ledger["unanswered"], "unanswered at stop"),
            (ledger["in_flight"], "in flight"),
        )
        if count or word == "acknowledged"
    ]
    received = (
        (ledger["delivered"], "delivered"),
        (ledger["missing"], "missing"),
        (ledger["duplicated"], "duplicated"),
        (ledger["out_of_order"], "out of order"),
    )
    lines = ["ledger"]
    for what, total, parts in (
        ("messages sent", ledger["sent"], sent),
        ("deliveries expected", ledger["expected"], received),
    ):
        shares = ", ".join(f"{_grouped(count)} {word}" for count, word in parts)
        lines += textwrap.wrap(
            f"{what} {_grouped(total)}: {shares}", _WIDTH, subsequent_indent="  "
        )
    return lines


def _clock_lines(clocks: Mapping[str, Any] | None) -> list[str]:
    if not clocks:
        return []
    within = _duration(clocks["uncertainty_ns"])
    return [
        f"clocks of {len(clocks['offsets'])} machines: deliveries between them"
        f" are timed within {within} ms"
    ]


def _latency_cells(measured: Measured, mark: str, uncertainty_ns: int) -> tuple[str, ...]:
    latency = measured.latency
    figures_ns = [latency.supported_quantile(q) for q in QUANTILES.values()]
    figures = [
        _NO_FIGURE
        if figure_ns is None
        else mark + (_ABOUT if figure_ns < uncertainty_ns else "") + _duration(figure_ns)
        for figure_ns in (*figures_ns, latency.max_ns)
    ]
    return (
        _cut(measured.metric.type, _TYPE_WIDTH),
        _cut(measured.metric.name.removesuffix(".service"), _NAME_WIDTH),
        _short(measured.count),
        _short(measured.failure_count),
        *figures,
    )


def _foreign_lines(views: Views) -> list[str]:
    foreign = views.run.counts.get("foreign", 0)
    if not foreign:
        return []
    return textwrap.wrap(
        f"{_grouped(foreign)} messages of other runs came: they use the same hub and groups, and"
        " the service does their work too; they are in throughput, in no latency and no books",
        _WIDTH,
    )


def _load_lines(totals: Totals, views: Views) -> list[str]:
    """What an open loop offered and what became of it; or that there was none."""
    answered = sum(
        totals.metrics[metric].count
        for metric in (SEND_TO_GROUP, EVENT, ECHO)
        if metric in totals.metrics
    )
    following = answered - totals.achieved
    if not totals.due:
        is_load = following > 0
        return (
            ["closed loop: a sender waits for an answer before it sends again"] if is_load else []
        )
    rows = [
        ("open loop", "total", "per second"),
        _count_row("offered", totals.due, views.rates, "due"),
        _count_row("sent", totals.achieved, views.rates, "achieved"),
        _count_row("sent late", totals.late, views.rates, "late"),
        _count_row("dropped", totals.dropped, views.rates, "dropped"),
    ]
    lines = _aligned(rows, left=1)
    if following > 0:
        lines.append(f"closed loop besides: {_grouped(following)} that waited for an answer")
    return lines


def _count_row(name: str, total: int, rates: Figures, field: str) -> tuple[str, str, str]:
    """A count of the whole run, and its rate in the part that `rates` is of."""
    per_s = rates.counts.get(field, 0) / (rates.seconds or 1)
    return name, _grouped(total), _grouped(per_s, digits=1)


def _throughput_lines(totals: Totals, views: Views) -> list[str]:
    """Totals of the whole run, and rates of the window if there was one."""
    rates, rate_s = views.rates.counts, views.rates.seconds or 1
    rows = [
        ("throughput", "total", "per second"),
        _count_row("connected", totals.connects, views.rates, "connects"),
        _count_row("requests", totals.sent, views.rates, "sent"),
        _count_row("acked", totals.acked, views.rates, "acked"),
        _count_row("delivered", totals.delivered, views.rates, "delivered"),
    ]
    for name, size_bytes, field in (
        ("MB sent", totals.sent_bytes, "sent_bytes"),
        ("MB received", totals.received_bytes, "received_bytes"),
    ):
        per_s = _grouped(rates.get(field, 0) / _MILLION / rate_s, digits=3)
        rows.append((name, _grouped(size_bytes / _MILLION, digits=1), per_s))
    return [
        *_aligned(rows, left=1),
        f"connections open: at most {_grouped(totals.connections_peak)},"
        f" {_grouped(totals.connections_open)} at the end of {_grouped(totals.duration_s)} s",
    ]


def _failure_lines(totals: Totals) -> list[str]:
    """Equal texts are one line, with the metrics that they happened to."""
    counts: Counter[str] = Counter()
    metrics: defaultdict[str, list[str]] = defaultdict(list)
    for metric, measured in totals.metrics.items():
        for text, count in measured.failures.items():
            counts[text] += count
            metrics[text].append(metric.name)
    if not counts:
        return []
    # Equally frequent ones by text: the order must not depend on which worker was first.
    texts = sorted(counts, key=lambda text: (-counts[text], text))
    width = len(_grouped(counts[texts[0]]))
    lines = ["failures"]
    for text in texts[:_MAX_TEXTS]:
        line = f"{_grouped(counts[text]):>{width}}  {text} ({', '.join(metrics[text])})"
        lines.append(_cut(line, _WIDTH))
    if len(texts) > _MAX_TEXTS:
        rest = sum(counts[text] for text in texts[_MAX_TEXTS:])
        lines.append(f"{_grouped(rest):>{width}}  others, of {len(texts) - _MAX_TEXTS} kinds")
    return lines


def _aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows as lines; the first `left` columns are aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [" ".join(_cells(row, widths, left)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], left: int) -> Iterable[str]:
    for position, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if position < left else cell.rjust(width)


def _duration(duration_ns: int | None) -> str:
    """Milliseconds with about three digits; seconds, and saying so, from 100 s on."""
    if duration_ns is None:
        return _NO_FIGURE
    if duration_ns == 0:
        return "0"
    duration_ms = ms(duration_ns)
    for digits, limit in ((3, 0.1), (2, 10), (1, 100)):
        # Compared as printed: 9.996 is 10.0, not 10.00.
        if round(duration_ms, digits) < limit:
            return f"{duration_ms:.{digits}f}"
    if round(duration_ms) <= _LONGEST_IN_MS:
        return _grouped(duration_ms)
    return f"{seconds(duration_ns):.0f} s"


def _short(count: int) -> str:
    """A count in 7 characters."""
    if count <= _LONGEST_EXACT_COUNT:
        return _grouped(count)
    return f"{count / _MILLION:.1f}M"


def _grouped(number: float, *, digits: int = 0) -> str:
    return f"{number:,.{digits}f}".replace(",", " ")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
