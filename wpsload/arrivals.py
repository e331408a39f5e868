"""When messages are due: load plans, as users write them, and the due times they give one sender.

A plan is one phase after another::

    plan    phase, or several joined by "then"
    phase   constant RATE [for DURATION]           so many messages a second, evenly
            every DURATION [for DURATION]          the same, by the time between two messages
            spike RATE for DURATION                the same as constant, between two calmer phases
            ramp RATE to RATE for DURATION         a rate that changes steadily
            steps RATE to RATE by RATE each DURATION
            pause DURATION                         nothing
            poisson RATE [for DURATION]            arrivals that know nothing of each other
            poisson ramp … | poisson steps … | poisson spike …
    RATE    a number of messages per s, m or h, such as 10/s, 0.5/s or 30/m

Only the last phase may go without an end. Rates are those of each sender: a thousand users that
follow `constant 2/s` are 2,000 messages a second.

Arrivals are counted by the area under the rate: one is due each time that it has grown by one. So
no phase gains or loses any by the way it is cut, and each due time is computed from the start of
its phase, in whole numbers: nothing drifts. The first one is due at a random part of an arrival,
as thousands of senders must not send in one burst. In a Poisson phase the area between two
arrivals is random too, exponentially, with a mean of one.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from itertools import chain, count
from random import Random

from wpsload.errors import ConfigError
from wpsload.units import NS_PER_S, nanoseconds, parse_duration_s

__all__ = ["MOST_PER_S", "Plan", "Segment", "due_times_ns", "every", "parse_plan"]

MOST_PER_S = 1_000_000
"""No sender is asked for more: it is ten times what a core can do."""

_ONE = NS_PER_S  # an arrival, in units in which a rate per second times nanoseconds is an area
_MOST_STEPS = 1_000
_UNITS_S = {"s": 1, "m": 60, "h": 3600}
_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)/([smh])")
_WORDS = ("constant", "every", "spike", "ramp", "steps", "pause", "poisson")
_EXAMPLE = "constant 1/s for 1m then ramp 1/s to 10/s for 5m then constant 10/s"


@dataclass(frozen=True, slots=True)
class Segment:
    """A span in which the rate changes steadily, from the first to the second, or not at all.

    `duration_ns` is None if it has no end; then the two rates are the same.
    """

    duration_ns: int | None
    start_per_s: Fraction
    end_per_s: Fraction
    is_poisson: bool = False

    @property
    def area(self) -> Fraction | None:
        """How many arrivals it has on average, in billionths; None if it has no end."""
        if self.duration_ns is None:
            return None
        return self.duration_ns * (self.start_per_s + self.end_per_s) / 2

    def cut(self, elapsed_ns: int) -> "Segment":
        """What is left of it after `elapsed_ns`, which are fewer than it has."""
        if self.duration_ns is None:
            return self
        growth_per_s = (self.end_per_s - self.start_per_s) * elapsed_ns / self.duration_ns
        left_ns = self.duration_ns - elapsed_ns
        start_per_s = self.start_per_s + growth_per_s
        return Segment(left_ns, start_per_s, self.end_per_s, self.is_poisson)


@dataclass(frozen=True, slots=True)
class Plan:
    """The load of one sender. `text` is how a user writes it, in the fewest letters."""

    text: str
    segments: tuple[Segment, ...]

    def after(self, elapsed_ns: int) -> tuple[Segment, ...]:
        """What is left of the plan for who joins it `elapsed_ns` late; empty if it is over."""
        for position, segment in enumerate(self.segments):
            if segment.duration_ns is None:
                return self.segments[position:]
            if elapsed_ns < segment.duration_ns:
                if not elapsed_ns:
                    return self.segments[position:]
                return (segment.cut(elapsed_ns), *self.segments[position + 1 :])
            elapsed_ns -= segment.duration_ns
        return ()


def every(interval_ns: int) -> Plan:
    """The plan of one message each `interval_ns`, without an end.

    Raises:
        ConfigError: if the interval is too short, or none at all.
    """
    return parse_plan(f"every {Decimal(interval_ns) / NS_PER_S:f}s")


def parse_plan(text: str) -> Plan:
    """The plan that `text` describes, see above.

    Raises:
        ConfigError: naming the phase and the word that is wrong.
    """
    phases = [phase.split() for phase in _phases(text)]
    segments: list[Segment] = []
    for number, words in enumerate(phases, 1):
        reader = _Phase(number, words)
        segments += reader.read()
        if segments[-1].duration_ns is None and number < len(phases):
            raise reader.error("has no end, so nothing can follow", hint="add: for 1m")
    return Plan(" then ".join(map(" ".join, phases)), tuple(segments))


def _phases(text: str) -> list[str]:
    return re.split(r"\s*,?\s+then\s+|\s*,\s*then\s+", text.strip().lower())


class _Phase:
    """Reads one phase, word by word; `number` counts from 1."""

    def __init__(self, number: int, words: list[str]) -> None:
        self._number = number
        self._words = words
        self._position = 0

    def error(self, problem: str, *, hint: str | None = None) -> ConfigError:
        """What is wrong with this phase."""
        phase = " ".join(self._words)[:60]
        return ConfigError(
            f"phase {self._number} of the plan, {phase!r}, {problem}",
            hint=hint or f"write it like: {_EXAMPLE}",
        )

    def read(self) -> list[Segment]:
        """Its segments."""
        word = self._word(_WORDS)
        is_poisson = word == "poisson"
        if is_poisson and self._peek() in ("ramp", "steps", "spike"):
            word = self._word(_WORDS)
        kinds: dict[str, Callable[[bool], list[Segment]]] = {
            "every": self._every,
            "spike": self._spike,
            "ramp": self._ramp,
            "steps": self._steps,
            "pause": self._pause,
        }
        segments = kinds.get(word, self._constant)(is_poisson)
        if (rest := self._peek()) is not None:
            raise self.error(f"goes on with {rest!r}, which means nothing there")
        return segments

    def _constant(self, is_poisson: bool) -> list[Segment]:
        rate_per_s = self._rate(is_zero_allowed=False)
        return [Segment(self._end(), rate_per_s, rate_per_s, is_poisson)]

    def _every(self, is_poisson: bool) -> list[Segment]:
        interval_ns = self._duration()
        if interval_ns * MOST_PER_S < NS_PER_S:
            raise self.error(f"has more than {MOST_PER_S} messages a second")
        rate_per_s = Fraction(NS_PER_S, interval_ns)
        return [Segment(self._end(), rate_per_s, rate_per_s, is_poisson)]

    def _spike(self, is_poisson: bool) -> list[Segment]:
        rate_per_s = self._rate(is_zero_allowed=False)
        self._word(("for",))
        return [Segment(self._duration(), rate_per_s, rate_per_s, is_poisson)]

    def _ramp(self, is_poisson: bool) -> list[Segment]:
        start_per_s, end_per_s = self._from_to()
        self._word(("for",))
        return [Segment(self._duration(), start_per_s, end_per_s, is_poisson)]

    def _steps(self, is_poisson: bool) -> list[Segment]:
        start_per_s, end_per_s = self._from_to()
        self._word(("by",))
        by_per_s = self._rate(is_zero_allowed=False)
        self._word(("each",))
        duration_ns = self._duration()
        steps = abs(end_per_s - start_per_s) / by_per_s
        if steps.denominator != 1:
            raise self.error("does not reach its last rate in whole steps")
        if steps >= _MOST_STEPS:
            raise self.error(f"has more than {_MOST_STEPS} steps")
        if start_per_s > end_per_s:
            by_per_s = -by_per_s
        rates_per_s = (start_per_s + by_per_s * step for step in range(int(steps) + 1))
        return [Segment(duration_ns, rate, rate, is_poisson) for rate in rates_per_s]

    def _pause(self, is_poisson: bool) -> list[Segment]:
        return [Segment(self._duration(), Fraction(0), Fraction(0), is_poisson)]

    def _peek(self) -> str | None:
        return self._words[self._position] if self._position < len(self._words) else None

    def _next(self, wanted: str) -> str:
        word = self._peek()
        if word is None:
            raise self.error(f"ends where {wanted} should stand")
        self._position += 1
        return word

    def _word(self, allowed: tuple[str, ...]) -> str:
        wanted = (
            ", ".join(map(repr, allowed)) if len(allowed) == 1 else "one of " + ", ".join(allowed)
        )
        word = self._next(wanted)
        if word not in allowed:
            raise self.error(f"has {word!r} where {wanted} should stand")
        return word

    def _from_to(self) -> tuple[Fraction, Fraction]:
        start_per_s = self._rate()
        self._word(("to",))
        return start_per_s, self._rate()

    def _rate(self, *, is_zero_allowed: bool = True) -> Fraction:
        word = self._next("a rate")
        match = _RATE.fullmatch(word)
        if match is None:
            raise self.error(
                f"has {word!r} where a rate should stand", hint="write it like 10/s, 0.5/s or 30/m"
            )
        rate_per_s = Fraction(match[1]) / _UNITS_S[match[2]]
        if rate_per_s > MOST_PER_S:
            raise self.error(f"has more than {MOST_PER_S} messages a second")
        if not rate_per_s and not is_zero_allowed:
            raise self.error("has a rate of nothing", hint="write it like: pause 30s")
        return rate_per_s

    def _duration(self) -> int:
        word = self._next("a duration")
        try:
            duration_ns = nanoseconds(parse_duration_s(word))
        except ConfigError as error:
            raise self.error(
                f"has {word!r} where a duration should stand", hint=error.hint
            ) from None
        if not duration_ns:
            raise self.error(f"has a duration of nothing, {word!r}")
        return duration_ns

    def _end(self) -> int | None:
        if self._peek() is None:
            return None
        self._word(("for",))
        return self._duration()


def due_times_ns(segments: tuple[Segment, ...], start_ns: int, random: Random) -> Iterator[int]:
    """When each message is due, in order, if the first segment begins at `start_ns`."""
    # One that is not needed is not held on to: it has 2.5 kB.
    later = random if any(one.is_poisson for one in segments) else None
    first = int(random.random() * _ONE)
    # Most segments need no code of Python's for each of their arrivals.
    return chain.from_iterable(_by_segment_ns(segments, start_ns, first, later))


def _by_segment_ns(
    segments: tuple[Segment, ...], start_ns: int, first: int, random: Random | None
) -> Iterator[Iterator[int]]:
    """As above, for each segment; `first` is the area before the first arrival."""
    left = Fraction(first)  # before the next arrival, as seen from the start of the segment
    for segment in segments:
        area = segment.area
        if segment.is_poisson and random is not None:
            yield _poisson_ns(segment, start_ns, random)
            left = Fraction(int(random.random() * _ONE))
        elif area is None:
            yield _regular_ns(segment, start_ns, left, None)
        else:
            arrivals = max(0, math.ceil((area - left) / _ONE))
            yield _regular_ns(segment, start_ns, left, arrivals)
            left += arrivals * _ONE - area
        start_ns += segment.duration_ns or 0


def _regular_ns(
    segment: Segment, start_ns: int, left: Fraction, arrivals: int | None
) -> Iterator[int]:
    """So many `arrivals`, None for ever, the first one once the area is `left`."""
    numbers = count() if arrivals is None else range(arrivals)
    rate = segment.start_per_s
    if rate != segment.end_per_s:
        after_ns = _ramp_offset_ns(segment)
        first = float(left)
        return (start_ns + after_ns(first + _ONE * number) for number in numbers)
    if not rate:
        return iter(())
    first_ns, interval_ns = left / rate, _ONE / rate
    if interval_ns.denominator == 1:  # then it needs no code of Python's for each
        start_ns += math.floor(first_ns)
        step_ns = int(interval_ns)
        if arrivals is None:
            return count(start_ns, step_ns)
        return iter(range(start_ns, start_ns + arrivals * step_ns, step_ns))
    parts = math.lcm(first_ns.denominator, interval_ns.denominator)
    first_parts, step_parts = int(first_ns * parts), int(interval_ns * parts)
    return (start_ns + (first_parts + number * step_parts) // parts for number in numbers)


def _poisson_ns(segment: Segment, start_ns: int, random: Random) -> Iterator[int]:
    area = segment.area
    rate = segment.start_per_s
    if not rate and rate == segment.end_per_s:
        return
    if rate != segment.end_per_s:
        after_ns = _ramp_offset_ns(segment)
    else:
        numerator, denominator = rate.as_integer_ratio()

        def after_ns(passed: float) -> int:
            return int(passed) * denominator // numerator

    end = math.inf if area is None else math.ceil(area)
    passed = int(random.expovariate(1.0) * _ONE)
    while passed < end:
        yield start_ns + after_ns(passed)
        passed += int(random.expovariate(1.0) * _ONE)


def _ramp_offset_ns(segment: Segment) -> Callable[[float], int]:
    """Gives the time from the start of a ramp until the area under it is as large as asked for.

    That is the root of a quadratic equation, in the form in which nothing cancels out.
    """
    duration_ns = segment.duration_ns or 0
    start = float(segment.start_per_s)
    double_slope = 2 * (float(segment.end_per_s) - start) / duration_ns
    square = start * start
    last_ns = duration_ns - 1

    def after_ns(area: float) -> int:
        rate = math.sqrt(max(0.0, square + double_slope * area))
        return min(int(2 * area / (start + rate)), last_ns) if area else 0

    return after_ns
