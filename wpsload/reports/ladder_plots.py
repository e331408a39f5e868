"""The plots of a ladder: what each rung delivered, and how late, over the load asked for."""

from collections.abc import Sequence
from dataclasses import dataclass

from wpsload.formatting import duration, grouped
from wpsload.record import Ladder, Record
from wpsload.reports.charts import Axis, Band, Level, Line, Marker, linear_axis, log_axis, plot
from wpsload.reports.ladder_lines import RungRow, objective_p99_ns, rung_rows
from wpsload.reports.plots import DOUBTFUL, Plot, stamp_of
from wpsload.units import ms
from wpsload.verdict import MARK

__all__ = ["ladder_plots"]

_FURTHEST = 5  # times what was measured: a line to compare with is drawn up to there
_ROOM = 1.08  # beyond the last rung and the highest point
_SIGNS = {"held": "✓", "missed": "✗", "generator limit": "G", "unfinished": "…"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rungs:
    """The rungs, where each is on the x axis, and how far the objective held."""

    rows: Sequence[RungRow]
    places: Sequence[float]
    x: Axis
    held: Sequence[Band]


def ladder_plots(record: Record) -> list[Plot]:
    """Rates, and the p99 of deliveries; empty without a ladder."""
    rows = rung_rows(record)
    if (ladder := record.ladder) is None or not rows:
        return []
    is_by_rate = len({row.rung.in_per_s for row in rows}) > 1
    places = [row.rung.in_per_s if is_by_rate else float(row.rung.connections) for row in rows]
    unit = "messages/s asked for" if is_by_rate else "connections"
    rungs = _Rungs(
        rows=rows,
        places=places,
        x=linear_axis(unit, 0, max(places) * _ROOM),
        held=[
            Band(name="held", start=0, end=place)
            for place, row in zip(places, rows, strict=True)
            if row.rung.number == ladder.held
        ],
    )
    return [_delivered(ladder, rungs), *_lateness(record, ladder, rungs)]


def _delivered(ladder: Ladder, rungs: _Rungs) -> Plot:
    values = [row.rung.delivered_per_s for row in rungs.rows]
    highest = max(values)
    levels = []
    notes = [_knee(ladder), "✓ held, ✗ missed, G limit of the generator, … unfinished."]
    if (published := ladder.published) is not None:
        text = f"published: {grouped(published.out_per_s)}/s"
        levels.append(Level(name=text, value=published.out_per_s))
        if published.out_per_s <= _FURTHEST * highest:
            highest = max(highest, published.out_per_s)
        else:
            notes.append(f"Far above the plot is what is {text}.")
    texts = [f"{grouped(value)}/s out" for value in values]
    return Plot(
        title="Delivered by rung",
        notes=notes,
        picture=_picture(
            rungs,
            linear_axis("messages/s out", 0, highest * _ROOM),
            values,
            texts,
            levels=levels,
        ),
        legend="",
        head=("rung", "outcome", "connections", "in/s", "sent/s", "out/s", "lost"),
        rows=[
            (
                str(one.number),
                one.outcome,
                grouped(one.connections),
                grouped(one.in_per_s),
                grouped(one.sent_per_s),
                grouped(one.delivered_per_s),
                grouped(one.lost),
            )
            for one in (row.rung for row in rungs.rows)
        ],
    )


def _lateness(record: Record, ladder: Ladder, rungs: _Rungs) -> list[Plot]:
    values = [None if row.p99_ns is None else ms(row.p99_ns) for row in rungs.rows]
    known = [value for value in values if value is not None]
    if not known:
        return []
    limit_ns = objective_p99_ns(ladder)
    levels = []
    if limit_ns is not None:
        text = f"objective: {duration(round(limit_ns))} ms"
        levels.append(Level(name=text, value=ms(round(limit_ns)), is_limit=True))
    notes = [DOUBTFUL] if record.is_invalid else []
    if marked := [str(row.rung.number) for row in rungs.rows if row.is_marked]:
        of = f"rung{'' if len(marked) == 1 else 's'} {', '.join(marked)}"
        notes.append(f"{MARK} is not to be believed, of {of}: the generator was late itself.")
    return [
        Plot(
            title="Delivery p99 by rung",
            notes=notes,
            picture=_picture(
                rungs,
                log_axis("ms", [*known, *(one.value for one in levels)]),
                values,
                [f"delivery p99 {row.p99} ms" for row in rungs.rows],
                levels=levels,
                stamp=stamp_of(record),
                is_latency=True,
            ),
            legend="",
            head=("rung", "outcome", "delivery p99, ms", "why"),
            rows=[(str(row.rung.number), row.rung.outcome, row.p99, row.why) for row in rungs.rows],
        )
    ]


def _picture(
    rungs: _Rungs,
    y: Axis,
    values: Sequence[float | None],
    texts: Sequence[str],
    *,
    levels: Sequence[Level],
    stamp: str = "",
    is_latency: bool = False,
) -> str:
    """A line through the rungs, each marked with what became of it."""
    return plot(
        label=f"{y.label} of each rung over {rungs.x.label}; the table below has the figures",
        x=rungs.x,
        y=y,
        lines=[Line(name="", style=1, points=list(zip(rungs.places, values, strict=True)))],
        levels=levels,
        bands=rungs.held,
        markers=[
            Marker(
                x=place,
                y=value,
                kind=kind,
                sign=sign,
                text=f"rung {row.rung.number}, {row.rung.outcome}: {text}",
            )
            for row, place, value, text in zip(rungs.rows, rungs.places, values, texts, strict=True)
            for kind, sign in [_look(row, is_latency=is_latency)]
            if value is not None
        ],
        stamp=stamp,
    )


def _look(row: RungRow, *, is_latency: bool) -> tuple[str, str]:
    """The class and the sign of a marker."""
    if is_latency and row.is_marked:
        return "doubtful", MARK
    return row.rung.outcome.partition(" ")[0], _SIGNS[row.rung.outcome]


def _knee(ladder: Ladder) -> str:
    if ladder.best is None:
        return "No rung held."
    best = ladder.best
    return (
        f"The knee is rung {best.number}, the last one that held:"
        f" {grouped(best.connections)} connections, {grouped(best.in_per_s)} messages/s in."
    )
