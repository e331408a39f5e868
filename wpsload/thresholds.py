"""What a run must reach: `delivery.p99<1s`. Parsed before the load, judged from the record.

::

    threshold  = subject operator value [ "@" part ]
    subject    = metric "." statistic | "rate." rate | total
    metric     = a name of `METRICS` | "ack" | "delivery" | "echo"
    statistic  = "p50" | "p99" | "p99.9" … | "min" | "mean" | "max" | "count" | "error_ratio"
    rate       = "connects" | "sent" | "acked" | "delivered" | "failures"
    total      = "loss" | "failures" | "error_ratio" | "dropped" | "capacity." capacity
    capacity   = "connections" | "in" | "out"
    operator   = "<" | "<=" | ">" | ">=" | "==" | "!="
    value      = number unit
    unit       = "ns" | "us" | "ms" | "s" | "m" of a latency, "%" or none of a ratio,
                 "/s" or none of a rate, none of a count
    part       = "steady" | "all"

Without data a threshold has failed: nothing was shown to be within it.
"""

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from wpsload.errors import ConfigError
from wpsload.figures import Figures, Views, figures_of, is_of_setup
from wpsload.histogram import Histogram, merged
from wpsload.metrics import CONNECT, DELIVERY, ECHO, METRICS, NEGOTIATE, Metric
from wpsload.record import Record, ThresholdResult
from wpsload.recorder import Measured
from wpsload.units import NS_PER_MS, NS_PER_S, ms

__all__ = [
    "CAPACITY",
    "RATES",
    "TOTALS",
    "Threshold",
    "Unit",
    "judge",
    "judges_failures",
    "latency_of",
    "metrics_of",
    "parse",
    "parse_all",
    "parse_limit",
    "parse_subject",
    "share_of",
    "shown",
    "value_of",
]

RATES = ("connects", "sent", "acked", "delivered", "failures")
TOTALS = ("loss", "failures", "error_ratio", "dropped")
CAPACITY = ("capacity.connections", "capacity.in", "capacity.out")
"""Of the last rung that held: connections, messages sent and deliveries a second."""

_GROUPS: dict[str, tuple[Metric, ...]] = {
    "ack": tuple(metric for metric in METRICS if metric.type == "ACK"),
    "delivery": (DELIVERY,),
    "echo": (ECHO,),
}
_METRICS = {metric.name: (metric,) for metric in METRICS if metric not in (DELIVERY, ECHO)}
_SUBJECTS = {**_METRICS, **_GROUPS}

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_SHAPE = re.compile(r"([\w.]+?)\s*(<=|>=|==|!=|<|>)\s*([^@\s]+)\s*(?:@\s*(\w+))?")
_STATISTIC = re.compile(r"(.+?)\.(p\d{1,2}(?:\.\d{1,3})?|min|mean|max|count|error_ratio)")
_VALUE = re.compile(r"(\d+(?:\.\d+)?)(.*)")

Unit = Literal["ns", "ratio", "per_s", "count"]
_UNITS: dict[Unit, dict[str, float]] = {
    "ns": {
        "ns": 1,
        "us": 1_000,
        "µs": 1_000,
        "ms": NS_PER_MS,
        "s": NS_PER_S,
        "m": 60 * NS_PER_S,
    },
    "ratio": {"": 1, "%": 0.01},
    "per_s": {"": 1, "/s": 1},
    "count": {"": 1},
}
_EXAMPLES: dict[Unit, str] = {
    "ns": "a latency such as 20ms or 1s",
    "ratio": "a share such as 0.1% or 0.001",
    "per_s": "a rate such as 1000/s",
    "count": "a number such as 0",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """One threshold; `limit` is in `unit`.

    `part` is None where none was named: then it covers what the summary shows.
    """

    expression: str
    subject: str
    statistic: str
    unit: Unit
    operator: str
    limit: float
    part: Literal["steady", "all"] | None


def parse_all(text: str) -> tuple[Threshold, ...]:
    """The thresholds of a text that separates them by `;`.

    Raises:
        ConfigError: if one of them is none; says what there is.
    """
    return tuple(parse(one) for one in text.split(";") if one.strip())


def parse(text: str) -> Threshold:
    """The threshold that `text` is.

    Raises:
        ConfigError: naming what is wrong, with what there is instead as the hint.
    """
    expression = "".join(text.split())
    shape = _SHAPE.fullmatch(text.strip())
    if shape is None:
        raise ConfigError(
            f"{text.strip()!r} is no threshold",
            hint="write it like 'delivery.p99<1s', 'loss==0' or 'connect.p99<2s@all'",
        )
    name, sign, value, part = shape.groups()
    subject, statistic, unit = parse_subject(name, expression)
    if part not in (None, "steady", "all"):
        raise ConfigError(
            f"{expression}: there is no part {part!r} of a run", hint="@steady or @all"
        )
    if part == "steady" and subject in ("loss", *CAPACITY):
        raise ConfigError(f"{expression}: {subject} is of the whole run", hint="leave @steady out")
    return Threshold(
        expression=expression,
        subject=subject,
        statistic=statistic,
        unit=unit,
        operator=sign,
        limit=parse_limit(value, unit, expression),
        part=None if part is None else "steady" if part == "steady" else "all",
    )


def parse_subject(name: str, expression: str) -> tuple[str, str, Unit]:
    """What is judged, by which statistic, in which unit; `expression` names it in errors.

    Raises:
        ConfigError: if there is no such measurement or statistic; says what there is.
    """
    if name in TOTALS:
        return name, "", "ratio" if name == "error_ratio" else "count"
    if name in CAPACITY:
        return name, "", "count" if name == "capacity.connections" else "per_s"
    if name.startswith("rate."):
        rate = name.removeprefix("rate.")
        if rate not in RATES:
            raise ConfigError(
                f"{expression}: there is no rate {rate!r}", hint=f"one of {', '.join(RATES)}"
            )
        return rate, "rate", "per_s"
    found = _STATISTIC.fullmatch(name)
    subject = found[1] if found else name.partition(".")[0] if name not in _SUBJECTS else name
    if subject not in _SUBJECTS:
        known = ", ".join([*_SUBJECTS, *(f"rate.{rate}" for rate in RATES), *TOTALS, *CAPACITY])
        raise ConfigError(
            f"{expression}: there is no measurement {subject!r}", hint=f"one of {known}"
        )
    if found is None:
        raise ConfigError(
            f"{expression} names no statistic of {subject}",
            hint="one of p50, p99, p99.9 or the like, min, mean, max, count, error_ratio",
        )
    statistic = found[2]
    units: dict[str, Unit] = {"count": "count", "error_ratio": "ratio"}
    return subject, statistic, units.get(statistic, "ns")


def parse_limit(value: str, unit: Unit, expression: str) -> float:
    """The number that `value` is, in `unit`; `expression` names it in errors.

    Raises:
        ConfigError: if it is none, or has the unit of something else.
    """
    found = _VALUE.fullmatch(value)
    units = _UNITS[unit]
    if (
        found is None
        or (found[2] not in units and (found[2] or float(found[1])))
        or len(found[1]) > 15
    ):
        what = (
            f"{value!r} is not"
            if found is None
            else f"{found[2] or 'no unit'!r} is not the unit of"
        )
        raise ConfigError(f"{expression}: {what} {_EXAMPLES[unit]}")
    # In whole ns, so that 0.1ms is what it says; a share as near as a float comes.
    limit = float(found[1]) * units.get(found[2], 1)
    return round(limit) if unit == "ns" else limit


def judges_failures(thresholds: Sequence[Threshold]) -> bool:
    """Whether one says how many requests may fail, of all; otherwise none may."""
    return any(
        one.subject in ("failures", "error_ratio")
        and not one.statistic
        and one.operator in ("<", "<=", "==")
        for one in thresholds
    )


def judge(thresholds: Sequence[Threshold], record: Record) -> list[ThresholdResult]:
    """What became of each."""
    views = figures_of(record)
    return [_judge(one, record, views) for one in thresholds]


def _judge(threshold: Threshold, record: Record, views: Views) -> ThresholdResult:
    covers: Literal["window", "run"] = "window" if _is_of_window(threshold) else "run"
    note = ""
    if covers == "window" and views.window is None:
        if threshold.part == "steady":
            return _result(threshold, "window", None, None, "there was no steady state")
        covers, note = "run", "the whole run, as there was no steady state"
    value, samples = _value(threshold, record, views, is_window=covers == "window")
    return _result(threshold, covers, value, samples, "no data" if value is None else note)


def _is_of_window(threshold: Threshold) -> bool:
    is_of_metric = threshold.subject in _SUBJECTS and threshold.statistic != "rate"
    if is_of_metric and is_of_setup(_SUBJECTS[threshold.subject][0]) and threshold.subject != "ack":
        return False
    if threshold.part is not None:
        return threshold.part == "steady"
    if threshold.subject in (*TOTALS, *CAPACITY) and threshold.statistic == "":
        return False
    if threshold.statistic == "rate":
        return True
    return threshold.subject == "ack" or not is_of_setup(_SUBJECTS[threshold.subject][0])


def _value(
    threshold: Threshold, record: Record, views: Views, *, is_window: bool
) -> tuple[float | None, int | None]:
    """The value, and of how many samples it is."""
    figures = views.window if is_window and views.window is not None else views.run
    rates = views.rates if is_window else views.run
    return value_of(threshold.subject, threshold.statistic, record, figures, rates)


def value_of(
    subject: str, statistic: str, record: Record, figures: Figures, rates: Figures
) -> tuple[float | None, int | None]:
    """The value in a part of the run, None without data, and of how many samples it is.

    `rates` is that part without the drain, which is what rates are of.
    """
    if statistic == "rate":
        return (rates.counts.get(subject, 0) / rates.seconds if rates.seconds else None), None
    if subject in CAPACITY:
        return _capacity(subject, record), None
    if statistic == "":
        return _total(subject, record, figures)
    return _statistic(statistic, metrics_of(subject, figures))


def metrics_of(subject: str, figures: Figures) -> list[Measured]:
    """What was measured of a subject: none of a total, a rate or what has no sample."""
    metrics = _SUBJECTS.get(subject, ())
    return [figures.metrics[one] for one in metrics if one in figures.metrics]


def _total(name: str, record: Record, figures: Figures) -> tuple[float | None, int | None]:
    metrics = list(figures.metrics.values())
    count = sum(one.count for one in metrics)
    if not count:
        return None, 0
    if name == "dropped":
        return figures.counts.get("dropped", 0), None
    if name == "loss":
        return _loss(record, metrics), None
    if name == "failures":
        return sum(one.failure_count for one in metrics), count
    requests = [
        one
        for one in metrics
        if one.metric.type in ("ACK", "ECHO") or one.metric in (CONNECT, NEGOTIATE)
    ]
    count = sum(one.count for one in requests)
    return (sum(one.failure_count for one in requests) / count if count else None), count


def _capacity(name: str, record: Record) -> float | None:
    """Of the last rung that held, 0 if none did; None without a ladder."""
    if record.ladder is None:
        return None
    best = record.ladder.best
    if best is None:
        return 0
    figures = {
        "capacity.connections": best.connections,
        "capacity.in": best.sent_per_s,
        "capacity.out": best.delivered_per_s,
    }
    return figures[name]


def _loss(record: Record, metrics: Sequence[Measured]) -> int:
    """What the ledger says under `loss`; without one, the requests that were never answered."""
    told = (record.ledger or {}).get("loss")
    if isinstance(told, int):
        return told
    return sum(one.unanswered_count for one in metrics if one.metric.type in ("ACK", "ECHO"))


def _statistic(name: str, metrics: Sequence[Measured]) -> tuple[float | None, int]:
    count = sum(one.count for one in metrics)
    if name == "count":
        return count, count
    if name == "error_ratio":
        return (sum(one.failure_count for one in metrics) / count if count else None), count
    latency = merged(one.latency for one in metrics)
    return latency_of(name, latency), latency.count


def latency_of(statistic: str, latency: Histogram) -> float | None:
    """`p99`, `min` or the like of a histogram, in ns; None without values."""
    if not latency.count:
        return None
    values: dict[str, int | float | None] = {
        "min": latency.min_ns,
        "max": latency.max_ns,
        "mean": latency.sum_ns / latency.count,
    }
    return values[statistic] if statistic in values else latency.quantile(share_of(statistic))


def share_of(percentile: str) -> float:
    """The share of `p99.9` or the like."""
    digits = percentile.removeprefix("p")
    whole, _, rest = digits.partition(".")
    return float(f"0.{whole:>02}{rest}")


def _result(
    threshold: Threshold,
    covers: Literal["window", "run"],
    value: float | None,
    samples: int | None,
    note: str,
) -> ThresholdResult:
    is_met = value is not None and _OPERATORS[threshold.operator](value, threshold.limit)
    return ThresholdResult(
        expression=threshold.expression,
        passed=is_met,
        value=value,
        unit=threshold.unit,
        shown="no data" if value is None else shown(value, threshold.unit),
        covers=covers,
        samples=samples,
        note="" if note == "no data" else note,
    )


def shown(value: float, unit: Unit) -> str:
    """A value for people, with its unit."""
    if unit == "ns":
        return f"{ms(round(value)):.3f} ms"
    if unit == "ratio":
        return f"{100 * value:.3f} %"
    return f"{value:.1f}/s" if unit == "per_s" else f"{value:.0f}"
