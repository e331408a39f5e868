"""How far a run climbed its ladder, in words: the headline, and a row for each rung."""

import re
import textwrap
from dataclasses import dataclass

from wpsload.errors import ConfigError
from wpsload.figures import figures_of_rung
from wpsload.formatting import duration, grouped
from wpsload.histogram import QUANTILES
from wpsload.metrics import DELIVERY
from wpsload.record import Ladder, Record, Rung
from wpsload.thresholds import parse
from wpsload.verdict import MARK

__all__ = [
    "RungRow",
    "ended_text",
    "headline",
    "ladder_lines",
    "objective_p99_ns",
    "published_text",
    "rung_rows",
]

_WIDTH = 80
_LATENCY = re.compile(r"(?<=: )\d[\d.]* ms")  # as `ThresholdResult.shown` has it
_ENDINGS = {
    "missed": "it ended where the objective was missed",
    "generator limit": "it ended at the limit of the generator, not of the service",
    "top": "its last rung held: the service may do more",
    "stopped": "somebody stopped it: the service may do more",
    None: "it is not over",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RungRow:
    """A rung and the p99 of its deliveries; as text it is in ms, marked if not to be believed."""

    rung: Rung
    p99_ns: int | None
    p99: str

    @property
    def why(self) -> str:
        """What was missed; its latencies are marked as that is."""
        why = "; ".join(self.rung.why)
        return _LATENCY.sub(rf"{MARK}\g<0>", why) if self.is_marked else why

    @property
    def is_marked(self) -> bool:
        """Whether its latencies tell of the generator rather than of the service."""
        return self.p99.startswith(MARK)


def rung_rows(record: Record) -> list[RungRow]:
    """The rungs in their order; empty without a ladder."""
    return [] if record.ladder is None else [_row(record, one) for one in record.ladder.rungs]


def _row(record: Record, rung: Rung) -> RungRow:
    delivery = figures_of_rung(record, rung.number).metrics.get(DELIVERY)
    p99_ns = None if delivery is None else delivery.latency.supported_quantile(QUANTILES["p99"])
    is_invalid = record.is_invalid or (rung.verdict or {}).get("level") == "INVALID"
    mark = MARK if is_invalid and p99_ns is not None else ""
    return RungRow(rung=rung, p99_ns=p99_ns, p99=mark + duration(p99_ns))


def headline(record: Record) -> str:
    """What the service did on the last rung that held; empty without a ladder."""
    if record.ladder is None:
        return ""
    best = record.ladder.best
    if best is None:
        return "no rung of the ladder held its objective"
    row = _row(record, best)
    p99 = "not known" if row.p99_ns is None else f"{row.p99} ms"
    return (
        f"{grouped(best.connections)} connections, {grouped(best.sent_per_s)} messages/s in,"
        f" {grouped(best.delivered_per_s)} out, delivery p99 = {p99}"
    )


def published_text(ladder: Ladder) -> str:
    """How that compares with what the service's guide says; empty if it says nothing alike."""
    published = ladder.published
    if published is None:
        return ""
    units = f"{published.units} unit{'' if published.units == 1 else 's'}"
    figure = (
        f"{grouped(published.out_per_s)} messages/s out of {units} to"
        f" {grouped(published.connections)} connections ({published.source})"
    )
    if ladder.best is None or not published.out_per_s:
        return f"published: {figure}"
    share = 100 * ladder.best.delivered_per_s / published.out_per_s
    return f"{share:.0f} % of the published {figure}"


def ended_text(ladder: Ladder) -> str:
    """Why there was no further rung."""
    return _ENDINGS[ladder.ended]


def objective_p99_ns(ladder: Ladder) -> float | None:
    """The limit of the p99 of deliveries, if the objective has one."""
    for expression in ladder.objective:
        try:
            threshold = parse(expression)
        except ConfigError:
            continue  # of a release that knows more
        if (threshold.subject, threshold.statistic) == ("delivery", "p99"):
            return threshold.limit
    return None


def ladder_lines(record: Record) -> list[str]:
    """The headline and the rungs, at most 80 columns wide; empty without a ladder."""
    if (ladder := record.ladder) is None:
        return []
    published = published_text(ladder)
    return [
        *textwrap.wrap(f"ladder: {headline(record)}", _WIDTH, subsequent_indent="  "),
        *textwrap.wrap(published, _WIDTH, initial_indent="  ", subsequent_indent="  "),
        *textwrap.wrap(
            f"objective {' and '.join(ladder.objective)}: {ended_text(ladder)}",
            _WIDTH,
            initial_indent="  ",
            subsequent_indent="  ",
        ),
        f"{'rung':>4} {'connections':>11} {'in/s':>10} {'out/s':>10} {'p99 in ms':>9}  outcome",
        *(line for row in rung_rows(record) for line in _rung_lines(row)),
    ]


def _rung_lines(row: RungRow) -> list[str]:
    """A line of the table, and below it why the rung did not hold."""
    rung = row.rung
    indent = "     "
    return [
        f"{rung.number:>4} {grouped(rung.connections):>11} {grouped(rung.in_per_s):>10}"
        f" {grouped(rung.delivered_per_s):>10} {row.p99:>9}  {rung.outcome}",
        *textwrap.wrap(row.why, _WIDTH, initial_indent=indent, subsequent_indent=indent),
    ]
