"""A run as one page that needs nothing else: no script, no network, no second file.

All that comes from the record is escaped. A latency of an INVALID run is struck out and marked.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import PurePath

from wpsload.figures import Views, figures_of, totals_of
from wpsload.formatting import NO_FIGURE, grouped, utc
from wpsload.metrics import DELIVERY, ECHO, SEND_TO_GROUP, Metric
from wpsload.record import Record
from wpsload.recorder import Totals
from wpsload.reports.ladder_lines import ended_text, headline, published_text
from wpsload.reports.ladder_plots import ladder_plots
from wpsload.reports.plots import (
    Plot,
    connecting_plots,
    distribution_plots,
    percentile_plots,
    rate_plots,
)
from wpsload.reports.style import STYLE
from wpsload.rows import (
    LATENCY_FIGURES,
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
from wpsload.verdict import MARK, MEANING, Verdict

__all__ = ["html_report"]

# Nothing is loaded and nothing runs, whatever a record may have brought in.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'"
_TONES = {"VALID": "good", "SUSPECT": "soft", "INVALID": "bad"}
_HEADLINES = (DELIVERY, SEND_TO_GROUP, ECHO)
_DOUBTFUL = re.compile(rf"{MARK}≈?[\d .]+( s)?( ms)?")
_NUMBER = re.compile(r"[~≈]*[\d .]+[a-zA-Z%/ ]{0,5}|-|")
_MOST_ROWS = 500
_GIB = 2**30


def html_report(record: Record) -> str:
    """The page."""
    views = figures_of(record)
    totals = totals_of(record, views.run)
    title = f"{_scenario(record)}, {utc(record.started_s)}"
    sections = [
        (name, title_, body)
        for name, title_, body in (
            ("ladder", "Ladder", _plots(ladder_plots(record))),
            ("latency", "Latency", _latencies(record, views)),
            ("rates", "Rates over time", _plots(rate_plots(record))),
            ("percentiles", "Percentiles over time", _plots(percentile_plots(record))),
            ("distribution", "Distribution", _plots(distribution_plots(record, views))),
            ("connecting", "Connecting", _plots(connecting_plots(record, views))),
            ("load", "Load and throughput", _load(totals, views)),
            ("ledger", "Ledger", _ledger(record)),
            ("failures", "Failures", _failures(totals)),
            ("thresholds", "Thresholds", _thresholds(record)),
            ("plan", "Plan", _plan(record)),
            ("phases", "Phases and events", _phases(record)),
            ("machine", "Machine and versions", _machine(record)),
            ("repeat", "Repeat it", _repeat(record)),
        )
        if body
    ]
    links = "".join(f'<li><a href="#{name}">{title_}</a></li>' for name, title_, _ in sections)
    return "".join(
        (
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n',
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            f"<title>{escape(title)}</title>\n",
            f'<link rel="icon" href="data:,">\n<style>{STYLE}</style>\n</head>\n<body>\n',
            f"<header>\n{_summary(record, views, totals)}",
            f'<nav aria-label="Sections"><ul>{links}</ul></nav>\n</header>\n<main>\n',
            *(
                f'<section aria-labelledby="{name}">\n<h2 id="{name}">{title_}</h2>\n{body}'
                "</section>\n"
                for name, title_, body in sections
            ),
            "</main>\n<footer>\n<p>Made from the record of the run by "
            f"<code>wpsload report</code>; measured by {escape(_measured_by(record))}.</p>\n"
            "</footer>\n</body>\n</html>\n",
        )
    )


# The summary


def _scenario(record: Record) -> str:
    return PurePath(record.scenario).stem or "run"


def _measured_by(record: Record) -> str:
    return f"wpsload {record.versions.get('wpsload', '')}".rstrip()


def _summary(record: Record, views: Views, totals: Totals) -> str:
    """What the run is, what it is worth, and its few main figures."""
    facts = [utc(record.started_s), f"{grouped(totals.duration_s)} s", record.target]
    return "".join(
        (
            f"<h1>Load test: {escape(_scenario(record))}</h1>\n",
            f'<p class="muted">{escape(" · ".join(facts))}</p>\n',
            f'<ul class="badges">{"".join(_badges(record))}</ul>\n',
            _ladder_headline(record),
            _reasons(record),
            _tiles(record, views, totals)
            if totals.duration_s
            else "<p>Nothing was measured.</p>\n",
        )
    )


def _badges(record: Record) -> Iterable[str]:
    if record.verdict is not None:
        verdict = Verdict.from_dict(record.verdict)
        name = verdict.level.name
        yield f'<li class="{_TONES[name]}">{name}: {MEANING[verdict.level]}</li>'
    if state := state_text(record):
        yield f'<li class="bad">{escape(state)}</li>'
    missed = sum(not one.passed for one in record.thresholds)
    if record.thresholds:
        tone, text = ("bad", "missed") if missed else ("good", "met")
        count = missed or len(record.thresholds)
        yield f'<li class="{tone}">{count} threshold{"" if count == 1 else "s"} {text}</li>'
    if record.doubts:
        yield '<li class="bad">in doubt</li>'


def _reasons(record: Record) -> str:
    items = [f"<b>In doubt:</b> {escape(doubt)}" for doubt in record.doubts]
    figures = ""
    if record.verdict is not None:
        verdict = Verdict.from_dict(record.verdict)
        items += [f"{escape(one.text)}: {escape(one.hint)}" for one in verdict.reasons]
        figures = f'<p class="note">The generator itself: {escape(verdict.figures)}.</p>\n'
    listed = "".join(f"<li>{item}</li>" for item in items)
    return (f'<ul class="reasons">{listed}</ul>\n' if listed else "") + figures


def _ladder_headline(record: Record) -> str:
    if (ladder := record.ladder) is None:
        return ""
    objective = f"Objective {' and '.join(ladder.objective)}: {ended_text(ladder)}."
    notes = [one for one in (published_text(ladder), objective) if one]
    text = re.sub(rf"{MARK}(\S+)", rf"{MARK}<s>\1</s>", escape(headline(record)))
    return f'<p class="headline">{text}</p>\n' + "".join(
        f'<p class="note">{escape(one)}</p>\n' for one in notes
    )


def _tiles(record: Record, views: Views, totals: Totals) -> str:
    rates = {row.name: row.per_s for row in throughput_rows(totals, views)}
    tiles = [
        ("Messages in", rates["requests"], "/s"),
        ("Deliveries out", rates["delivered"], "/s"),
        *(
            (f"{_name(row.metric)} p99", figure, "" if figure.endswith("s") else "ms")
            for metric in _HEADLINES
            for row in latency_rows(record, views)
            if row.metric == metric
            if (figure := row.figures[LATENCY_FIGURES.index("p99")]) != NO_FIGURE
        ),
        *([("Lost", grouped(record.ledger["loss"]), "")] if record.ledger else []),
        ("Connections", grouped(totals.connections_peak), "at most"),
    ]
    shown = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_figure(value)} <small>{unit}</small></dd></div>"
        for name, value, unit in tiles
    )
    return f'<dl class="tiles">{shown}</dl>\n'


def _name(metric: Metric) -> str:
    return "Delivery" if metric == DELIVERY else metric.name


# Sections


def _latencies(record: Record, views: Views) -> str:
    rows = latency_rows(record, views)
    if not rows:
        return ""
    names = [f"{row.metric.type} {row.metric.name}" for row in rows]
    table = _table(
        "Latency in ms",
        ("measurement", *LATENCY_FIGURES, "count", "failed"),
        [
            (name, *row.figures, grouped(row.count), grouped(row.failed))
            for name, row in zip(names, rows, strict=True)
        ],
    )
    meanings = [(name, row.metric.meaning) for name, row in zip(names, rows, strict=True)]
    glossary = _table("From which instant to which", ("measurement", "from → to"), meanings)
    notes = latency_notes(rows)
    if spread := spread_text(views, mark_of(record)):
        notes.append(f"{spread}. A smaller difference between two runs means nothing.")
    notes.append(f"{coverage(views)}.")
    if record.clocks:
        within = grouped(record.clocks["uncertainty_ns"] / 1_000_000, digits=3)
        count = len(record.clocks["offsets"])
        notes.append(f"Clocks of {count} machines: deliveries are timed within {within} ms.")
    return table + _notes(notes) + _details("What each of them is", glossary)


def _load(totals: Totals, views: Views) -> str:
    if not totals.duration_s:
        return ""
    head = ("what", "total", "per second")
    rows = load_rows(totals, views)
    parts = [_table("Open loop", head, [row.cells for row in rows])] if rows else []
    parts.append(_table("Throughput", head, [row.cells for row in throughput_rows(totals, views)]))
    notes = []
    if closed := following(totals):
        notes.append(f"{grouped(closed)} messages waited for the answer to the one before.")
    if foreign := views.run.counts.get("foreign", 0):
        notes.append(f"{grouped(foreign)} messages of other runs came; they are in no latency.")
    return "".join(parts) + _notes(notes)


def _ledger(record: Record) -> str:
    rows = []
    for row in ledger_rows(record.ledger):
        rows.append((row.what, grouped(row.total)))
        rows += [(f"… {word}", grouped(count)) for count, word in row.parts]
    return _table("What became of each", ("what", "count"), rows) if rows else ""


def _failures(totals: Totals) -> str:
    rows = [(row.text, ", ".join(row.metrics), grouped(row.count)) for row in failure_rows(totals)]
    if not rows:
        return "<p>None.</p>\n"
    return _table("Failures of the whole run", ("text", "measurement", "count"), rows)


def _thresholds(record: Record) -> str:
    rows = [
        (
            one.expression,
            "passed" if one.passed else "FAILED",
            shown_value(one, mark_of(record)),
            threshold_note(one),
            NO_FIGURE if one.samples is None else grouped(one.samples),
        )
        for one in record.thresholds
    ]
    head = ("threshold", "outcome", "value", "covers", "samples")
    return _table("What the run had to reach", head, rows) if rows else ""


def _plan(record: Record) -> str:
    rows = [
        (name, NO_FIGURE if value is None else str(value)) for name, value in record.options.items()
    ]
    table = _table("Options, also those of environment variables", ("option", "value"), rows)
    return f"<p>{escape(record.plan)}</p>\n{_details('Options', table) if rows else ''}"


def _phases(record: Record) -> str:
    phases = [
        (
            one.name if one.rung is None else f"{one.name} of rung {one.rung}",
            utc(one.start_s),
            f"{one.length_s:.1f} s",
        )
        for one in record.phases
    ]
    events = [(utc(one.at_s), one.kind, one.text) for one in record.events]
    tables = (
        ("Phases", ("phase", "began", "lasted"), phases),
        ("Events", ("at", "kind", "what"), events),
    )
    return "".join(_table(*one) for one in tables if one[-1])


def _machine(record: Record) -> str:
    machine = record.machine
    memory = None if machine.memory_bytes is None else f"{machine.memory_bytes / _GIB:.1f} GiB"
    facts = {"CPU": machine.cpu, "cores": machine.cores, "memory": memory, "kernel": machine.kernel}
    rows = [(name, str(value)) for name, value in facts.items() if value is not None]
    rows += list(record.versions.items())
    return _table("Where it ran, and with what", ("what", "which"), rows) if rows else ""


def _repeat(record: Record) -> str:
    command = shlex.join(_command(record.command))
    hidden = " Where it has *** stood a secret." if "***" in command else ""
    return (
        f"<pre><code>{escape(command)}</code></pre>\n"
        '<p class="note">Options under <a href="#plan">Plan</a> that are not here came from the'
        f" environment, as did the target, or have their default.{hidden}</p>\n"
    )


def _command(command: Sequence[str]) -> list[str]:
    """As it is typed: without the folder that a program of that machine was in."""
    program, *arguments = command or ["locust"]
    path = PurePath(program)
    if path.name == "__main__.py":
        return ["python", "-m", path.parent.name, *arguments]
    return [path.name, *arguments]


# Pieces


def _plots(plots: Iterable[Plot]) -> str:
    return "".join(map(_plot, plots))


def _plot(one: Plot) -> str:
    return "".join(
        (
            f"<figure>\n<figcaption><h3>{escape(one.title)}</h3>",
            *(f"<p>{escape(note)}</p>" for note in one.notes),
            f"</figcaption>\n{one.legend}{one.picture}\n",
            _details("Table", _table(one.title, one.head, one.rows)),
            "</figure>\n",
        )
    )


def _details(title: str, body: str) -> str:
    return f"<details><summary>{escape(title)}</summary>\n{body}</details>\n"


def _notes(notes: Iterable[str]) -> str:
    return "".join(f'<p class="note">{escape(note)}</p>\n' for note in notes)


def _table(caption: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table that scrolls in itself; the first cell of a row is its head."""
    numeric = [
        all(_NUMBER.fullmatch(row[at]) for row in rows) and bool(rows) for at in range(len(head))
    ]
    left = len(rows) - _MOST_ROWS
    more = f"<p>and {grouped(left)} more</p>" if left > 0 else ""
    heads = "".join(
        f'<th scope="col"{_class("n" if is_number else "")}>{escape(cell)}</th>'
        for cell, is_number in zip(head, numeric, strict=True)
    )
    body = "".join(f"<tr>{_row(row, numeric)}</tr>\n" for row in rows[:_MOST_ROWS])
    return (
        f'<div class="scroll" role="region" aria-label="{escape(caption)}" tabindex="0">\n<table>'
        f"<caption>{escape(caption)}</caption>\n<thead><tr>{heads}</tr></thead>\n"
        f"<tbody>\n{body}</tbody></table>{more}</div>\n"
    )


def _row(row: Sequence[str], numeric: Sequence[bool]) -> str:
    cells = []
    for at, (cell, is_number) in enumerate(zip(row, numeric, strict=True)):
        class_ = _class("n" if is_number else "wide" if len(cell) > 40 else _tone(cell))
        tag, scope = ("th", ' scope="row"') if at == 0 else ("td", "")
        cells.append(f"<{tag}{scope}{class_}>{_figure(cell)}</{tag}>")
    return "".join(cells)


def _tone(cell: str) -> str:
    return {"passed": "good", "held": "good", "FAILED": "bad", "missed": "bad"}.get(cell, "")


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _figure(text: str) -> str:
    """Text of a cell, struck out if it is a latency that is not to be believed."""
    shown = escape(text)
    if _DOUBTFUL.fullmatch(text):
        return f"{MARK}<s>{shown.removeprefix(MARK)}</s>"
    return f"<b>{shown}</b>" if _tone(text) else shown
