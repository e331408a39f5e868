"""What was recorded, by phase of the run, in parts that can be compared with each other.

Nobody knows while a phase goes on how long it will be. So it is kept in slices of one second, and
when there are many, two neighbours become one: memory stays, and a phase can be cut at its end.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, Self, TypeVar

__all__ = ["MOST_SLICES", "Stretch", "Stretches"]

MOST_SLICES = 80
"""Of one phase. Cut into five, the parts differ by a slice of at least 40 that there are then."""

_BEFORE = "connect"  # the phase of what comes before anybody marked one


class Tally(Protocol):
    """What is kept: something that can take in another of its kind."""

    def include(self, other: Self) -> None:
        """Count what the other counted as well."""


T = TypeVar("T", bound=Tally)


@dataclass(frozen=True, slots=True)
class Stretch(Generic[T]):
    """The seconds from `first` to the one before `after`, and what was recorded in them."""

    phase: str
    first: int
    after: int
    held: T


class _PhaseSlices(Generic[T]):
    """One phase that begins with the second `first`; `total` is that of its slices."""

    def __init__(self, phase: str, first: int, new: Callable[[], T]) -> None:
        self.phase = phase
        self.first = first
        self.length_s = 1
        self.slices: dict[int, T] = {}
        self.total = new()
        self.is_used = False
        self._new = new

    def add(self, second: int, tally: T) -> None:
        self.is_used = True
        self.total.include(tally)
        index = max(0, second - self.first) // self.length_s
        self._slice(index).include(tally)
        while len(self.slices) > MOST_SLICES:
            finer, self.slices = self.slices, {}
            self.length_s *= 2
            for index, held in finer.items():
                self._slice(index // 2).include(held)

    def _slice(self, index: int) -> T:
        held = self.slices.get(index)
        if held is None:
            held = self.slices[index] = self._new()
        return held

    def copy(self, *, is_sliced: bool) -> "_PhaseSlices[T]":
        """Apart from this one from now on; without slices it cannot be cut."""
        copied = _PhaseSlices(self.phase, self.first, self._new)
        copied.length_s = self.length_s
        copied.is_used = self.is_used
        copied.total.include(self.total)
        if is_sliced:
            for index, held in self.slices.items():
                copied._slice(index).include(held)
        return copied

    def cut(self, first: int, after: int, into: int) -> Iterator[Stretch[T]]:
        """The parts of the phase, which lasts from `first` to `after`."""
        slices = -(-(after - first) // self.length_s)
        into = min(into, slices)
        for part in range(into):
            indexes = range(-(-part * slices // into), -(-(part + 1) * slices // into))
            held = self._new()
            for index, one in self.slices.items():
                # What lies beyond the end, as by a clock that is ahead, is in the last part.
                if index in indexes or (part == into - 1 and index >= slices):
                    held.include(one)
            end = first + indexes.stop * self.length_s
            yield Stretch(self.phase, first + indexes.start * self.length_s, min(end, after), held)


class Stretches(Generic[T]):
    """What was recorded by phase; `new` makes an empty tally."""

    def __init__(self, new: Callable[[], T]) -> None:
        self._new = new
        self._phases: list[_PhaseSlices[T]] = []

    def mark(self, phase: str, second: int) -> None:
        """`phase` begins with `second`; phases marked for that second or later never do."""
        dropped = []
        while self._phases and self._phases[-1].first >= second:
            dropped.append(self._phases.pop())
        self._phases.append(_PhaseSlices(phase, second, self._new))
        for one in dropped:
            if one.is_used:
                self._phases[-1].add(second, one.total)

    def add(self, second: int, tally: T) -> None:
        """Count `tally` in the phase that `second` belongs to; the first has no beginning."""
        for one in reversed(self._phases):
            if one.first <= second:
                break
        else:
            if not self._phases:
                self._phases.append(_PhaseSlices(_BEFORE, second, self._new))
            one = self._phases[0]
        one.add(second, tally)

    def totals(self) -> list[T]:
        """What each phase has; not to be changed."""
        return [one.total for one in self._phases]

    def copy(self, *, cut: str) -> "Stretches[T]":
        """Apart from this one from now on; only phases of the kind `cut` can be cut."""
        copied = Stretches(self._new)
        copied._phases = [one.copy(is_sliced=_is(one.phase, cut)) for one in self._phases]
        return copied

    def parts(self, first: int, after: int, *, cut: str, into: int) -> Iterator[Stretch[T]]:
        """The phases of the run that lasted from `first` to `after`, `cut` in `into` parts.

        `cut` is the name of a phase, or the first word of several.
        """
        ends = [*(one.first for one in self._phases[1:]), after]
        for position, (one, next_first) in enumerate(zip(self._phases, ends, strict=True)):
            begin = min(first, one.first) if position == 0 else one.first
            end = min(next_first, after)
            if end <= begin:
                if not one.is_used:
                    continue
                end = begin + 1  # it ended in the second it began in
            if _is(one.phase, cut) and begin == one.first:
                yield from one.cut(begin, end, into)
            else:
                yield Stretch(one.phase, begin, end, one.total)


def _is(phase: str, kind: str) -> bool:
    """Whether `phase` is of that kind, as `window 2` is of `window`."""
    return phase.partition(" ")[0] == kind
