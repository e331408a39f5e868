"""Two runs side by side: what differs by more than it varies within the runs.

::

    condition = subject operator limit
    subject   = as in a threshold, see `wpsload.thresholds`
    operator  = ">+" | "<-"
    limit     = number "%" (of the base) | number unit (absolute, units as in a threshold)

A difference is named if its interval leaves out 0. The interval is the wider of two, by *sampling*,
what chance does to figures of so many independent samples, and by *spread*, what the parts of the
two windows differ among themselves; and of latencies also what the *generator* may have added, by
its own account. Latencies are compared by their logarithms. `docs/compare.md`
has the rule, where it comes from, and what it cannot tell.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath
from statistics import NormalDist, variance
from typing import Literal

from wpsload.errors import ConfigError
from wpsload.figures import Figures, figures_of, is_of_setup
from wpsload.histogram import RELATIVE_ERROR, merged
from wpsload.metrics import DELIVERY, ECHO, METRICS, OWN_METRICS
from wpsload.record import Record
from wpsload.thresholds import (
    CAPACITY,
    TOTALS,
    Unit,
    latency_of,
    metrics_of,
    parse_limit,
    parse_subject,
    share_of,
    value_of,
)
from wpsload.verdict import SelfMeasurement

__all__ = [
    "Comparison",
    "Condition",
    "Outcome",
    "Row",
    "compare",
    "notes",
    "parse_condition",
    "why_not_alike",
    "why_not_usable",
]

_ERROR = 0.05
"""How often runs of one service may be told apart all the same: once in 20 comparisons."""

_STATISTICS = ("p50", "p99")
_SHORT = {DELIVERY: "delivery", ECHO: "echo"}
_LEAST_PARTS = 3
_LEAST_BEYOND = 10  # samples on either side of a percentile, as in the summary

_SHAPE = re.compile(r"([\w.]+?)([<>])([+-])(.+)")
_PERCENT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)%")
_OF_SETUP = {metric.name for metric in METRICS if is_of_setup(metric)}

_NOT_OF_LOAD = frozenset(
    {
        *("wps-seed", "wps-run-id", "wps-threshold", "wps-reports", "wps-no-record", "wps-verdict"),
        *("wps-token-in", "wps-token-ttl", "wps-connect-timeout"),
        *("locustfile", "headless", "csv_prefix", "stop_timeout"),
    }
)
"""Options that leave load and figures alone. Any other one that differs makes runs unlike, so that
one that is new is not forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What makes a comparison fail: a difference beyond `limit`, which is negative for a fall.

    The limit is a share of the base if `is_relative`, otherwise in `unit`.
    """

    expression: str
    subject: str
    statistic: str
    unit: Unit
    is_rise: bool
    limit: float
    is_relative: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure of both runs.

    `base` and `new` are in `unit`, None without data. `change` is new - base, `low` and `high` are
    the interval of it; all three are shares of the base if `is_relative`. They are None where
    `unknown` says why there is no telling.
    """

    name: str
    unit: Unit
    base: float | None
    new: float | None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    is_relative: bool = False
    unknown: str = ""

    @property
    def finding(self) -> Literal["higher", "lower", "no difference", "unknown"]:
        """What can be said of the figure."""
        if self.unknown or self.low is None or self.high is None:
            return "unknown"
        if self.low > 0:
            return "higher"
        return "lower" if self.high < 0 else "no difference"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a condition, and why."""

    condition: Condition
    row: Row
    has_failed: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All that was compared: the figures of every run, and what was asked for."""

    rows: list[Row]
    outcomes: list[Outcome]

    @property
    def differences(self) -> list[Row]:
        """The rows that differ by more than the runs vary."""
        return [row for row in self.rows if row.finding in ("higher", "lower")]

    @property
    def has_failed(self) -> bool:
        """Whether a condition has."""
        return any(one.has_failed for one in self.outcomes)


def parse_condition(text: str) -> Condition:
    """The condition that `text` is.

    Raises:
        ConfigError: naming what is wrong, with what there is instead as the hint.
    """
    expression = "".join(text.split())
    shape = _SHAPE.fullmatch(expression)
    if shape is None or (shape[2] == ">") != (shape[3] == "+"):
        raise ConfigError(
            f"--fail-on: {text.strip()!r} is no condition",
            hint="write it like 'delivery.p99>+10%', 'rate.acked<-5%' or 'delivery.p50>+5ms'",
        )
    name, _, sign, value = shape.groups()
    subject, statistic, unit = parse_subject(name, expression)
    if subject in _OF_SETUP:
        raise ConfigError(
            f"{expression}: {subject} is measured in one piece, so how much it varies is unknown",
            hint="compare what is measured in the window, such as delivery, sendToGroup or rates",
        )
    percent = _PERCENT.fullmatch(value)
    limit = float(percent[1]) / 100 if percent else parse_limit(value, unit, expression)
    return Condition(
        expression=expression,
        subject=subject,
        statistic=statistic,
        unit=unit,
        is_rise=sign == "+",
        limit=limit if sign == "+" else -limit,
        is_relative=percent is not None,
    )


def why_not_usable(record: Record) -> str:
    """What keeps a run from being compared with any other; empty if nothing does."""
    if record.is_invalid:
        return "its verdict is INVALID: the generator was late, so its latencies are its own"
    if record.state != "finished":
        ending = "goes on" if record.state == "running" else "was broken off"
        return f"it {ending}: its record says {record.state}"
    if not any(one.phase == "window" for one in record.spans):
        return "it stopped before its window"
    return ""


def why_not_alike(base: Record, new: Record) -> list[str]:
    """What was not the same load, a line each."""
    lines = []
    scenarios = [PurePath(one.scenario.replace("\\", "/")).name for one in (base, new)]
    if scenarios[0] != scenarios[1]:
        lines.append(f"scenario: {scenarios[0]} and {scenarios[1]}")
    for name in sorted({*base.options, *new.options} - _NOT_OF_LOAD):
        before, after = base.options.get(name), new.options.get(name)
        if before != after and (before or after):
            lines.append(f"{name}: {_plain(before)} and {_plain(after)}")
    if (base.ladder is None) != (new.ladder is None):
        lines.append("one climbed a ladder, the other did not")
    if not lines and base.plan != new.plan:
        lines.append(f"plan: {base.plan!r} and {new.plan!r}")
    return lines


def notes(base: Record, new: Record) -> list[str]:
    """What may explain a difference though the load was the same, a line each."""
    lines = []
    for name, run in (("base", base), ("new", new)):
        level = (run.verdict or {}).get("level")
        if run.verdict is None:
            lines.append(f"nobody judged the generator of the {name} run")
        elif level == "SUSPECT":
            lines.append(f"the verdict on the {name} run is SUSPECT: the generator may be in it")
        lines += [f"in doubt in the {name} run: {doubt}" for doubt in run.doubts]
    rung = _common_rung(base, new)
    if rung is not None and base.shown_rung != new.shown_rung:
        lines.append(f"one climbed higher: all figures but the capacity are those of rung {rung}")
    seeds = {run.options.get("wps-seed") or "" for run in (base, new)}
    if seeds == {""} or len(seeds) > 1:
        lines.append("their messages were due at different times: give both one --wps-seed")
    for what, before, after in (
        ("targets", base.target, new.target),
        ("machines", base.machine, new.machine),
        ("versions", base.versions, new.versions),
    ):
        if before != after:
            lines.append(f"their {what} differ")
    return lines


def compare(base: Record, new: Record, conditions: Sequence[Condition] = ()) -> Comparison:
    """Both runs side by side, and what became of `conditions`.

    At most once in 20 comparisons of one service with itself any figure differs, those of the
    conditions included.
    """
    pair = _Pair(base, new)
    names = pair.names()
    level = _ERROR / len({*names, *map(_name, conditions)} or {""})
    shown = [*names, *(CAPACITY if base.ladder is not None and new.ladder is not None else ())]
    return Comparison(
        rows=[pair.row(name, level=level) for name in shown],
        outcomes=[_outcome(one, pair.row(_name(one), level=level)) for one in conditions],
    )


def _name(condition: Condition) -> str:
    if condition.statistic == "rate":
        return f"rate.{condition.subject}"
    return ".".join(filter(None, (condition.subject, condition.statistic)))


def _outcome(condition: Condition, row: Row) -> Outcome:
    if row.base is None or row.new is None or row.low is None or row.high is None:
        return Outcome(condition=condition, row=row, has_failed=True, why=row.unknown)
    change = row.new - row.base
    limit = condition.limit * (row.base if condition.is_relative else 1)
    is_beyond = change > limit if condition.is_rise else change < limit
    if row.finding == "no difference":
        why = "no more than the runs vary"
    else:
        why = "" if is_beyond else "within the limit"
    return Outcome(condition=condition, row=row, has_failed=not why, why=why)


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "none" if value is None or value == "" else str(value)


@dataclass(frozen=True, slots=True)
class _Estimate:
    """One figure of one run on the scale on which it is compared.

    `below` and `above` are how far the true one may be from it, by the chance of sampling alone.
    `parts` are the same figure of the parts of the window; None where it has none. The whole varies
    as the mean of them, or, if it `is_extreme`, as one of them. `own` is how much of it may be the
    generator's and not the service's.
    """

    at: float
    below: float
    above: float
    parts: list[float] | None
    own: float = 0.0
    is_extreme: bool = False


class _UnknownError(Exception):
    """There is no telling; the text says why."""


class _Run:
    """One run, seen as a whole and in parts."""

    def __init__(self, record: Record, rung: int | None) -> None:
        self.record = record
        self.views = figures_of(record, rung=rung)
        self.window = self.views.window or self.views.run
        own = [SelfMeasurement.from_dict(one) for one in (record.generator or {}).values()]
        self._late = merged(one.slip for one in own), merged(one.lag for one in own)

    def value(self, subject: str, statistic: str) -> float | None:
        """As a threshold has it, but counts of events by the second."""
        if subject in TOTALS and not statistic:
            return self._value(subject, statistic, self.views.run, self.views.run)
        return self._value(subject, statistic, self.window, self.views.rates)

    def estimate(self, subject: str, statistic: str, z: float) -> _Estimate:
        """The figure, with what it may be off by; `z` is the normal quantile of the wanted level.

        Raises:
            _UnknownError: if there is no telling.
        """
        value = self.value(subject, statistic)
        if value is None:
            raise _UnknownError("no data")
        if statistic == "rate" or _is_count(subject, statistic):
            seconds = self.seconds(subject, statistic)
            off = z * math.sqrt(value * seconds + 1) / seconds
            parts = None if subject == "loss" else self._parts(subject, statistic)
            return _Estimate(value, off, off, parts)
        if "error_ratio" in (subject, statistic):
            return self._ratio(subject, statistic, value, z)
        return self._latency(subject, statistic, value, z)

    def seconds(self, subject: str, statistic: str) -> int:
        """How long what is counted was counted."""
        is_total = subject in TOTALS and not statistic
        return max(1, (self.views.run if is_total else self.views.rates).seconds)

    def _value(
        self, subject: str, statistic: str, figures: Figures, rates: Figures
    ) -> float | None:
        value, _ = value_of(subject, statistic, self.record, figures, rates)
        if value is not None and _is_count(subject, statistic):
            value /= max(1, rates.seconds)
        return value

    def _parts(self, subject: str, statistic: str) -> list[float]:
        pairs = zip(self.views.parts, self.views.rate_parts, strict=True)
        values = [self._value(subject, statistic, part, rates) for part, rates in pairs]
        return [value for value in values if value is not None]

    def _ratio(self, subject: str, statistic: str, value: float, z: float) -> _Estimate:
        figures = self.window if statistic else self.views.run
        _, count = value_of(subject, statistic, self.record, figures, figures)
        # One more success and one more failure, so that none in a few is no certainty (Agresti).
        count = (count or 0) + 2
        share = (value * (count - 2) + 1) / count
        off = z * math.sqrt(share * (1 - share) / count)
        return _Estimate(value, off, off, self._parts(subject, statistic))

    def _latency(self, subject: str, statistic: str, value: float, z: float) -> _Estimate:
        at = math.log(max(value, 1))
        parts = [math.log(max(one, 1)) for one in self._parts(subject, statistic)]
        own = at - math.log(max(value - self._own_ns(statistic), 1))
        if statistic in ("min", "max"):
            return _Estimate(at, 0, 0, parts, own, is_extreme=True)
        latency = merged(one.latency for one in metrics_of(subject, self.window))
        if statistic == "mean":
            squares = sum(count * (each - value) ** 2 for each, count in latency.values())
            off = z * math.sqrt(squares) / latency.count / max(value, 1)
            return _Estimate(at, off, off, parts, own)
        share = share_of(statistic)
        beyond = latency.count * min(share, 1 - share)
        if beyond < _LEAST_BEYOND or beyond < z * z:
            raise _UnknownError(f"too few samples: {latency.count}")
        # Where the true one is among the sorted values: binomial, by the normal approximation.
        step = z * math.sqrt(share * (1 - share) / latency.count)
        ends = latency.quantiles((share - step, min(1.0, share + step + 1 / latency.count)))
        below, above = (math.log(max(one or 0, 1)) for one in ends)
        return _Estimate(at, at - below, above - at, parts, own)

    def _own_ns(self, statistic: str) -> float:
        """The same statistic of how late the generator itself wrote and read, together."""
        return sum(latency_of(statistic, late) or 0 for late in self._late)


class _Pair:
    """Both runs."""

    def __init__(self, base: Record, new: Record) -> None:
        rung = _common_rung(base, new)
        self._base = _Run(base, rung)
        self._new = _Run(new, rung)
        self._has_common = rung is not None or base.shown_rung is new.shown_rung is None

    def names(self) -> list[str]:
        """The figures that are compared unasked."""
        names: list[str] = []
        for metric in METRICS:
            subject = _SHORT.get(metric, metric.name)
            if is_of_setup(metric) or metric in OWN_METRICS or not self._has(subject, "count"):
                continue
            names += [f"{subject}.{statistic}" for statistic in _STATISTICS]
            if self._has(subject, "error_ratio"):
                names.append(f"{subject}.error_ratio")
        rates = ("sent", "acked", "delivered")
        return names + [f"rate.{one}" for one in rates if self._has(one, "rate")]

    def _has(self, subject: str, statistic: str) -> bool:
        return any(one.value(subject, statistic) for one in (self._base, self._new))

    def row(self, name: str, *, level: float) -> Row:
        """One figure, with an interval that is wrong with a probability of `level`."""
        subject, statistic, unit = parse_subject(name, name)
        if subject in CAPACITY:
            return self._capacity(subject, unit)
        is_latency = unit == "ns"
        values = [one.value(subject, statistic) for one in (self._base, self._new)]
        # Counts are of as long a time as in the base, whatever the new run lasted.
        scale = self._base.seconds(subject, statistic) if _is_count(subject, statistic) else 1
        base, new = (None if one is None else one * scale for one in values)
        try:
            self._check_rungs(is_total=subject in TOTALS and not statistic)
            change, low, high = self._interval(subject, statistic, level, is_latency=is_latency)
        except _UnknownError as error:
            return Row(name=name, unit=unit, base=base, new=new, unknown=str(error))
        if is_latency:
            change, low, high = (math.expm1(one) for one in (change, low, high))
        else:
            by = scale / base if base else scale
            change, low, high = (one * by for one in (change, low, high))
        return Row(
            name=name,
            unit=unit,
            base=base,
            new=new,
            change=change,
            low=low,
            high=high,
            is_relative=is_latency or bool(base),
        )

    def _interval(
        self, subject: str, statistic: str, level: float, *, is_latency: bool
    ) -> tuple[float, float, float]:
        """The difference, and the least and the greatest that it may really be."""
        z = NormalDist().inv_cdf(1 - level / 2)
        base, new = (one.estimate(subject, statistic, z) for one in (self._base, self._new))
        change = new.at - base.at
        # Each end is as far off as both runs may be that way (Zou and Donner's MOVER).
        below = math.hypot(new.below, base.above)
        above = math.hypot(new.above, base.below)
        spread = _spread(base, new, level)
        if is_latency:  # two figures may be in neighbouring buckets, and the same
            spread = max(spread, 2 * RELATIVE_ERROR)
        # Chance may be on top of what the generator added to the greater figure.
        low = change - max(below, spread) - new.own
        return change, low, change + max(above, spread) + base.own

    def _check_rungs(self, *, is_total: bool) -> None:
        """Figures are those of one rung, totals those of a climb to the same one."""
        base, new = self._base.record.shown_rung, self._new.record.shown_rung
        if base != new and (is_total or not self._has_common):
            raise _UnknownError(f"of different rungs: {base or 'none'} and {new or 'none'}")

    def _capacity(self, name: str, unit: Unit) -> Row:
        base, new = (one.value(name, "") for one in (self._base, self._new))
        if base is None or new is None:
            return Row(name=name, unit=unit, base=base, new=new, unknown="no ladder")
        by = base or 1
        change = (new - base) / by
        (first, last), (first_new, last_new) = map(_rungs, (self._base.record, self._new.record))
        # Between the last rung that held and the one that did not: neighbours may be the same.
        is_real = first_new > last or first > last_new
        low, high = (change, change) if is_real else (min(0.0, change), max(0.0, change))
        return Row(
            name=name,
            unit=unit,
            base=base,
            new=new,
            change=change,
            low=low,
            high=high,
            is_relative=bool(base),
        )


def _is_count(subject: str, statistic: str) -> bool:
    """Whether it is a number of events, which is the greater the longer a run is."""
    return statistic == "count" or (not statistic and subject in ("loss", "failures", "dropped"))


def _common_rung(base: Record, new: Record) -> int | None:
    """The highest rung that both have the figures of; None if it is not one load."""
    if base.ladder is None or new.ladder is None:
        return None
    common = min(base.ladder.held or 1, new.ladder.held or 1)
    loads = {
        (one.connections, one.in_per_s)
        for ladder in (base.ladder, new.ladder)
        for one in ladder.rungs
        if one.number == common
    }
    return common if len(loads) == 1 else None


def _rungs(record: Record) -> tuple[float, float]:
    """The rungs between which the capacity is; nobody knows the upper one if none was missed."""
    ladder = record.ladder
    held = 0 if ladder is None or ladder.held is None else ladder.held
    is_bounded = ladder is not None and ladder.ended == "missed"
    return held, held + 1 if is_bounded else math.inf


def _spread(base: _Estimate, new: _Estimate, level: float) -> float:
    """How far off the difference may be by what the parts differ among themselves (t interval)."""
    if base.parts is None or new.parts is None:
        return 0
    counts = len(base.parts), len(new.parts)
    if min(counts) < _LEAST_PARTS:
        raise _UnknownError(f"too few samples: {min(counts)} of {_LEAST_PARTS} parts of a window")
    freedom = sum(counts) - 2
    squares = [variance(one) * (len(one) - 1) for one in (base.parts, new.parts)]
    weights = (1, 1) if base.is_extreme else (1 / counts[0], 1 / counts[1])
    return _t_quantile(level, freedom) * math.sqrt(sum(squares) / freedom * sum(weights))


def _t_quantile(level: float, freedom: int) -> float:
    """What Student's t exceeds on either side with a probability of `level`, by halving."""
    low, high = 0.0, 1e6
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _t_beyond(middle, freedom) > level else (low, middle)
    return high


def _t_beyond(t: float, freedom: int) -> float:
    """The probability of more than `t` on either side. Source: Abramowitz and Stegun, 26.7.3-4."""
    angle = math.atan(t / math.sqrt(freedom))
    cosine = math.cos(angle)
    is_odd = freedom % 2
    term = cosine if is_odd else 1.0
    total = term if freedom > 1 else 0.0
    for index in range(2 + is_odd, freedom - 1, 2):
        term *= cosine * cosine * (index - 1) / index
        total += term
    total *= math.sin(angle)
    return 1 - (2 / math.pi * (angle + total) if is_odd else total)
