"""Plots as SVG that fits any width: coordinates are percentages, letters keep their size.

A plot is as wide as its place. Positions are shares of the width and the height, and the lines are
in a nested picture that is stretched, with strokes that are not. So nothing has to be measured, no
script runs, and a phone shows the same letters as a large screen. Colours are those of the classes
in `reports.style`; each line has a pattern of dashes as well.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from wpsload.formatting import grouped

__all__ = [
    "STYLES",
    "Axis",
    "Band",
    "Bar",
    "Hover",
    "Level",
    "Line",
    "Marker",
    "bars",
    "legend",
    "linear_axis",
    "log_axis",
    "percentile_axis",
    "plot",
]

STYLES = 6
"""How many lines can be told apart, see `Line.style`."""

_SIDE = 1000  # of the stretched picture
_TICKS = 5
_FINEST = 0.7  # of a step: rather seven ticks than three
_NARROW, _NARROWEST = 0.22, 0.06  # a name fits into such a share of a phone, of a large screen
_STEPS = (1, 2, 5, 10)
_MOST_NINES = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """From `low` to `high`, with ticks (value, text). `scale` makes equal steps equally long."""

    label: str
    low: float
    high: float
    ticks: Sequence[tuple[float, str]]
    scale: Callable[[float], float] = float

    def place(self, value: float) -> float:
        """Where a value lies, from 0 to 1; what lies beyond an end is at the end."""
        low, high = self.scale(self.low), self.scale(self.high)
        inside = min(max(value, self.low), self.high)
        return (self.scale(inside) - low) / (high - low)


def linear_axis(label: str, low: float, high: float) -> Axis:
    """Round ticks between the ends."""
    if high <= low:
        high = low + 1
    step = _round_up(_FINEST * (high - low) / _TICKS)
    ticks = [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]
    digits = max(0, -math.floor(math.log10(step)))
    return Axis(
        label=label, low=low, high=high, ticks=[(one, grouped(one, digits=digits)) for one in ticks]
    )


def log_axis(label: str, values: Iterable[float]) -> Axis:
    """Around all positive values; ticks at 1, 2 and 5, or at powers of ten if they are many."""
    positive = [value for value in values if value > 0] or [1.0]
    low, high = _step_below(min(positive)), _step_above(max(positive))
    if high <= low:
        high = _step_above(low * 1.01)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [
        tick
        for power in range(first, last + 1)
        for step in steps
        if low * 0.999 <= (tick := step * 10.0**power) <= high * 1.001
    ]
    return Axis(
        label=label, low=low, high=high, ticks=[(one, _plain(one)) for one in ticks], scale=_log10
    )


def percentile_axis(label: str, highest: float) -> Axis:
    """Shares from 0 to `highest`, each nine as long as the one before."""
    nines = min(_MOST_NINES, math.floor(_nines(highest) + 1e-9))
    shares = [1 - 10.0**-power for power in range(nines + 1)]
    return Axis(
        label=label,
        low=0.0,
        high=max(highest, 0.5),
        ticks=[(one, f"{100 * one:.{max(0, power - 2)}f} %") for power, one in enumerate(shares)],
        scale=_nines,
    )


def _nines(share: float) -> float:
    return -math.log10(max(1 - share, 10.0 ** -(_MOST_NINES + 1)))


def _log10(value: float) -> float:
    return math.log10(value)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in _STEPS if step * power >= value * 0.999)


def _step_above(value: float) -> float:
    return _round_up(value)


def _step_below(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in _STEPS if step * power <= value * 1.001)


def _plain(value: float) -> str:
    return grouped(value) if value >= 1 else f"{value:.{-math.floor(math.log10(value))}f}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Points from left to right; a None is a gap. `style` is 1 to `STYLES`."""

    name: str
    style: int
    points: Sequence[tuple[float, float | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A value of the y axis to compare with, right across; a limit is one to stay below."""

    name: str
    value: float
    is_limit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A part of the x axis that has a name."""

    name: str
    start: float
    end: float
    is_shaded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A point that stands out, by a letter as well as by its class."""

    x: float
    y: float
    kind: str
    sign: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Hover:
    """What the pointer tells between two values of the x axis."""

    start: float
    end: float
    text: str


def plot(
    *,
    label: str,
    x: Axis,
    y: Axis,
    lines: Sequence[Line],
    levels: Sequence[Level] = (),
    bands: Sequence[Band] = (),
    markers: Sequence[Marker] = (),
    hovers: Sequence[Hover] = (),
    stamp: str = "",
) -> str:
    """The picture; `label` describes it to who cannot see it, `stamp` is written across it."""
    return "".join(
        (
            f'<svg class="plot" role="img" aria-label="{escape(label)}">',
            *(_band(one, x) for one in bands),
            *(_y_tick(y.place(value), text) for value, text in y.ticks),
            *(_x_tick(x.place(value), text) for value, text in x.ticks),
            '<line class="axis" x1="0" y1="100%" x2="100%" y2="100%"/>',
            f'<text class="unit" x="0" y="0" dx="-3.6em" dy="-1.7em">{escape(y.label)}</text>',
            f'<text class="unit end" x="100%" y="100%" dy="2.9em">{escape(x.label)}</text>',
            *(_level(one, y) for one in levels if y.low <= one.value <= y.high),
            f'<svg width="100%" height="100%" viewBox="0 0 {_SIDE} {_SIDE}"'
            ' preserveAspectRatio="none">',
            *(_path(one, x, y) for one in lines),
            "</svg>",
            *(_hover(one, x) for one in hovers),
            *(_marker(one, x, y) for one in markers),
            _stamp(stamp),
            "</svg>",
        )
    )


def _stamp(text: str) -> str:
    return f'<text class="stamp" x="50%" y="50%">{escape(text)}</text>' if text else ""


def legend(lines: Sequence[Line]) -> str:
    """Which line is which, as a list."""
    items = "".join(
        f'<li><svg aria-hidden="true"><line class="s{one.style}" x1="0" y1="50%" x2="100%"'
        f' y2="50%"/></svg>{escape(one.name)}</li>'
        for one in lines
    )
    return f'<ul class="legend">{items}</ul>'


def _percent(share: float) -> str:
    return f"{100 * share:.2f}".rstrip("0").rstrip(".") + "%"


def _band(band: Band, x: Axis) -> str:
    start, end = x.place(band.start), x.place(band.end)
    if end <= start:
        return ""
    name = escape(band.name)
    class_ = "phase narrow" if end - start < _NARROW else "phase"
    text = (
        f'<text class="{class_}" x="{_percent((start + end) / 2)}" y="0" dy="-.5em">{name}</text>'
    )
    return (
        f'<rect class="{"band" if band.is_shaded else "clear"}" x="{_percent(start)}" y="0"'
        f' width="{_percent(end - start)}" height="100%"><title>{name}</title></rect>'
        + (text if end - start > _NARROWEST else "")
    )


def _y_tick(place: float, text: str) -> str:
    y = _percent(1 - place)
    return (
        f'<line class="grid" x1="0" y1="{y}" x2="100%" y2="{y}"/>'
        f'<text class="tick end" x="0" y="{y}" dx="-.5em" dy=".35em">{escape(text)}</text>'
    )


def _x_tick(place: float, text: str) -> str:
    return f'<text class="tick mid" x="{_percent(place)}" y="100%" dy="1.4em">{escape(text)}</text>'


def _level(level: Level, y: Axis) -> str:
    at = _percent(1 - y.place(level.value))
    dy = "1.2em" if y.place(level.value) > 0.9 else "-.4em"
    class_ = "level limit" if level.is_limit else "level"
    return (
        f'<line class="{class_}" x1="0" y1="{at}" x2="100%" y2="{at}"/>'
        f'<text class="{class_}" x="0" dx=".4em" y="{at}" dy="{dy}">{escape(level.name)}</text>'
    )


def _path(line: Line, x: Axis, y: Axis) -> str:
    steps = []
    is_drawn = False
    for at, value in line.points:
        if value is None:
            is_drawn = False
            continue
        place = f"{_SIDE * x.place(at):.0f} {_SIDE * (1 - y.place(value)):.0f}"
        # A step of no length makes a dot of a point between two gaps.
        steps.append(f"L{place}" if is_drawn else f"M{place}h0")
        is_drawn = True
    return f'<path class="s{line.style}" d="{"".join(steps)}"/>' if steps else ""


def _hover(hover: Hover, x: Axis) -> str:
    start, end = x.place(hover.start), x.place(hover.end)
    return (
        f'<rect class="hover" x="{_percent(start)}" y="0" width="{_percent(end - start)}"'
        f' height="100%"><title>{escape(hover.text)}</title></rect>'
    )


def _marker(marker: Marker, x: Axis, y: Axis) -> str:
    at_x, at_y = _percent(x.place(marker.x)), _percent(1 - y.place(marker.y))
    return (
        f'<g class="marker {escape(marker.kind)}"><title>{escape(marker.text)}</title>'
        f'<circle cx="{at_x}" cy="{at_y}" r="8"/>'
        f'<text x="{at_x}" y="{at_y}" dy=".35em">{escape(marker.sign)}</text></g>'
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar as long as `value`, with a thin line on to `greatest`."""

    name: str
    value: float
    greatest: float
    text: str


def bars(*, label: str, x: Axis, rows: Sequence[Bar], stamp: str = "") -> str:
    """Bars below each other, each with its name and its text above it; `stamp` as in `plot`."""
    parts = []
    for number, one in enumerate(rows):
        value, greatest = x.place(one.value), x.place(one.greatest)
        top, middle = _percent((number + 0.55) / len(rows)), _percent((number + 0.7) / len(rows))
        parts += [
            f'<text class="bar" x="0" dx=".3em" y="{top}" dy="-.4em">{escape(one.name)}'
            f" <tspan>{escape(one.text)}</tspan></text>",
            f'<rect class="bar" x="0" y="{top}" width="{_percent(value)}"'
            f' height="{_percent(0.3 / len(rows))}"/>',
            f'<line class="whisker" x1="{_percent(value)}" y1="{middle}"'
            f' x2="{_percent(greatest)}" y2="{middle}"/>',
            f'<circle class="whisker" cx="{_percent(greatest)}" cy="{middle}" r="3"/>',
        ]
    return "".join(
        (
            f'<svg class="plot bars" role="img" aria-label="{escape(label)}"'
            f' style="height:{2.8 * len(rows):g}rem">',
            *(
                f'<line class="grid" x1="{at}" y1="0" x2="{at}" y2="100%"/>'
                for at in (_percent(x.place(value)) for value, _ in x.ticks)
            ),
            *(_x_tick(x.place(value), text) for value, text in x.ticks),
            f'<text class="unit end" x="100%" y="100%" dy="2.9em">{escape(x.label)}</text>',
            *parts,
            _stamp(stamp),
            "</svg>",
        )
    )
