"""The end of a run in lines of plain text, at most 80 columns wide."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from wpsload.histogram import QUANTILES
from wpsload.metrics import ECHO, EVENT, SEND_TO_GROUP
from wpsload.recorder import Measured, Totals
from wpsload.units import ms, seconds
from wpsload.verdict import Verdict, verdict_lines

__all__ = ["summary_lines"]

_WIDTH = 80
_TYPE_WIDTH = 8
_NAME_WIDTH = 17
_LONGEST_EXACT_COUNT = 999_999  # longer ones would take the table beyond its width
_LONGEST_IN_MS = 99_999
_MILLION = 1_000_000
_MAX_TEXTS = 10
_NO_FIGURE = "-"
_MARK = "~"


def summary_lines(totals: Totals, verdict: Verdict | None = None) -> list[str]:
    """The verdict if there is one, latencies of every metric that has samples, then throughput,
    then the failures.

    A percentile is shown if at least 10 samples lie beyond it, otherwise there is a dash. If the
    verdict is INVALID, every latency has a mark.
    """
    if not totals.duration_s:
        return ["nothing was measured"]
    lines: list[str] = []
    for section in (
        verdict_lines(verdict) if verdict is not None else [],
        _latency_lines(totals, is_marked=verdict is not None and verdict.is_invalid),
        _load_lines(totals),
        _throughput_lines(totals),
        _failure_lines(totals),
    ):
        lines += [*([""] if lines and section else []), *section]
    return lines


def _latency_lines(totals: Totals, *, is_marked: bool) -> list[str]:
    rows = [
        _latency_cells(measured, is_marked=is_marked)
        for measured in totals.metrics.values()
        if measured.failure_count or measured.latency.max_ns != 0  # without TLS it takes no time
    ]
    if not rows:
        return []
    lines = _aligned([("latency", "in ms", "count", "failed", *QUANTILES, "max"), *rows], left=2)
    if any(_NO_FIGURE in row for row in rows):
        lines.append(f"{_NO_FIGURE} fewer than 10 samples lie beyond this percentile")
    if is_marked:
        lines.append(f"{_MARK} not to be believed: the generator was late itself, see above")
    return lines


def _latency_cells(measured: Measured, *, is_marked: bool) -> tuple[str, ...]:
    latency = measured.latency
    figures_ns = [latency.supported_quantile(q) for q in QUANTILES.values()]
    figures = [_duration(figure_ns) for figure_ns in (*figures_ns, latency.max_ns)]
    if is_marked:
        figures = [one if one == _NO_FIGURE else _MARK + one for one in figures]
    return (
        _cut(measured.metric.type, _TYPE_WIDTH),
        _cut(measured.metric.name.removesuffix(".service"), _NAME_WIDTH),
        _short(measured.count),
        _short(measured.failure_count),
        *figures,
    )


def _load_lines(totals: Totals) -> list[str]:
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
    rows = [("open loop", "total", "per second")]
    for name, count in (
        ("offered", totals.due),
        ("sent", totals.achieved),
        ("sent late", totals.late),
        ("dropped", totals.dropped),
    ):
        rows.append((name, _grouped(count), _grouped(count / totals.duration_s, digits=1)))
    lines = _aligned(rows, left=1)
    if following > 0:
        lines.append(f"closed loop besides: {_grouped(following)} that waited for an answer")
    return lines


def _throughput_lines(totals: Totals) -> list[str]:
    duration_s = totals.duration_s
    rows = [("throughput", "total", "per second")]
    for name, count in (
        ("connected", totals.connects),
        ("requests", totals.sent),
        ("acked", totals.acked),
        ("delivered", totals.delivered),
    ):
        rows.append((name, _grouped(count), _grouped(count / duration_s, digits=1)))
    for name, size_bytes in (
        ("MB sent", totals.sent_bytes),
        ("MB received", totals.received_bytes),
    ):
        megabytes = size_bytes / _MILLION
        per_s = _grouped(megabytes / duration_s, digits=3)
        rows.append((name, _grouped(megabytes, digits=1), per_s))
    return [
        *_aligned(rows, left=1),
        f"connections open: at most {_grouped(totals.connections_peak)},"
        f" {_grouped(totals.connections_open)} at the end of {_grouped(duration_s)} s",
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
