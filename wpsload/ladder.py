"""A ladder of connections and message rates, and the climb from rung to rung. No clock, no I/O.

On each rung the users come first, then the load settles, is measured, and ends, so that whatever is
under way arrives before the next rung begins: what is lost on a rung belongs to it alone.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

from wpsload.errors import ConfigError

__all__ = ["Climb", "Pace", "Stage", "Step", "Timing", "View", "default_ladder", "parse_ladder"]

_STEP = re.compile(r"(\d{1,7})@(\d{1,9}(?:\.\d{1,6})?)/s")
# The groups of the performance guide for one unit, climbed in quarters, and then beyond: all 1,000
# connections of the unit with ever more messages. Source: protocol reference, 11.2.
_GUIDE = (
    *((250, 50.0), (500, 100.0), (750, 150.0), (1000, 200.0), (1000, 250.0), (1000, 300.0)),
    *((1000, 400.0), (1000, 600.0), (1000, 800.0)),
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one rung asks for: so many connections, and messages a second of all senders."""

    connections: int
    in_per_s: float

    def __str__(self) -> str:
        return f"{self.connections}@{self.in_per_s:g}/s"


def default_ladder(units: int) -> tuple[Step, ...]:
    """The group scenario of the performance guide, around what it says of `units` units."""
    return tuple(Step(units * connections, units * per_s) for connections, per_s in _GUIDE)


def parse_ladder(text: str) -> tuple[Step, ...]:
    """The rungs of a text such as `100@20/s,200@40/s`.

    Raises:
        ConfigError: if it is none; a ladder never goes down.
    """
    steps: list[Step] = []
    for one in text.replace(" ", "").split(","):
        found = _STEP.fullmatch(one)
        step = Step(int(found[1]), float(found[2])) if found else None
        if step is None or not step.connections or not step.in_per_s:
            raise ConfigError(
                f"{one!r} is no rung",
                hint="write CONNECTIONS@MESSAGES/s, such as 100@20/s,200@40/s",
            )
        last = steps[-1] if steps else step
        if step.connections < last.connections or step.in_per_s < last.in_per_s:
            raise ConfigError(
                f"{step} goes down from {last}", hint="each rung has as much as the one before"
            )
        steps.append(step)
    return tuple(steps)


@dataclass(frozen=True, slots=True)
class Pace:
    """Who sends on a rung, and how often; nobody if `is_sending` is False.

    The senders are spread evenly over the users, and so over the groups.
    """

    rung: int
    connections: int
    senders: int
    every_s: float
    is_sending: bool
    is_measured: bool

    @classmethod
    def of(
        cls, rung: int, step: Step, interval_s: float, *, is_sending: bool, is_measured: bool
    ) -> "Pace":
        """Each sender sends every `interval_s`, or more often if even all of them are too few."""
        wanted = max(1, math.ceil(step.in_per_s * interval_s - 1e-9))
        senders = min(wanted, step.connections)
        return cls(
            rung=rung,
            connections=step.connections,
            senders=senders,
            every_s=senders / step.in_per_s,
            is_sending=is_sending,
            is_measured=is_measured,
        )

    def sends(self, number: int) -> bool:
        """Whether the user of that number is a sender, by spreading them evenly."""
        if not self.is_sending or number >= self.connections:
            return False
        before, after = (at * self.senders // self.connections for at in (number, number + 1))
        return after > before


class Stage(Enum):
    """What happens on a rung, in this order."""

    CONNECT = auto()
    SETTLE = auto()
    MEASURE = auto()
    DRAIN = auto()
    JUDGE = auto()
    OVER = auto()


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the stages of a rung last, in seconds.

    `connect_s` and `drain_s` are the longest: these end as soon as all is done.
    """

    connect_s: float
    settle_s: float
    measure_s: float
    drain_s: float


@dataclass(frozen=True, slots=True)
class View:
    """How the run is now: Unix time, connections that are open and in their groups, whether nothing
    is under way, and until when all processes have told what they measured.
    """

    now_s: float
    ready: int
    is_idle: bool
    told_until_s: float


class Climb:
    """Where a climb is. `rung` counts from 1; it begins with connecting on the first one."""

    def __init__(self, steps: Sequence[Step], timing: Timing, *, now_s: float) -> None:
        self.steps = tuple(steps)
        self._timing = timing
        self.rung = 1
        self.stage = Stage.CONNECT
        self.is_complete = True  # False if connections were missing when the rung was measured
        self._since_s = now_s
        self._reach_s = 0.0  # until when a window of whole seconds lasts

    @property
    def since_s(self) -> float:
        """When the present stage began."""
        return self._since_s

    @property
    def step(self) -> Step:
        """What the present rung asks for."""
        return self.steps[self.rung - 1]

    def look(self, view: View) -> Stage | None:
        """The stage that begins now, if one does."""
        timing, passed_s = self._timing, view.now_s - self._since_s
        match self.stage:
            case Stage.CONNECT:
                self.is_complete = view.ready >= self.step.connections
                if self.is_complete or passed_s >= timing.connect_s:
                    return self._begin(Stage.SETTLE, view)
            case Stage.SETTLE if passed_s >= timing.settle_s:
                self._reach_s = math.ceil(view.now_s) + timing.measure_s
                return self._begin(Stage.MEASURE, view)
            case Stage.MEASURE if view.now_s >= self._reach_s:
                return self._begin(Stage.DRAIN, view)
            case Stage.DRAIN if view.is_idle or passed_s >= timing.drain_s:
                return self._begin(Stage.JUDGE, view)
            case _:
                pass  # too early, or it waits for somebody to judge
        return None

    def is_told(self, view: View) -> bool:
        """Whether all that was measured on the rung is known, or was waited for long enough."""
        return view.told_until_s >= self._since_s or view.now_s - self._since_s > _LONGEST_TELL_S

    def judged(self, now_s: float, *, has_held: bool) -> None:
        """The rung is judged: go on with the next one, if it held and there is one."""
        self._since_s = now_s
        if has_held and self.rung < len(self.steps):
            self.rung += 1
            self.stage = Stage.CONNECT
        else:
            self.stage = Stage.OVER

    def _begin(self, stage: Stage, view: View) -> Stage:
        self.stage = stage
        self._since_s = view.now_s
        return stage


_LONGEST_TELL_S = 10.0  # workers tell every 3 s
