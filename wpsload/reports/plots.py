"""Which plots a run has, each with the table of what it draws."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from wpsload.figures import Views, is_of_setup
from wpsload.formatting import NO_FIGURE, duration, grouped
from wpsload.histogram import Histogram
from wpsload.metrics import CONNECT, CONNECT_PHASES, OWN_METRICS, Metric
from wpsload.record import MetricSeries, Phase, Record
from wpsload.reports.charts import (
    STYLES,
    Axis,
    Band,
    Bar,
    Hover,
    Line,
    bars,
    legend,
    linear_axis,
    log_axis,
    percentile_axis,
    plot,
)
from wpsload.reports.course import Course, course_of
from wpsload.rows import mark_of
from wpsload.units import ms

__all__ = [
    "DOUBTFUL",
    "Plot",
    "connecting_plots",
    "distribution_plots",
    "percentile_plots",
    "rate_plots",
    "stamp_of",
]

DOUBTFUL = "INVALID run: these latencies tell of the generator, not of the service."
"""Stands above each plot of latencies that are not to be believed."""

_SHARES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 0.999999)
_STEPS_OF_A_NINE = 16
_MOST_METRICS = 6  # those with the most samples: a scenario may have any number of its own
_SUPPORT = 10  # samples that have to lie beyond a percentile, as in every table


def stamp_of(record: Record) -> str:
    """What is written across pictures of latencies: INVALID, or nothing."""
    return "INVALID" if record.is_invalid else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A picture in SVG, what its lines are, and the same as a table."""

    title: str
    notes: Sequence[str]
    picture: str
    legend: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


# Over time


def rate_plots(record: Record) -> list[Plot]:
    """What went into the service, and what came out of it."""
    columns = record.series.columns
    ways_in = {"offered": "due", "achieved": "achieved", "acked": "acked"}
    if not any(columns.get("due", ())):
        ways_in = {"sent": "sent", "acked": "acked"}
    return [
        *_count_plots(record, "Into the service", "messages/s", ways_in),
        *_count_plots(record, "Out of the service", "messages/s", {"delivered": "delivered"}),
    ]


def _count_plots(
    record: Record, title: str, unit: str, names: dict[str, str], *, first_style: int = 1
) -> list[Plot]:
    course = course_of(record)
    found = {name: record.series.columns.get(column, []) for name, column in names.items()}
    found = {name: column for name, column in found.items() if any(column)}
    if course is None or not found:
        return []
    means = {name: course.mean(column) for name, column in found.items()}
    digits = 0 if course.every_s == 1 else 1
    rows = [
        tuple(grouped(value, digits=digits) for value in values)
        for values in zip(*means.values(), strict=True)
    ]
    highest = max(max(values) for values in means.values())
    return [
        _over_time(
            record,
            course,
            title=title,
            y=linear_axis(unit, 0, highest),
            series=means,
            rows=rows,
            notes=[f"Each point is the mean of {course.every_s} s."] if course.every_s > 1 else [],
            first_style=first_style,
        )
    ]


def percentile_plots(record: Record) -> list[Plot]:
    """Latency second by second, for the measurements of the steady state."""
    course = course_of(record)
    if course is None:
        return []
    own = {(metric.type, metric.name) for metric in OWN_METRICS}
    found = [
        one
        for one in record.series.metrics
        if (one.type, one.name) not in own
        and not is_of_setup(Metric(one.type, one.name, ""))
        and any(one.latency_ns.get("max", ()))
    ]
    found.sort(key=lambda one: -sum(one.successes))
    return [_percentile_plot(record, course, one) for one in found[:_MOST_METRICS]]


def _percentile_plot(record: Record, course: Course, one: MetricSeries) -> Plot:
    mark = mark_of(record)
    found = {name: course.greatest(column) for name, column in one.latency_ns.items()}
    rows = [
        tuple(_marked(value, mark) for value in values)
        for values in zip(*found.values(), strict=True)
    ]
    series = {name: _in_ms(values) for name, values in found.items()}
    notes = [DOUBTFUL] if mark else []
    notes.append(
        "Of each second, however few its samples are; the table above has the percentiles of all."
        if course.every_s == 1
        else f"Each point is the worst second of {course.every_s}."
    )
    return _over_time(
        record,
        course,
        title=f"{one.type} {one.name}",
        y=log_axis("ms", (value for values in series.values() for value in values if value)),
        series=series,
        rows=rows,
        notes=notes,
        stamp=stamp_of(record),
    )


def _marked(duration_ns: int | None, mark: str) -> str:
    return NO_FIGURE if duration_ns is None else mark + duration(duration_ns)


def _in_ms(values: Iterable[int | None]) -> list[float | None]:
    return [None if value is None else ms(value) for value in values]


def _over_time(
    record: Record,
    course: Course,
    *,
    title: str,
    y: Axis,
    series: Mapping[str, Sequence[float | None]],
    rows: Sequence[Sequence[str]],
    notes: Sequence[str],
    first_style: int = 1,
    stamp: str = "",
) -> Plot:
    """Lines by name over the seconds of the run; `rows` has the same values as text."""
    last_s = course.starts_s[-1] + course.every_s
    unit, unit_s = _unit_of(last_s)
    times = [start_s / unit_s for start_s in course.starts_s]
    lines = [
        Line(name=name, style=style, points=list(zip(times, values, strict=True)))
        for style, (name, values) in enumerate(series.items(), first_style)
    ]
    shown = [f"{start_s} s" for start_s in course.starts_s]
    return Plot(
        title=title,
        notes=notes,
        picture=plot(
            label=f"{title}, {y.label}, over the time of the run; the table below has the figures",
            x=linear_axis(f"{unit} since the start", 0, last_s / unit_s),
            y=y,
            lines=lines,
            bands=[
                Band(
                    name=_phase_name(one),
                    start=(one.start_s - course.first) / unit_s,
                    end=(one.start_s - course.first + one.length_s) / unit_s,
                    is_shaded=one.name != "window",
                )
                for one in record.phases
            ],
            hovers=[
                Hover(
                    start=(start_s - course.every_s / 2) / unit_s,
                    end=(start_s + course.every_s / 2) / unit_s,
                    text="\n".join([at, *map(" ".join, zip(series, row, strict=True))]),
                )
                for start_s, at, row in zip(course.starts_s, shown, rows, strict=True)
            ],
            stamp=stamp,
        ),
        legend=legend(lines),
        head=("time", *(f"{name}, {y.label}" for name in series)),
        rows=[(at, *row) for at, row in zip(shown, rows, strict=True)],
    )


def _phase_name(phase: Phase) -> str:
    """A ladder has many phases, and its rungs are measured in their windows."""
    if phase.rung is None:
        return phase.name
    return f"rung {phase.rung}" if phase.name == "window" else f"{phase.name} {phase.rung}"


def _unit_of(length_s: int) -> tuple[str, int]:
    """The unit of an axis of that length, and its seconds."""
    if length_s <= 200:
        return "s", 1
    return ("min", 60) if length_s <= 200 * 60 else ("h", 3600)


# Distributions


def distribution_plots(record: Record, views: Views) -> list[Plot]:
    """Latency by the share of the samples that it is not above, as far as they support it."""
    found = {
        metric: latency
        for metric in views.run.metrics
        if not is_of_setup(metric)
        if (measured := views.of(metric).metrics.get(metric)) is not None
        if (latency := measured.latency).count > _SUPPORT and latency.max_ns
    }
    if not found:
        return []
    mark = mark_of(record)
    curves = [_curve(latency) for latency in found.values()]
    names = [f"{metric.type} {metric.name}" for metric in found]
    lines = [
        Line(name=name, style=1 + number % STYLES, points=curve)
        for number, (name, curve) in enumerate(zip(names, curves, strict=True))
    ]
    highest = max(_supported_share(latency) for latency in found.values())
    shares = [share for share in _SHARES if share <= highest]
    columns = [
        [*map(latency.supported_quantile, shares), latency.max_ns] for latency in found.values()
    ]
    rows = [
        (_share_text(share), *(_marked(one, mark) for one in row))
        for share, row in zip([*shares, 1.0], zip(*columns, strict=True), strict=True)
    ]
    return [
        Plot(
            title="Latency by percentile",
            notes=[
                *([DOUBTFUL] if mark else []),
                "A line ends where fewer than 10 samples lie beyond it.",
            ],
            picture=plot(
                label="latency by percentile, each nine as long as the one before;"
                " the table below has the figures",
                x=percentile_axis("of the samples took no longer", highest),
                y=log_axis("ms", (value for curve in curves for _, value in curve)),
                lines=lines,
                stamp=stamp_of(record),
            ),
            legend=legend(lines),
            head=("percentile", *(f"{name}, ms" for name in names)),
            rows=rows,
        )
    ]


def _supported_share(latency: Histogram) -> float:
    return 1 - _SUPPORT / latency.count


def _curve(latency: Histogram) -> list[tuple[float, float]]:
    highest = _supported_share(latency)
    shares = [0.0]
    while (share := round(1 - 10 ** (-len(shares) / _STEPS_OF_A_NINE), 8)) <= highest:
        shares.append(share)
    values_ns = latency.quantiles(shares)
    return [
        (share, ms(value_ns))
        for share, value_ns in zip(shares, values_ns, strict=True)
        if value_ns is not None
    ]


def _share_text(share: float) -> str:
    return {0.0: "least", 1.0: "greatest"}.get(share) or f"{100 * share:.6g} %"


def connecting_plots(record: Record, views: Views) -> list[Plot]:
    """What connecting took, by phase, and how many connections there were."""
    plots = _count_plots(
        record, "Connections", "connections", {"open": "connections_open"}, first_style=3
    )
    found = [
        views.run.metrics[metric]
        for metric in (CONNECT, *CONNECT_PHASES.values())
        if metric in views.run.metrics
        if views.run.metrics[metric].latency.max_ns
    ]
    if not found:
        return plots
    mark = mark_of(record)
    figures = [
        (one.metric.name, one.latency.supported_quantile(0.5), one.latency.max_ns or 0)
        for one in found
    ]
    rows = [
        (
            one.metric.name,
            one.metric.meaning,
            *(
                _marked(figure, mark)
                for figure in (
                    one.latency.min_ns,
                    one.latency.supported_quantile(0.5),
                    one.latency.supported_quantile(0.99),
                    one.latency.max_ns,
                )
            ),
        )
        for one in found
    ]
    greatest_ms = max(ms(greatest_ns) for _, _, greatest_ns in figures)
    picture = bars(
        label="what each phase of connecting took; the table below has the figures",
        x=linear_axis("ms", 0, greatest_ms),
        stamp=stamp_of(record),
        rows=[
            Bar(
                name=name,
                value=ms(median_ns or 0),
                greatest=ms(greatest_ns),
                text=f"median {_marked(median_ns, mark)}, most {_marked(greatest_ns, mark)} ms",
            )
            for name, median_ns, greatest_ns in figures
        ],
    )
    notes = ["A bar is the median, the thin line goes on to the greatest value."]
    return [
        Plot(
            title="Phases of connecting",
            notes=[*([DOUBTFUL] if mark else []), *notes],
            picture=picture,
            legend="",
            head=("phase", "from → to", "least, ms", "p50, ms", "p99, ms", "greatest, ms"),
            rows=rows,
        ),
        *plots,
    ]
