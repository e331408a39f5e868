"""A run in Markdown, short enough for a comment on a pull request."""

import re
from collections.abc import Iterable, Sequence

from wpsload.figures import figures_of, totals_of
from wpsload.formatting import cut, grouped, utc
from wpsload.metrics import CONNECT_PHASES
from wpsload.record import Record
from wpsload.reports.ladder_lines import headline, published_text
from wpsload.rows import (
    LATENCY_FIGURES,
    failure_rows,
    latency_notes,
    latency_rows,
    ledger_rows,
    load_rows,
    mark_of,
    shown_value,
    state_text,
    threshold_note,
    throughput_rows,
)
from wpsload.verdict import MEANING, Verdict

__all__ = ["markdown_report"]

_MOST_METRICS = 12
_MOST_REASONS = 3
_MOST_FAILURES = 3
_MOST_THRESHOLDS = 10
_LONGEST = 200
_SPECIAL = re.compile(r"^-|[\\`*_\[\]<>!|~&$]")
_REFERENCE = re.compile(r"[@#]")


def markdown_report(record: Record) -> str:
    """Verdict, ladder, latencies, rates, books, failures and thresholds."""
    views = figures_of(record)
    totals = totals_of(record, views.run)
    phases = CONNECT_PHASES.values()
    latencies = [row for row in latency_rows(record, views) if row.metric not in phases]
    latencies = latencies[:_MOST_METRICS]
    sections = [
        _head(record),
        _table(
            ("latency in ms", "count", "failed", *LATENCY_FIGURES),
            [
                (
                    _plain(f"{row.metric.type} {row.metric.name}"),
                    grouped(row.count),
                    grouped(row.failed),
                    *map(_plain, row.figures),
                )
                for row in latencies
            ],
        ),
        [_plain("; ".join(latency_notes(latencies)))] if latencies else [],
        _table(
            ("rates", "total", "per second"),
            [row.cells for row in (*load_rows(totals, views), *throughput_rows(totals, views))]
            if totals.duration_s
            else [],
        ),
        [
            f"- {row.what} {grouped(row.total)}: "
            + _plain(", ".join(f"{grouped(count)} {word}" for count, word in row.parts))
            for row in ledger_rows(record.ledger)
        ],
        _limited(
            [
                f"- {grouped(row.count)} failed: {_code(row.text)}"
                f" ({_plain(', '.join(row.metrics))})"
                for row in failure_rows(totals)
            ],
            _MOST_FAILURES,
        ),
        _limited(
            _table(("threshold", "outcome", "value", "covers"), _thresholds(record)),
            2 + _MOST_THRESHOLDS,
        ),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _head(record: Record) -> list[str]:
    """What the run is worth, and how far it climbed."""
    title = "nothing was judged"
    reasons: list[str] = []
    if record.verdict is not None:
        verdict = Verdict.from_dict(record.verdict)
        title = f"{verdict.level.name}: {MEANING[verdict.level]}"
        reasons = [f"- {_plain(one.text)}: {_plain(one.hint)}" for one in verdict.reasons]
    lines = [
        f"### {title}",
        "",
        f"{_code(record.scenario)} on {_code(record.target)}, {utc(record.started_s)}",
    ]
    if state := state_text(record):
        lines += ["", f"**{_plain(state)}**"]
    if record.ladder is not None:
        lines += ["", f"**{_plain(headline(record))}**"]
        if published := published_text(record.ladder):
            lines += ["", _plain(published)]
    listed = [f"- **in doubt:** {_plain(doubt)}" for doubt in record.doubts] + reasons
    return [*lines, *([""] if listed else []), *_limited(listed, _MOST_REASONS)]


def _thresholds(record: Record) -> Iterable[tuple[str, ...]]:
    mark = mark_of(record)
    for one in record.thresholds:
        outcome = "passed" if one.passed else "**FAILED**"
        shown = shown_value(one, mark)
        yield _code(one.expression), outcome, _plain(shown), _plain(threshold_note(one))


def _limited(lines: Sequence[str], most: int) -> list[str]:
    if len(lines) <= most:
        return list(lines)
    return [*lines[:most], "", f"and {len(lines) - most} more"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The first column is aligned to the left, the others to the right; nothing without rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return []
    return [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1), *lines]


def _plain(text: str) -> str:
    """Text as it is: it neither formats, nor links, nor calls on anybody, nor leaves its line."""
    escaped = _SPECIAL.sub(r"\\\g<0>", _in_a_line(text))
    return _REFERENCE.sub("\\g<0>\N{ZERO WIDTH SPACE}", escaped)


def _code(text: str) -> str:
    """Text as it is, in letters of one width; a table may be around it."""
    text = _in_a_line(text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", "\\|")


def _in_a_line(text: str) -> str:
    return " ".join(cut(text, _LONGEST).split())
