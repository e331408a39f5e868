"""The report: results in, Markdown out. Reads nothing and measures nothing."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import median

from benchmarks.results import Played, Results
from benchmarks.rows import CONTESTS, ROWS, Figure, Row

__all__ = ["ALIEN_LIMIT", "calm_rounds", "ratios", "render"]

ALIEN_LIMIT = 0.1
"""A round in which others used more than this share of a core is spoiled."""

_FIGURES: Mapping[Figure, str] = {
    "rate": "rate",
    "cpu": "CPU each",
    "growth": "CPU each",
    "memory": "memory",
    "absolute": "a second",
    "slip": "p99, ms",
}
_AT_MOST = ("growth", "memory", "slip")
_BESIDE: Mapping[Figure, Figure] = {"rate": "cpu", "cpu": "rate"}
"""The second ratio of a row, which decides nothing."""


def render(results: Results, rows: Sequence[Row] = ROWS) -> str:
    """The whole report as Markdown."""
    return "\n".join(
        [
            "# Benchmark results",
            "",
            "Written by `make bench`; [README.md](README.md) says how it is measured.",
            "",
            *_facts(results),
            "",
            "Ratios compare two sides that were played in the same round, and are above 1 where",
            "wpsload does better, but for those that have to be small (≤). All figures are medians",
            "with the lowest and the highest round in brackets. The gate must hold; the goal is",
            "where the best would go.",
            "",
            *_table_of_rows(results, rows),
            *_problems(results),
            *_contests(results, rows),
        ]
    )


def calm_rounds(
    rounds: Iterable[dict[str, Played]], sides: Sequence[str]
) -> list[dict[str, Played]]:
    """The rounds in which all `sides` were measured and nobody else used their core much."""
    return [
        one
        for one in _valid_rounds(rounds, sides)
        if all(one[side].alien <= ALIEN_LIMIT for side in sides)
    ]


def _valid_rounds(
    rounds: Iterable[dict[str, Played]], sides: Sequence[str]
) -> list[dict[str, Played]]:
    return [
        one for one in rounds if all(side in one and one[side].problem is None for side in sides)
    ]


def ratios(row: Row, rounds: Iterable[dict[str, Played]]) -> list[float]:
    """The figure of a row in each round; the rounds hold all of its sides."""
    if row.theirs is None:
        return [one[row.ours].per_s for one in rounds]
    compare: dict[str, Callable[[Played, Played], float]] = {
        "rate": lambda ours, theirs: ours.per_s / theirs.per_s,
        "cpu": lambda ours, theirs: theirs.cpu_us / ours.cpu_us,
        "growth": lambda ours, theirs: ours.cpu_us / theirs.cpu_us,
        "memory": lambda ours, theirs: ours.kib / theirs.kib,
        "slip": lambda ours, _: ours.slip_ms if ours.slip_ms is not None else math.inf,
    }
    return [compare[row.figure](one[row.ours], one[row.theirs]) for one in rounds]


def _facts(results: Results) -> list[str]:
    facts = {**results.machine, "window": f"{results.window_s:g} s a side and round"}
    sides: dict[str, list[str]] = {}
    for side, version in results.versions.items():
        sides.setdefault(version, []).append(side)
    return [
        "| what | which |",
        "| --- | --- |",
        *(f"| {name} | {value} |" for name, value in facts.items()),
        *(f"| {', '.join(names)} | {version} |" for version, names in sides.items()),
    ]


def _table_of_rows(results: Results, rows: Sequence[Row]) -> list[str]:
    return [
        "| work | against | by | gate | goal | measured | beside it | rounds | |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(_cells(row, results))} |" for row in rows),
        "",
    ]


def _cells(row: Row, results: Results) -> list[str]:
    sign = "≤ " if row.figure in _AT_MOST else "≥ "
    limits = [f"{sign}{limit:,g}" if limit is not None else "" for limit in (row.gate, row.goal)]
    return [row.work, row.theirs or "", _FIGURES[row.figure], *limits, *_verdict(row, results)]


def _verdict(row: Row, results: Results) -> tuple[str, str, str, str]:
    """Measured, the ratio beside it, number of rounds, and whether that is enough."""
    sides = [side for side in (row.ours, row.theirs) if side is not None]
    for side in sides:
        if side in results.missing:
            return "", "", "", f"**not measured**: {side}: {results.missing[side]}"
    rounds = results.rounds.get(row.contest, [])
    valid, calm = _valid_rounds(rounds, sides), calm_rounds(rounds, sides)
    if not rounds:
        return "", "", "", "**not measured**: not played"
    if not valid:
        return "", "", f"0 of {len(rounds)}", "**not measured**: see problems"
    values, beside = ratios(row, calm or valid), ""
    if figure := _BESIDE.get(row.figure):
        other = _spread(ratios(replace(row, figure=figure), calm or valid))
        beside = f"{_FIGURES[figure]}: {other}"
    middle = median(values)
    is_at_most = row.figure in _AT_MOST

    def holds(limit: float) -> bool:
        return middle <= limit if is_at_most else middle >= limit

    if row.gate is None:
        said = "for comparison"
    elif row.goal is not None and holds(row.goal):
        said = "goal met"
    else:
        said = "gate met" if holds(row.gate) else "**gate not met**"
    doubt = "" if calm else ", foreign load in every round"
    return _spread(values), beside, f"{len(calm or valid)} of {len(rounds)}", said + doubt


def _problems(results: Results) -> list[str]:
    lines = [f"- {side} could not be had: {why}" for side, why in results.missing.items()]
    for contest, rounds in results.rounds.items():
        for number, one in enumerate(rounds, start=1):
            lines += [
                f"- {contest}, round {number}, {side}: {played.problem}"
                for side, played in one.items()
                if played.problem is not None
            ]
    return ["## Problems", "", *lines, ""] if lines else []


def _contests(results: Results, rows: Sequence[Row]) -> list[str]:
    lines = ["## What each side did", ""]
    for key, contest in CONTESTS.items():
        rounds = results.rounds.get(key)
        if not rounds:
            continue
        title = f"{contest.title[0].upper()}{contest.title[1:]}"
        lines += [f"### {title}", "", f"Measured {results.measured.get(key, 'some time')}.", ""]
        if contest.is_idle:
            lines += ["| side | KiB a connection |", "| --- | --- |"]
        else:
            lines += [
                "| side | a second | generator CPU each (µs) | its core | server's core | alien |",
                "| --- | --- | --- | --- | --- | --- |",
            ]
        for side in contest.sides:
            if played := [one[side] for one in _valid_rounds(rounds, [side])]:
                lines.append(f"| {side} | {' | '.join(_measured(played, contest.is_idle))} |")
        lines.append("")
    return lines


def _measured(played: Sequence[Played], is_idle: bool) -> list[str]:
    if is_idle:
        return [_spread([one.kib for one in played])]
    return [
        _spread([one.per_s for one in played]),
        _spread([one.cpu_us for one in played]),
        f"{median(one.generator_core for one in played):.2f}",
        f"{median(one.server_core for one in played):.2f}",
        f"≤ {max(one.alien for one in played):.2f}",
    ]


def _spread(values: Sequence[float]) -> str:
    """Median, lowest and highest."""
    low, middle, high = map(_number, (min(values), median(values), max(values)))
    return f"{middle} ({low} to {high})"


def _number(value: float) -> str:
    """Three significant digits, or whole thousands in full."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
