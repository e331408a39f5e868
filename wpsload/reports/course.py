"""The seconds of a run as points of a plot, each for one of them or for several."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from wpsload.record import Record, Series

__all__ = ["MOST_POINTS", "Course", "course_of"]

MOST_POINTS = 240
"""More cannot be told apart, and would make the page of a day's run large."""

_T = TypeVar("_T")
_LENGTHS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Points of `every_s` seconds each; `starts_s` count from the first second of the run."""

    every_s: int
    first: int
    starts_s: tuple[int, ...]

    def mean(self, column: Sequence[int]) -> list[float]:
        """What a second had, on average over the seconds of each point."""
        return [sum(part) / len(part) for part in self._parts(column)]

    def greatest(self, column: Sequence[int | None]) -> list[int | None]:
        """The greatest value of each point: percentiles of several seconds cannot be averaged."""
        parts = self._parts(column)
        return [max((one for one in part if one is not None), default=None) for part in parts]

    def _parts(self, column: Sequence[_T]) -> list[Sequence[_T]]:
        return [column[at : at + self.every_s] for at in range(0, len(column), self.every_s)]


def course_of(record: Record) -> Course | None:
    """The points of the series of a record; None if it has none."""
    series: Series = record.series
    count = len(series.second)
    if not count:
        return None
    every_s = next(
        (one for one in _LENGTHS_S if count <= one * MOST_POINTS), -(-count // MOST_POINTS)
    )
    first = series.second[0]
    return Course(
        every_s=every_s,
        first=first,
        starts_s=tuple(second - first for second in series.second[::every_s]),
    )
