"""Whether the generator kept up, judged from what it measured of itself. Pure arithmetic.

A generator that is late measures its own queue. Each process measures itself once a second; these
measurements merge, over time and over workers, and `judge` says what a run is worth, why, and what
to do about it. `Judge` does so for several processes, while they run and at the end.
"""

import textwrap
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Self

from wpsload.histogram import Histogram, merged
from wpsload.units import NS_PER_MS, NS_PER_S, ms, seconds

__all__ = [
    "MARK",
    "MEANING",
    "Course",
    "Fill",
    "Judge",
    "Level",
    "Reason",
    "SelfMeasurement",
    "Verdict",
    "judge",
    "verdict_lines",
]

LATE_SUSPECT_NS = 1 * NS_PER_MS
"""A p99 of send slip or receive lag beyond this is visible in latencies of a few milliseconds."""
LATE_INVALID_NS = 5 * NS_PER_MS
"""Beyond this the generator's queue is as large as what a service in the same region takes."""
CPU_SUSPECT_PERCENT = 70
"""From here on a queue grows noticeably with each burst: at 70 % it doubles the time of service."""
CPU_INVALID_PERCENT = 90
_CPU_QUANTILE = 0.9  # neither the one busy second of a burst, nor a mean that idle parts flatter

PAUSE_SUSPECT_NS = 50 * NS_PER_MS
"""One pause of the garbage collector as long as this is the longest latency of the run."""
PAUSES_SUSPECT_RATIO = 0.01  # from here on they can move a p99
FILL_SUSPECT_RATIO = 0.9  # of file descriptors or local ports
FAULTS_SUSPECT = 100  # major page faults of a run: a few belong to code that is used first
STOLEN_SUSPECT_RATIO = 0.05

MARK = "~"
"""Stands before a latency that is not to be believed, as the generator was late itself."""

_MIN_NS = 3 * NS_PER_S  # less is too short to judge
_MIN_SAMPLES = 100  # for a p99 to stand for more than one sample
_CROWDED_RATIO = 0.1  # of the time it wanted the core: explains that something was late
_WIDTH = 80
_NOT_MEASURED = "not measured"


class Level(IntEnum):
    """What figures are worth; the worse the greater."""

    VALID = 0
    SUSPECT = 1
    INVALID = 2


@dataclass(frozen=True, slots=True, order=True)
class Fill:
    """How much of something limited was in use at most."""

    ratio: float
    used: int
    limit: int

    @classmethod
    def of(cls, used: int, limit: int) -> Self:
        """`used` of `limit`, which is 1 or more."""
        return cls(used / limit, used, limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfMeasurement:
    """What a process measured of itself over `wall_ns`; None is what could not be measured.

    Attributes:
        slip: due → written, of every message that has a due time, or of some if they are many.
        lag: arrival in the kernel → read, of every read of some connections.
        loop_lag: how late the event loop called what was due each 10 ms.
        cpu: CPU time in ns for each second, so that 1 s is all of one core.
        gc_pause: pauses of the garbage collector.
        core_wait_ns: time for which the process was ready to run, and others did.
        stolen_ns: time that the host withheld from the machine, divided by its cores.
        major_faults: pages that had to be read from disk.
        fds, ports: file descriptors; local ports if all connections have one peer address.
        buffers_full: how often a connection reached its limit of unsent bytes.
    """

    wall_ns: int = 0
    slip: Histogram = field(default_factory=Histogram)
    lag: Histogram = field(default_factory=Histogram)
    loop_lag: Histogram = field(default_factory=Histogram)
    cpu: Histogram = field(default_factory=Histogram)
    gc_pause: Histogram = field(default_factory=Histogram)
    core_wait_ns: int | None = None
    stolen_ns: int | None = None
    major_faults: int | None = None
    fds: Fill | None = None
    ports: Fill | None = None
    buffers_full: int = 0

    def merge(self, other: Self) -> Self:
        """Both, as if one process had measured them. Associative, commutative."""
        return self.of((self, other))

    @classmethod
    def of(cls, parts: Collection[Self]) -> Self:
        """All of them, likewise."""
        return cls(
            wall_ns=sum(one.wall_ns for one in parts),
            slip=merged(one.slip for one in parts),
            lag=merged(one.lag for one in parts),
            loop_lag=merged(one.loop_lag for one in parts),
            cpu=merged(one.cpu for one in parts),
            gc_pause=merged(one.gc_pause for one in parts),
            core_wait_ns=_sum(one.core_wait_ns for one in parts),
            stolen_ns=_sum(one.stolen_ns for one in parts),
            major_faults=_sum(one.major_faults for one in parts),
            fds=_fullest(one.fds for one in parts),
            ports=_fullest(one.ports for one in parts),
            buffers_full=sum(one.buffers_full for one in parts),
        )

    def to_dict(self) -> dict[str, Any]:
        """It as values of msgpack and JSON; the keys are the attributes."""
        data: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            if isinstance(value, Histogram):
                value = value.to_dict()
            elif isinstance(value, Fill):
                value = [value.used, value.limit]
            data[name] = value
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` was called on."""
        values = dict(data)
        for name in _HISTOGRAMS:
            values[name] = Histogram.from_dict(values[name])
        for name in ("fds", "ports"):
            values[name] = None if values[name] is None else Fill.of(*values[name])
        return cls(**values)


_HISTOGRAMS = ("slip", "lag", "loop_lag", "cpu", "gc_pause")


def _sum(parts: Iterable[int | None]) -> int | None:
    known = [one for one in parts if one is not None]
    return sum(known) if known else None


def _fullest(parts: Iterable[Fill | None]) -> Fill | None:
    return max((one for one in parts if one is not None), default=None)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a verdict is not better: what was measured, and what to do about it."""

    level: Level
    text: str
    hint: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What figures are worth. `figures` tells in a line what was measured."""

    level: Level
    reasons: tuple[Reason, ...]
    figures: str

    @property
    def is_invalid(self) -> bool:
        """True if latencies say more about the generator than about the service."""
        return self.level is Level.INVALID

    def to_dict(self) -> dict[str, Any]:
        """It as values of msgpack and JSON."""
        return {
            "level": self.level.name,
            "reasons": [
                {"level": one.level.name, "text": one.text, "hint": one.hint}
                for one in self.reasons
            ],
            "figures": self.figures,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """What `to_dict` was called on."""
        reasons = tuple(
            Reason(Level[one["level"]], one["text"], one["hint"]) for one in data["reasons"]
        )
        return cls(Level[data["level"]], reasons, data["figures"])


def judge(measured: SelfMeasurement, *, dropped: int = 0, is_live: bool = False) -> Verdict:
    """The verdict on one process.

    Args:
        dropped: arrivals that were due and never sent.
        is_live: it is under way, so that a short time is no reason yet.
    """
    reasons = [
        *_dropped(dropped),
        *_late("messages were written late", measured.slip, measured),
        *_late("what arrived was read late", measured.lag, measured),
        *_late("the event loop came late to what was due", measured.loop_lag, measured),
        *_cpu(measured),
        *_pauses(measured),
        *_resources(measured),
    ]
    if not is_live and (measured.wall_ns < _MIN_NS or measured.loop_lag.count < _MIN_SAMPLES):
        text = f"only {seconds(measured.wall_ns):.1f} s of the run could be judged"
        reasons.append(Reason(Level.SUSPECT, text, "measure for 10 s or more"))
    reasons.sort(key=lambda reason: -reason.level)
    level = max((reason.level for reason in reasons), default=Level.VALID)
    return Verdict(level, tuple(reasons), _figures(measured))


def _dropped(dropped: int) -> list[Reason]:
    if not dropped:
        return []
    text = f"{dropped} messages that were due were never sent"
    return [Reason(Level.INVALID, text, "start a second worker (--processes 2), or offer less")]


def _waiting(waiting: int) -> list[Reason]:
    if not waiting:
        return []
    text = f"{waiting} messages that were due waited for their connection, and were never sent"
    hint = "the service was away or did not read: what it would have answered is not in the figures"
    return [Reason(Level.SUSPECT, text, hint)]


def _late(what: str, lateness: Histogram, measured: SelfMeasurement) -> list[Reason]:
    p99_ns = lateness.quantile(0.99)
    if p99_ns is None or lateness.count < _MIN_SAMPLES or p99_ns <= LATE_SUSPECT_NS:
        return []
    is_invalid = p99_ns > LATE_INVALID_NS
    limit_ns = LATE_INVALID_NS if is_invalid else LATE_SUSPECT_NS
    text = f"{what}: p99 {_ms(p99_ns)} ms, more than {ms(limit_ns):g} ms"
    return [Reason(Level.INVALID if is_invalid else Level.SUSPECT, text, _why_late(measured))]


def _why_late(measured: SelfMeasurement) -> str:
    """What most likely made it late, and what to do about that."""
    wanted_ns = (measured.core_wait_ns or 0) + measured.cpu.sum_ns
    core_wait_ratio = _ratio(measured.core_wait_ns, wanted_ns)
    if core_wait_ratio > _CROWDED_RATIO:
        share = f"{core_wait_ratio:.0%}".replace("%", " %")
        return f"{share} of the time that it wanted its core others had it: end what else runs"
    if _ratio(measured.stolen_ns, measured.wall_ns) > STOLEN_SUSPECT_RATIO:
        return "the host kept the machine waiting: use one that is not shared"
    if _cpu_percent(measured) > CPU_SUSPECT_PERCENT:
        return "start a second worker: --processes 2"
    return "look for work that takes long in the event loop: on_message, payload, other tasks"


def _cpu(measured: SelfMeasurement) -> list[Reason]:
    percent = _cpu_percent(measured)
    if percent <= CPU_SUSPECT_PERCENT:
        return []
    is_invalid = percent > CPU_INVALID_PERCENT
    limit = CPU_INVALID_PERCENT if is_invalid else CPU_SUSPECT_PERCENT
    text = f"it used {percent:.0f} % of a core in a tenth of the seconds, more than {limit} %"
    if measured.slip.count:
        hint = "start a second worker (--processes 2), or offer less"
    else:
        hint = (
            "a closed loop takes all that there is: read its throughput as a lower bound; for "
            "latencies set a pace (--wps-interval), or start more workers (--processes 2)"
        )
    return [Reason(Level.INVALID if is_invalid else Level.SUSPECT, text, hint)]


def _pauses(measured: SelfMeasurement) -> list[Reason]:
    pauses = measured.gc_pause
    longest_ns = pauses.max_ns or 0
    ratio = _ratio(pauses.sum_ns, measured.wall_ns)
    if longest_ns <= PAUSE_SUSPECT_NS and ratio <= PAUSES_SUSPECT_RATIO:
        return []
    share = f"{100 * ratio:.1f} %"
    text = f"the garbage collector paused it for up to {_ms(longest_ns)} ms, {share} of the time"
    hint = "fewer objects pause it less: spread the users over more workers (--processes 2)"
    return [Reason(Level.SUSPECT, text, hint)]


def _resources(measured: SelfMeasurement) -> list[Reason]:
    found: list[tuple[bool, str, str]] = []
    for fill, what, hint in (
        (measured.fds, "open files", "raise the limit (ulimit -n), or start more workers"),
        (
            measured.ports,
            "local ports",
            "widen net.ipv4.ip_local_port_range, or use a second machine",
        ),
    ):
        if fill is not None:
            text = f"{fill.used} of {fill.limit} {what} were in use"
            found.append((fill.ratio >= FILL_SUSPECT_RATIO, text, hint))
    faults = measured.major_faults or 0
    found.append(
        (
            faults >= FAULTS_SUSPECT,
            f"{faults} pages of its memory had to be read from disk",
            "free memory: a machine that swaps is late in everything",
        )
    )
    found.append(
        (
            measured.buffers_full > 0,
            f"{measured.buffers_full} times a connection had 1 MiB that its peer did not read",
            "offer less: messages waited here, and their latency has that wait in it",
        )
    )
    stolen_ratio = _ratio(measured.stolen_ns, measured.wall_ns)
    found.append(
        (
            stolen_ratio > STOLEN_SUSPECT_RATIO,
            f"the host withheld {100 * stolen_ratio:.0f} % of the machine's time",
            "use a machine that is not shared",
        )
    )
    return [Reason(Level.SUSPECT, text, hint) for is_so, text, hint in found if is_so]


def _ratio(part_ns: int | None, whole_ns: int) -> float:
    return part_ns / whole_ns if part_ns and whole_ns else 0.0


def _cpu_percent(measured: SelfMeasurement) -> float:
    return 100 * seconds(measured.cpu.quantile(_CPU_QUANTILE) or 0)


def _figures(measured: SelfMeasurement) -> str:
    parts = [
        f"{name} {_p99(lateness)}"
        for name, lateness in (
            ("send slip", measured.slip),
            ("receive lag", measured.lag),
            ("loop lag", measured.loop_lag),
        )
    ]
    cpu = f"{_cpu_percent(measured):.0f} %" if measured.cpu.count else _NOT_MEASURED
    return ", ".join([*parts, f"CPU {cpu}"])


def _p99(lateness: Histogram) -> str:
    p99_ns = lateness.quantile(0.99)
    return _NOT_MEASURED if p99_ns is None else f"p99 {_ms(p99_ns)} ms"


def _ms(duration_ns: int) -> str:
    return f"{ms(duration_ns):,.2f}".replace(",", " ")


MEANING = {
    Level.VALID: "the generator kept up",
    Level.SUSPECT: "the generator may be in these figures",
    Level.INVALID: "latencies tell of the generator, not of the service",
}
"""What a level says of the figures of a run."""


def verdict_lines(verdict: Verdict) -> list[str]:
    """The verdict for people, at most 80 columns wide."""
    lines = [f"{verdict.level.name}: {MEANING[verdict.level]}"]
    for reason in verdict.reasons:
        lines += _wrapped(f"- {reason.text}: {reason.hint}")
    return lines + _wrapped(f"  {verdict.figures}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)


class Course:
    """The verdict on one process while it runs: over the last seconds, and without wavering.

    Those are 5 to 10 s, in two halves so that little has to be merged each second. It becomes worse
    when two measurements in a row say so, and better when `_CALM` do.
    """

    _HALF_NS = 5 * NS_PER_S
    _WORSE, _CALM = 2, 5

    def __init__(self) -> None:
        self.verdict = Verdict(Level.VALID, (), "")
        self._before = self._last = SelfMeasurement()
        self._in_a_row = 0

    def add(self, measured: SelfMeasurement) -> bool:
        """One more measurement; True if the level has changed."""
        if self._last.wall_ns >= self._HALF_NS:
            self._before, self._last = self._last, SelfMeasurement()
        self._last = self._last.merge(measured)
        verdict = judge(self._before.merge(self._last), is_live=True)
        if verdict.level == self.verdict.level:
            self._in_a_row = 0
            self.verdict = verdict  # its figures are newer
            return False
        self._in_a_row += 1
        needed = self._WORSE if verdict.level > self.verdict.level else self._CALM
        if self._in_a_row < needed:
            return False
        self._in_a_row = 0
        self.verdict = verdict
        return True


@dataclass(slots=True)
class _Process:
    early: SelfMeasurement = field(default_factory=SelfMeasurement)
    steady: SelfMeasurement = field(default_factory=SelfMeasurement)
    course: Course = field(default_factory=Course)

    @property
    def judged(self) -> SelfMeasurement:
        """The steady part, or if that hardly began, all there is."""
        if self.steady.wall_ns >= NS_PER_S:
            return self.steady
        return self.early.merge(self.steady)


class Judge:
    """Judges each process of a run apart: one that is late spoils what is merged with it."""

    def __init__(self) -> None:
        self._processes: dict[str, _Process] = {}

    def reset(self) -> None:
        """A new run begins."""
        self._processes.clear()

    def add(self, name: str, measured: SelfMeasurement, *, is_steady: bool) -> Verdict | None:
        """What process `name` measured, once its users were spawned or before.

        Returns the verdict on that process if its level has changed.
        """
        process = self._processes.setdefault(name, _Process())
        if not is_steady:
            process.early = process.early.merge(measured)
            return None
        process.steady = process.steady.merge(measured)
        return process.course.verdict if process.course.add(measured) else None

    def measured(self) -> dict[str, SelfMeasurement]:
        """What is judged, by the name of the process."""
        return {name: process.judged for name, process in self._processes.items()}

    def live(self) -> dict[str, Verdict]:
        """How each process does at the moment."""
        return {name: process.course.verdict for name, process in self._processes.items()}

    def verdict(self, *, dropped: int = 0, waiting: int = 0) -> Verdict:
        """The verdict on the run: that on its worst process.

        `dropped` arrivals are those of all processes that were due and never sent, without those
        that were `waiting` for a connection that the service did not take them from.
        """
        measured = self.measured()
        reasons = [*_dropped(dropped), *_waiting(waiting)]
        whole = SelfMeasurement.of(measured.values())
        for name, one in sorted(measured.items()):
            prefix = f"{name}: " if len(measured) > 1 else ""
            reasons += [
                Reason(reason.level, prefix + reason.text, reason.hint)
                for reason in judge(one).reasons
            ]
        if not measured:
            text = "no process has measured itself"
            reasons.append(Reason(Level.SUSPECT, text, "measure for 10 s or more"))
        reasons.sort(key=lambda reason: -reason.level)
        level = max((reason.level for reason in reasons), default=Level.VALID)
        return Verdict(level, tuple(reasons), _figures(whole))
