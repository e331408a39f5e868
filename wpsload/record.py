"""The record of a run: what `run.json` holds, written and read with every field checked.

Whatever is printed or drawn after a run is computed from this alone. It holds histograms, never
their percentiles, so runs can be merged and a report can change its mind.

Format versions:

1   the first one

A reader refuses a newer version, and ignores fields that it does not know. `docs/record.md` says
what each field means.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import msgspec

from wpsload.errors import ConfigError
from wpsload.histogram import Histogram
from wpsload.metrics import Metric

__all__ = [
    "FORMAT",
    "SECTIONS",
    "VERSION",
    "Event",
    "HistogramData",
    "Ladder",
    "Machine",
    "MetricSeries",
    "MetricSpan",
    "Phase",
    "PhaseName",
    "Published",
    "Record",
    "Rung",
    "Series",
    "Span",
    "ThresholdResult",
    "from_json",
    "to_json",
    "with_section",
]

FORMAT = "wpsload run"
VERSION = 1

_BUCKETS_PER_OCTAVE: int = Histogram().to_dict()["buckets_per_octave"]

PhaseName = Literal["connect", "warm-up", "window", "drain"]
"""The phases of a run, in their order. Connecting includes joining groups; a run that ends early
has neither warm-up nor window."""

SECTIONS = ("ledger", "clocks", "generator", "verdict")
"""Optional parts of a record, each a JSON object whose shape its own module knows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistogramData:
    """A histogram as `Histogram.to_dict` gives it."""

    buckets_per_octave: int
    indexes: list[int]
    counts: list[int]
    overflow: int
    min_ns: int | None
    max_ns: int | None
    sum: tuple[int, int]

    def __post_init__(self) -> None:
        if len(self.indexes) != len(self.counts):
            raise ValueError("`indexes` and `counts` differ in length")
        if any(left >= right for left, right in zip(self.indexes, self.indexes[1:], strict=False)):
            raise ValueError("`indexes` do not ascend")
        if min(self.counts, default=1) < 1 or self.overflow < 0 or min(self.indexes, default=0) < 0:
            raise ValueError("a count or an index is negative, or a count is 0")
        if (self.counts or self.overflow) and (self.min_ns is None or self.max_ns is None):
            raise ValueError("there are values, but no `min_ns` or no `max_ns`")
        if self.buckets_per_octave != _BUCKETS_PER_OCTAVE:
            raise ValueError(
                f"it has {self.buckets_per_octave} buckets per octave, expected"
                f" {_BUCKETS_PER_OCTAVE}"
            )

    @classmethod
    def of(cls, histogram: Histogram) -> "HistogramData":
        """What a record holds of `histogram`."""
        data = histogram.to_dict()
        return cls(**{**data, "sum": tuple(data["sum"])})

    def histogram(self) -> Histogram:
        """The histogram again, exactly."""
        return Histogram.from_dict(
            {name: getattr(self, name) for name in HistogramData.__dataclass_fields__}
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpan:
    """The samples of one metric in one span of the run; see `recorder.Measured`."""

    type: str
    name: str
    meaning: str
    latency: HistogramData
    untimed: int
    unanswered: dict[str, int]
    failures: dict[str, int]

    @property
    def metric(self) -> Metric:
        """Which one it is."""
        return Metric(self.type, self.name, self.meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A stretch of whole seconds: one phase, or a part of the window.

    `second` is Unix time, `counts` are those of `recorder.COUNTS`. `rung` is the number of the rung
    that a ladder stood on, from 1 on, and None without a ladder.
    """

    phase: PhaseName
    second: int
    seconds: int
    counts: dict[str, int]
    metrics: list[MetricSpan]
    rung: int | None = None

    def __post_init__(self) -> None:
        if self.seconds < 1:
            raise ValueError("a span has at least one second")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSeries:
    """One metric second by second; a latency is None where the second had none."""

    type: str
    name: str
    successes: list[int]
    failures: list[int]
    latency_ns: dict[str, list[int | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The run second by second, in columns of one length.

    `second` is Unix time; `users` are those of Locust, None if unknown; `columns` has the fields of
    `recorder.Second` by their name.
    """

    second: list[int] = field(default_factory=list)
    users: list[int | None] = field(default_factory=list)
    columns: dict[str, list[int]] = field(default_factory=dict)
    metrics: list[MetricSeries] = field(default_factory=list)

    def __post_init__(self) -> None:
        columns: dict[str, list[Any]] = {"users": self.users, **self.columns}
        for one in self.metrics:
            columns |= {
                f"{one.name} successes": one.successes,
                f"{one.name} failures": one.failures,
            }
            columns |= {f"{one.name} {name}": column for name, column in one.latency_ns.items()}
        for name, column in columns.items():
            if len(column) != len(self.second):
                raise ValueError(
                    f"column {name!r} has {len(column)} values for {len(self.second)} seconds"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A phase as it really was; both in seconds, the start in Unix time. `rung` as in `Span`."""

    name: PhaseName
    start_s: float
    length_s: float
    rung: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.length_s)) or self.length_s < 0:
            raise ValueError("a phase has a start, and a length of 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened once; `at_s` is Unix time, `kind` one of a few words."""

    at_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ThresholdResult:
    """What became of one threshold.

    `value` is None without data, which is a failure; it is in `unit`, as is what it was compared
    with. `covers` says which part of the run it is of, `samples` of how many it is (None for what
    is no statistic of samples), `shown` is the value for people.
    """

    expression: str
    passed: bool
    value: float | None
    unit: Literal["ns", "ratio", "per_s", "count"]
    shown: str
    covers: Literal["window", "run"]
    samples: int | None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rung of a ladder: what was asked for, and whether the service did it.

    Its samples are the spans with its number; figures over its measured part are here as well.

    Attributes:
        number: from 1 on.
        connections: that were asked for.
        in_per_s: messages a second that its senders were to send, all together.
        outcome: `held` the objective, `missed` it, `generator limit` if the generator's own verdict
            was INVALID, `unfinished` if the run ended on it.
        why: what was missed, or what limited the generator, in words; empty if it held.
        verdict: on the generator while the rung was measured, see `docs/verdict.md`.
        sent_per_s: messages a second that really were sent.
        delivered_per_s: deliveries a second.
        lost: deliveries that had to come and did not, and messages without an answer.
    """

    number: int
    connections: int
    in_per_s: float
    outcome: Literal["held", "missed", "generator limit", "unfinished"]
    why: list[str] = field(default_factory=list)
    verdict: dict[str, Any] | None = None
    sent_per_s: float = 0.0
    delivered_per_s: float = 0.0
    lost: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the service's performance guide says of that scenario; `source` says where."""

    units: int
    connections: int
    in_per_s: float
    out_per_s: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """A climb from rung to rung, until the objective was missed.

    Attributes:
        objective: thresholds that each rung had to hold, in the words of `--wps-threshold`.
        rungs: those that were begun, in their order.
        ended: `missed` if a rung missed the objective, `generator limit`, `top` if the last rung
            held, `stopped` if somebody ended the run, None while it goes on.
        held: the number of the last rung that held; None if none did.
        published: to compare with; None if the guide has nothing alike.
    """

    objective: list[str]
    rungs: list[Rung] = field(default_factory=list)
    ended: Literal["missed", "generator limit", "top", "stopped"] | None = None
    held: int | None = None
    published: Published | None = None

    @property
    def best(self) -> Rung | None:
        """The last rung that held."""
        return next((one for one in self.rungs if one.number == self.held), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the generator ran; None is unknown."""

    cpu: str | None = None
    cores: int | None = None
    memory_bytes: int | None = None
    kernel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run; `ladder` is None unless it climbed one.

    `spans` are apart from each other and cover it: connect, warm-up, up to five parts of the
    window, drain. Times are Unix time in seconds.
    """

    format: str = FORMAT
    version: int = VERSION
    state: Literal["running", "finished", "interrupted"]
    scenario: str
    started_s: float
    written_s: float
    target: str
    plan: str
    options: dict[str, bool | int | float | str | None]
    versions: dict[str, str]
    machine: Machine
    command: list[str]
    phases: list[Phase]
    spans: list[Span]
    series: Series
    events: list[Event] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    thresholds: list[ThresholdResult] = field(default_factory=list)
    ledger: dict[str, Any] | None = None
    clocks: dict[str, Any] | None = None
    generator: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None
    ladder: Ladder | None = None

    @property
    def shown_rung(self) -> int | None:
        """The rung whose window is the window of the run: the last one that held, or the first."""
        return None if self.ladder is None else self.ladder.held or 1

    @property
    def is_invalid(self) -> bool:
        """True if the verdict is that its latencies are not to be believed."""
        return self.verdict is not None and self.verdict.get("level") == "INVALID"


def with_section(record: Record, name: str, section: Mapping[str, Any]) -> Record:
    """The record with one of `SECTIONS`, a JSON object, set.

    Raises:
        ValueError: if there is no such section.
    """
    if name not in SECTIONS:
        raise ValueError(f"{name!r} is none of {', '.join(SECTIONS)}")
    sections: dict[str, Any] = {name: dict(section)}
    return replace(record, **sections)


def to_json(record: Record, *, series: Any = None) -> bytes:
    """The record as JSON in one line, with its line end.

    `series`, if given, stands in for that of the record, as `Timeline.series_json` makes it.
    """
    return msgspec.json.encode(record if series is None else replace(record, series=series)) + b"\n"


@dataclass(frozen=True, slots=True)
class _Head:
    format: str
    version: int


def from_json(data: bytes, *, source: str) -> Record:
    """The record that `to_json` wrote.

    `source` names it in errors.

    Raises:
        ConfigError: if it is no record, is of a newer version, or has a field that is wrong; says
            which.
    """
    try:
        head = msgspec.json.decode(data, type=_Head)
        if head.format != FORMAT:
            raise ConfigError(
                f"{source} is no record of a run: its format is {head.format!r}",
                hint="name a run.json, or the folder that it is in",
            )
        if head.version != VERSION:
            raise ConfigError(
                f"{source} has format version {head.version}, this release reads {VERSION}",
                hint="upgrade wpsload, or measure again",
            )
        return msgspec.json.decode(data, type=Record)
    except msgspec.ValidationError as error:
        raise ConfigError(
            f"{source} is no record of a run: {_lowered(str(error))}",
            hint="docs/record.md has what each field holds",
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{source} is not JSON: {error}",
            hint="name a run.json, or the folder that it is in",
        ) from error


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
