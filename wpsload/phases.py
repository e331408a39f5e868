"""When connecting ended, when measuring began, and when it was told to stop: the run's phases.

The window begins and ends with a whole second, as what is measured is kept by seconds.
"""

import math
from dataclasses import dataclass
from typing import cast

from wpsload.record import Phase, PhaseName

__all__ = ["Mark", "Phases", "labelled"]


@dataclass(frozen=True, slots=True)
class Mark:
    """A phase begins with that Unix second, as `Recorder.mark` wants to hear it."""

    phase: PhaseName
    second: int
    rung: int | None = None

    @property
    def label(self) -> str:
        """Names it for the recorder; `labelled` reads it."""
        return self.phase if self.rung is None else f"{self.phase} {self.rung}"


def labelled(label: str) -> tuple[PhaseName, int | None]:
    """The phase and the rung of a `Mark.label`."""
    name, _, rung = label.partition(" ")
    return cast(PhaseName, name), int(rung) if rung else None


class Phases:
    """Told of what happens to a run, all in Unix seconds; `warm_up_s` is the length of that.

    On a ladder each rung has phases of its own, which `begin` tells of; it stands on `rung` at
    first.
    """

    def __init__(self, start_s: float, *, warm_up_s: float, rung: int | None = None) -> None:
        self._starts: list[tuple[PhaseName, float, int | None]] = [("connect", start_s, rung)]
        self._warm_up_s = warm_up_s
        self._end_s: float | None = None

    @property
    def is_connecting(self) -> bool:
        """Whether nobody has called `connected` or `stop` yet."""
        return len(self._starts) == 1

    def connected(self, now_s: float) -> list[Mark]:
        """All users are there and their connections are open."""
        window = math.ceil(now_s + self._warm_up_s)
        self._starts += [("warm-up", now_s, None), ("window", window, None)]
        return [Mark("warm-up", math.ceil(now_s)), Mark("window", window)]

    def begin(self, name: PhaseName, now_s: float, rung: int) -> list[Mark]:
        """A phase of a rung begins now; a window with the next whole second."""
        start_s = math.ceil(now_s) if name == "window" else now_s
        self._starts.append((name, start_s, rung))
        second = math.floor(now_s) if name in ("drain", "connect") else math.ceil(now_s)
        return [Mark(name, second, rung)]

    def stop(self, now_s: float) -> list[Mark]:
        """The run shall stop; what has not begun by then never does."""
        if self._starts[-1][0] == "drain":
            return []
        # A window of less than a second has none that is whole.
        while (start := self._starts[-1])[1] >= (
            math.floor(now_s) if start[0] == "window" else now_s
        ) and len(self._starts) > 1:
            self._starts.pop()
        rung = self._starts[-1][2]
        self._starts.append(("drain", now_s, rung))
        return [Mark("drain", math.floor(now_s), rung)]

    def end(self, now_s: float) -> None:
        """The drain is over."""
        self.stop(now_s)
        if self._end_s is None:
            self._end_s = now_s

    def phases(self, now_s: float) -> list[Phase]:
        """The phases that have begun until now."""
        end_s = now_s if self._end_s is None else self._end_s
        begun = [one for one in self._starts if one[1] <= end_s]
        ends_s = [one[1] for one in begun[1:]] + [max(end_s, begun[-1][1])] if begun else []
        return [
            Phase(name=name, start_s=start_s, length_s=max(0.0, next_s - start_s), rung=rung)
            for (name, start_s, rung), next_s in zip(begun, ends_s, strict=True)
        ]
