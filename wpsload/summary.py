"""The end of a run in lines of plain text, at most 80 columns wide."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wpsload.figures import Views, figures_of, totals_of
from wpsload.formatting import cut, duration, grouped, short
from wpsload.record import Record
from wpsload.recorder import Totals
from wpsload.reports.ladder_lines import ladder_lines
from wpsload.rows import (
    LATENCY_FIGURES,
    CountRow,
    coverage,
    failure_rows,
    following,
    latency_notes,
    latency_rows,
    ledger_rows,
    load_rows,
    mark_of,
    shown_value,
    spread_text,
    state_text,
    threshold_note,
    throughput_rows,
)
from wpsload.verdict import Verdict, verdict_lines

__all__ = ["report_lines", "summary_lines"]

_WIDTH = 80
_TYPE_WIDTH = 8
_NAME_WIDTH = 17
_MAX_TEXTS = 10


def report_lines(record: Record) -> list[str]:
    """All that is said of a run at its end: the summary, what is in doubt, and the target."""
    ending = state_text(record)
    return [
        *summary_lines(record),
        "",
        *([ending] if ending else []),
        *(f"DOUBT: {doubt}" for doubt in record.doubts),
        f"target: {record.target}",
    ]


def summary_lines(record: Record) -> list[str]:
    """The verdict, latencies of every metric that has samples, then load, books and failures.

    If the run climbed a ladder, how far comes first. A percentile is shown if at least 10 samples
    lie beyond it, otherwise there is a dash. The lines say which part of the run they are of. If
    the verdict is INVALID, every latency has a mark.
    """
    views = figures_of(record)
    totals = totals_of(record, views.run)
    if not totals.duration_s:
        return ["nothing was measured", *_threshold_lines(record, "")]
    verdict = None if record.verdict is None else Verdict.from_dict(record.verdict)
    mark = mark_of(record)
    lines: list[str] = []
    for section in (
        ladder_lines(record),
        verdict_lines(verdict) if verdict is not None else [],
        [
            *_latency_lines(record, views),
            *textwrap.wrap(spread_text(views, mark), _WIDTH),
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


def _latency_lines(record: Record, views: Views) -> list[str]:
    rows = latency_rows(record, views)
    if not rows:
        return []
    cells = [
        (
            cut(row.metric.type, _TYPE_WIDTH),
            cut(row.metric.name.removesuffix(".service"), _NAME_WIDTH),
            short(row.count),
            short(row.failed),
            *row.figures,
        )
        for row in rows
    ]
    head = ("latency", "in ms", "count", "failed", *LATENCY_FIGURES)
    return [*_aligned([head, *cells], left=2), *latency_notes(rows)]


def _phase_lines(record: Record, views: Views) -> list[str]:
    """How long each phase took, and what the figures above and below cover."""
    if not record.phases:
        return []
    rung = record.shown_rung
    lengths = ", ".join(
        f"{one.name} {one.length_s:.1f} s" for one in record.phases if one.rung == rung
    )
    of = "" if rung is None else f" of rung {rung}"
    return [
        *textwrap.wrap(f"phases{of}: {lengths}", _WIDTH),
        *textwrap.wrap(coverage(views), _WIDTH),
    ]


def _threshold_lines(record: Record, mark: str) -> list[str]:
    lines = ["thresholds"] if record.thresholds else []
    for one in record.thresholds:
        verdict = "passed" if one.passed else "FAILED"
        shown = shown_value(one, mark)
        text = f"{verdict}  {one.expression}  {shown}, {threshold_note(one)}"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="        ")
    return lines


def _ledger_lines(ledger: Mapping[str, Any] | None) -> list[str]:
    """What became of every message and of every delivery that was to be expected."""
    lines = ["ledger"] if ledger else []
    for row in ledger_rows(ledger):
        shares = ", ".join(f"{grouped(count)} {word}" for count, word in row.parts)
        text = f"{row.what} {grouped(row.total)}: {shares}"
        lines += textwrap.wrap(text, _WIDTH, subsequent_indent="  ")
    return lines


def _clock_lines(clocks: Mapping[str, Any] | None) -> list[str]:
    if not clocks:
        return []
    within = duration(clocks["uncertainty_ns"])
    return [
        f"clocks of {len(clocks['offsets'])} machines: deliveries between them"
        f" are timed within {within} ms"
    ]


def _foreign_lines(views: Views) -> list[str]:
    foreign = views.run.counts.get("foreign", 0)
    if not foreign:
        return []
    return textwrap.wrap(
        f"{grouped(foreign)} messages of other runs came: they use the same hub and groups, and"
        " the service does their work too; they are in throughput, in no latency and no books",
        _WIDTH,
    )


def _load_lines(totals: Totals, views: Views) -> list[str]:
    """What an open loop offered and what became of it; or that there was none."""
    rows, closed = load_rows(totals, views), following(totals)
    if not rows:
        return ["closed loop: a sender waits for an answer before it sends again"] if closed else []
    lines = _count_lines("open loop", rows)
    if closed:
        lines.append(f"closed loop besides: {grouped(closed)} that waited for an answer")
    return lines


def _throughput_lines(totals: Totals, views: Views) -> list[str]:
    """Totals of the whole run, and rates of the window if there was one."""
    return [
        *_count_lines("throughput", throughput_rows(totals, views)),
        f"connections open: at most {grouped(totals.connections_peak)},"
        f" {grouped(totals.connections_open)} at the end of {grouped(totals.duration_s)} s",
    ]


def _count_lines(title: str, rows: Iterable[CountRow]) -> list[str]:
    return _aligned([(title, "total", "per second"), *(row.cells for row in rows)], left=1)


def _failure_lines(totals: Totals) -> list[str]:
    """Equal texts are one line, with the metrics that they happened to."""
    rows = failure_rows(totals)
    if not rows:
        return []
    width = len(grouped(rows[0].count))
    lines = ["failures"]
    for row in rows[:_MAX_TEXTS]:
        line = f"{grouped(row.count):>{width}}  {row.text} ({', '.join(row.metrics)})"
        lines.append(cut(line, _WIDTH))
    if len(rows) > _MAX_TEXTS:
        rest = sum(row.count for row in rows[_MAX_TEXTS:])
        lines.append(f"{grouped(rest):>{width}}  others, of {len(rows) - _MAX_TEXTS} kinds")
    return lines


def _aligned(rows: Sequence[Sequence[str]], *, left: int) -> list[str]:
    """Rows as lines; the first `left` columns are aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [" ".join(_cells(row, widths, left)).rstrip() for row in rows]


def _cells(row: Sequence[str], widths: Sequence[int], left: int) -> Iterable[str]:
    for position, (cell, width) in enumerate(zip(row, widths, strict=True)):
        yield cell.ljust(width) if position < left else cell.rjust(width)
