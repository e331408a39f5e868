"""Plots put values where they belong, whatever their range, and have round ticks."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wpsload.reports.charts import (
    Bar,
    Hover,
    Level,
    Line,
    Marker,
    bars,
    linear_axis,
    log_axis,
    percentile_axis,
    plot,
)

POSITIVE = st.floats(1e-6, 1e12)


@given(POSITIVE)
def test_a_linear_axis_has_a_few_round_ticks(high: float) -> None:
    """From one end to the other, evenly, and each text is its value."""
    axis = linear_axis("s", 0, high)
    values = [value for value, _ in axis.ticks]
    assert 3 <= len(values) <= 8
    assert values[0] == axis.place(0) == 0
    assert values[-1] <= high * 1.001
    assert axis.place(high) == 1
    assert [float(text.replace(" ", "")) for _, text in axis.ticks] == pytest.approx(values)


@given(st.lists(POSITIVE, min_size=1, max_size=9))
def test_a_log_axis_is_around_all_values(values: list[float]) -> None:
    """Each has its place in order, and there is a tick or two."""
    axis = log_axis("ms", values)
    assert axis.low <= min(values) * 1.001
    assert axis.high >= max(values) * 0.999
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 1
    assert 2 <= len(axis.ticks) <= 20
    assert [float(text.replace(" ", "")) for _, text in axis.ticks] == pytest.approx(
        [value for value, _ in axis.ticks]
    )


def test_a_log_axis_of_nothing_is_one() -> None:
    """Zero has no logarithm: it stands at the lower end."""
    axis = log_axis("ms", [0.0])
    assert axis.low < axis.high
    assert axis.place(0.0) == 0


def test_each_nine_is_as_long_as_the_one_before() -> None:
    """From the median's half to where the samples end."""
    axis = percentile_axis("share", 0.9995)
    assert [text for _, text in axis.ticks] == ["0 %", "90 %", "99 %", "99.9 %"]
    places = [axis.place(value) for value, _ in axis.ticks]
    steps = [right - left for left, right in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3)
    assert axis.place(0.9995) == 1


def draw(*, lines: list[Line], **more: object) -> str:
    """A plot of ten by ten."""
    axis = linear_axis("<unit>", 0, 10)
    return plot(label='"quoted"', x=axis, y=axis, lines=lines, **more)  # type: ignore[arg-type]  # passed through


def test_a_gap_stays_a_gap() -> None:
    """A line begins anew behind it, and a point alone is a dot."""
    points = [(0.0, 0.0), (1.0, 10.0), (2.0, None), (3.0, 5.0), (4.0, None)]
    (path,) = re.findall(r' d="([^"]*)"', draw(lines=[Line(name="", style=1, points=points)]))
    assert path == "M0 1000h0L100 0M300 500h0"


def test_what_lies_beyond_is_at_the_edge() -> None:
    """No line leaves its plot; a level out of sight is not drawn."""
    points = [(-5.0, 99.0), (50.0, -1.0)]
    text = draw(
        lines=[Line(name="", style=1, points=points)],
        levels=[Level(name="far", value=11), Level(name="near", value=9)],
    )
    assert 'd="M0 0h0L1000 1000"' in text
    assert "near" in text
    assert "far" not in text


def test_all_text_is_escaped() -> None:
    """In attributes and between tags."""
    evil = "<b>'\"&"
    text = draw(
        lines=[],
        levels=[Level(name=evil, value=1)],
        markers=[Marker(x=1, y=1, kind=evil, sign=evil, text=evil)],
        hovers=[Hover(start=1, end=2, text=evil)],
        stamp=evil,
    ) + bars(
        label=evil,
        x=linear_axis(evil, 0, 1),
        rows=[Bar(name=evil, value=0.5, greatest=1, text=evil)],
        stamp=evil,
    )
    assert "<b>" not in text
    assert text.count("&lt;b&gt;&#x27;&quot;&amp;") == 11
