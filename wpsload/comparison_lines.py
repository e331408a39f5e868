"""A comparison as people read it: lines of plain text, or of Markdown."""

from collections.abc import Sequence

from wpsload.comparison import Comparison, Outcome, Row
from wpsload.thresholds import shown

__all__ = ["markdown_lines", "text_lines"]

_HEADING = ("figure", "base", "new", "change", "from", "to", "")
_NUMBERS = range(1, 6)  # the columns that are aligned to the right


def text_lines(heading: Sequence[str], comparison: Comparison) -> list[str]:
    """Plain text; `heading` is what to know of the runs."""
    rows = [_HEADING, *map(_cells, comparison.rows)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = [
        "  ".join(
            cell.rjust(width) if column in _NUMBERS else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    conditions = [
        f"{'FAILED' if one.has_failed else 'passed'}  {one.condition.expression}  {_reason(one)}"
        for one in comparison.outcomes
    ]
    sections = [heading, table, [_conclusion(comparison)], ["conditions", *conditions]]
    if not conditions:
        sections.pop()
    return [line for section in sections for line in ("", *section)][1:]


def markdown_lines(heading: Sequence[str], comparison: Comparison) -> list[str]:
    """Tables that GitHub and others draw; what differs is in bold."""
    lines = [f"- {_escaped(line)}" for line in heading]
    rows = [
        (*cells[:-1], f"**{cells[-1]}**" if row in comparison.differences else cells[-1])
        for row, cells in ((row, _cells(row)) for row in comparison.rows)
    ]
    lines += ["", *_table((*_HEADING[:-1], "finding"), rows), "", f"**{_conclusion(comparison)}**"]
    if comparison.outcomes:
        results = [
            (
                "**FAILED**" if one.has_failed else "passed",
                f"`{one.condition.expression}`",
                _reason(one),
            )
            for one in comparison.outcomes
        ]
        lines += ["", *_table(("", "condition", "why"), results)]
    return lines


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    marks = [
        "---:" if column in _NUMBERS and len(heading) > 3 else "---"
        for column in range(len(heading))
    ]
    return [f"| {' | '.join(map(_escaped, row))} |" for row in (heading, marks, *rows)]


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


def _cells(row: Row) -> tuple[str, ...]:
    base, new = (
        "no data" if value is None else shown(value, row.unit) for value in (row.base, row.new)
    )
    if row.finding == "unknown":
        return row.name, base, new, "", "", "", row.unknown
    change, low, high = (_signed(value, row) for value in (row.change, row.low, row.high))
    finding = row.finding if row.finding == "no difference" else row.finding.upper()
    return row.name, base, new, change, low, high, finding


def _signed(value: float | None, row: Row) -> str:
    if value is None:
        return ""
    sign = "-" if value < 0 else "+"
    if row.is_relative:
        return f"{sign}{100 * abs(value):.1f} %"
    return sign + shown(abs(value), row.unit)


def _reason(outcome: Outcome) -> str:
    row = outcome.row
    if row.finding == "unknown":
        return outcome.why
    change, low, high = (_signed(value, row) for value in (row.change, row.low, row.high))
    text = f"{change} (from {low} to {high})"
    return f"{text}: {outcome.why}" if outcome.why else text


def _conclusion(comparison: Comparison) -> str:
    known = [row for row in comparison.rows if row.finding != "unknown"]
    differences = comparison.differences
    if not known:
        return "nothing can be said: see the reasons above"
    if not differences:
        return "no difference: no figure differs by more than it varies within the runs"
    names = ", ".join(f"{row.name} {row.finding}" for row in differences)
    return f"different: {names}"
