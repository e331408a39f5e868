"""A difference between runs is named where there is one, and hardly ever where there is none."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recording import MS, START, record_of, steady_run

from wpsload.comparison import (
    Comparison,
    Outcome,
    compare,
    notes,
    parse_condition,
    why_not_alike,
    why_not_usable,
)
from wpsload.errors import ConfigError
from wpsload.histogram import Histogram
from wpsload.metrics import DELIVERY, SEND_TO_GROUP, Metric
from wpsload.record import HistogramData, Ladder, MetricSpan, Record, Rung, Span
from wpsload.recorder import Recorder
from wpsload.verdict import SelfMeasurement

# Of a window of a real run against the stand-in, 20 users in groups of five, on two busy cores.
RECORDED = json.loads(Path(__file__).with_name("latencies.json").read_text(encoding="utf-8"))
PARTS = 5


def values_of(name: str) -> list[int]:
    """The recorded latencies, in no order."""
    values = Histogram.from_dict(RECORDED[name]).values()
    return [value_ns for value_ns, count in values for _ in range(count)]


VALUES = {SEND_TO_GROUP: values_of("sendToGroup"), DELIVERY: values_of("delivery")}
TAIL_NS = sorted(VALUES[DELIVERY])[int(0.9 * len(VALUES[DELIVERY]))]
SLOW_TAIL = VALUES | {
    DELIVERY: [round(one * 1.2) if one > TAIL_NS else one for one in VALUES[DELIVERY]]
}
"""The tenth of the deliveries that took longest took a fifth longer: so p99 rises by 20 %."""


def resampled(
    chance: random.Random,
    *,
    deliveries: int,
    of: Mapping[Metric, Sequence[int]] = VALUES,
    drift: float = 0.0,
    alike: int = 1,
) -> Record:
    """A run whose latencies are drawn from recorded ones.

    `drift` is by how much the parts of its window differ, as a standard deviation of logarithms;
    `alike` how many deliveries in a row have one latency, as members of a group may.
    """
    spans = []
    for part in range(PARTS):
        factor = math.exp(chance.gauss(0, drift))
        metrics = []
        for metric, count in ((SEND_TO_GROUP, deliveries // 5), (DELIVERY, deliveries)):
            times = alike if metric == DELIVERY else 1
            drawn = chance.choices(of[metric], k=count // PARTS // times)
            scaled = [round(factor * one) for one in drawn] if drift else drawn
            metrics.append(measured(metric, scaled, times=times))
        spans.append(span(part, metrics, sent=deliveries // PARTS // 5))
    return record_of(Recorder(), spans=spans)


def measured(
    metric: Metric, values_ns: Sequence[int], *, times: int = 1, failed: int = 0
) -> MetricSpan:
    """Successes of those latencies, each so many times, and failures."""
    latency = Histogram()
    latency.record_all(values_ns, times)
    return MetricSpan(
        type=metric.type,
        name=metric.name,
        meaning=metric.meaning,
        latency=HistogramData.of(latency),
        untimed=0,
        unanswered={},
        failures={"Forbidden": failed} if failed else {},
    )


def span(part: int, metrics: list[MetricSpan], *, sent: int = 0) -> Span:
    """A part of the window, four seconds long."""
    return Span(
        phase="window", second=START + 4 * part, seconds=4, counts={"sent": sent}, metrics=metrics
    )


def finding(comparison: Comparison, name: str) -> str:
    """What is said of one figure."""
    return next(row.finding for row in comparison.rows if row.name == name)


def only(text: str, base: Record, new: Record) -> Outcome:
    """What becomes of one condition."""
    (outcome,) = compare(base, new, [parse_condition(text)]).outcomes
    return outcome


@pytest.mark.parametrize(
    "within",
    [
        {"deliveries": 3_000},
        {"deliveries": 10_000, "drift": 0.03},
        {"deliveries": 10_000, "alike": 10},
    ],
    ids=["few samples", "drifting", "alike in groups"],
)
def test_the_same_is_no_difference_19_times_in_20(within: dict[str, Any]) -> None:
    """Neither in any figure of the table, nor by conditions."""
    chance = random.Random(f"same {within}")
    conditions = [parse_condition("delivery.p99>+0%"), parse_condition("delivery.p99<-0%")]
    named = failed = 0
    for _ in range(100):
        base, new = (resampled(chance, **within) for _ in range(2))
        comparison = compare(base, new, conditions)
        named += bool(comparison.differences)
        failed += comparison.has_failed
    assert named <= 5
    assert failed <= 5


@pytest.mark.parametrize("drift", [0.0, 0.02], ids=["steady", "drifting"])
def test_a_fifth_more_is_found_19_times_in_20(drift: float) -> None:
    """In the p99, where it is, by the table and by a condition; and nowhere else."""
    chance = random.Random(f"more {drift}")
    conditions = [parse_condition("delivery.p99>+5%")]
    named = failed = elsewhere = 0
    for _ in range(40):
        base = resampled(chance, deliveries=100_000, drift=drift)
        new = resampled(chance, deliveries=100_000, drift=drift, of=SLOW_TAIL)
        comparison = compare(base, new, conditions)
        named += finding(comparison, "delivery.p99") == "higher"
        failed += comparison.has_failed
        elsewhere += len(comparison.differences) > 1
    assert named >= 38
    assert failed >= 38
    assert elsewhere <= 2


def steady(latency_ns: int = 2 * MS, **fields: Any) -> Record:
    """A run in which every message takes as long."""
    return record_of(steady_run(latency_ns=latency_ns), **fields)


def test_a_condition_takes_a_real_difference_beyond_its_limit() -> None:
    """One that is real but small enough passes, in either direction, relative or absolute."""
    base, new = steady(2 * MS), steady(3 * MS)
    assert compare(base, base).differences == []
    assert finding(compare(base, new), "sendToGroup.p50") == "higher"
    assert finding(compare(new, base), "sendToGroup.p99") == "lower"
    assert only("sendToGroup.p50>+40%", base, new).has_failed
    assert only("sendToGroup.p50>+0.9ms", base, new).has_failed
    assert only("sendToGroup.p50<-30%", new, base).has_failed
    for text in ("sendToGroup.p50>+60%", "sendToGroup.p50>+1.1ms", "sendToGroup.p50<-10%"):
        outcome = only(text, base, new)
        assert not outcome.has_failed
        assert outcome.why == "within the limit"
    alike = only("sendToGroup.p50>+0%", base, steady(2 * MS + 10_000))
    assert (alike.has_failed, alike.why) == (False, "no more than the runs vary")


def late(by_ns: int) -> dict[str, Any]:
    """What a generator says of itself whose messages all were written that late."""
    slip = Histogram()
    slip.record(by_ns, 1000)
    return {"this process": SelfMeasurement(slip=slip).to_dict()}


def test_what_the_generator_added_is_no_difference() -> None:
    """Of the greater figure, which may be too high by that."""
    base = steady(2 * MS)
    assert only("sendToGroup.p99>+10%", base, steady(3 * MS, generator=late(MS // 2))).has_failed
    added = steady(3 * MS, generator=late(MS))
    assert only("sendToGroup.p99>+10%", base, added).why == "no more than the runs vary"
    assert only("sendToGroup.p99<-10%", added, base).why == "no more than the runs vary"
    assert only(
        "sendToGroup.p99<-10%", steady(3 * MS), steady(2 * MS, generator=late(MS))
    ).has_failed


def sending(*per_part: int) -> Record:
    """A run that sent so many messages in each part of its window."""
    spans = [span(part, [], sent=count) for part, count in enumerate(per_part)]
    return record_of(Recorder(), spans=spans)


def test_the_interval_of_a_rate_is_that_of_student() -> None:
    """Compared with one that was computed by hand; 2.306 is t of 8 degrees of freedom."""
    base, new = sending(360, 380, 400, 420, 440), sending(370, 390, 410, 430, 450)
    row = only("rate.sent>+0%", base, new).row
    deviation = math.sqrt(250) * 2 / 4  # of the rates of the parts
    half = 2.306 * deviation * math.sqrt(2 / 5) / 100
    assert (row.base, row.new) == (100, 102.5)
    expected = [0.025, 0.025 - half, 0.025 + half]
    assert [row.change, row.low, row.high] == pytest.approx(expected, rel=1e-3)


def test_counts_vary_at_least_as_chance_events_do() -> None:
    """Even where the parts are equal by luck."""
    row = only("rate.sent>+0%", sending(*[20] * 5), sending(*[23] * 5)).row
    assert row.finding == "no difference"
    assert only("rate.sent>+0%", sending(*[2000] * 5), sending(*[2300] * 5)).has_failed


def failing(failed: int) -> Record:
    """A run with so many failures in each part."""
    spans = [
        span(part, [measured(SEND_TO_GROUP, [MS] * 400, failed=failed)]) for part in range(PARTS)
    ]
    return record_of(Recorder(), spans=spans)


def test_failures_after_none() -> None:
    """A share of nothing is nothing, so that any increase that is real exceeds it."""
    for text in ("sendToGroup.error_ratio>+10%", "failures>+10%", "error_ratio>+0.001"):
        assert only(text, failing(0), failing(20)).has_failed, text
        assert not only(text, failing(20), failing(0)).has_failed
        assert not only(text, failing(0), failing(0)).has_failed
    assert finding(compare(failing(0), failing(20)), "sendToGroup.error_ratio") == "higher"


def test_losses_are_of_the_ledger() -> None:
    """One more could be chance."""
    none, one, many = (steady(ledger={"loss": loss}) for loss in (0, 1, 50))
    assert not only("loss>+0", none, one).has_failed
    assert only("loss>+0", none, many).has_failed


def test_counts_are_of_equal_time() -> None:
    """A run that lasted longer has not measured more of anything."""
    shorter, longer = steady(), record_of(steady_run(seconds=40))
    row = only("sendToGroup.count>+0", shorter, longer).row
    assert (row.base, row.new) == (6000, 6000)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("delivery.p99>+10%", "too few samples: 1"),
        ("sendToGroup.p99.9>+10%", "too few samples: 6000"),
        ("delivery.max>+10%", "too few samples: 1 of 3 parts of a window"),
        ("event.p50>+10%", "no data"),
        ("capacity.in<-10%", "no ladder"),
    ],
)
def test_no_telling_is_a_failure(text: str, reason: str) -> None:
    """And it says why."""
    outcome = only(text, steady(), steady())
    assert (outcome.has_failed, outcome.why) == (True, reason)


def test_a_window_of_two_parts_is_too_little() -> None:
    """Nobody knows how much the figures of such a run vary."""
    short = record_of(steady_run(seconds=2))
    outcome = only("sendToGroup.p50>+10%", short, short)
    assert (outcome.has_failed, outcome.why) == (True, "too few samples: 2 of 3 parts of a window")


def climbed(held: int | None, ended: str = "missed", *, by_rung: float = 100) -> Record:
    """A run up a ladder, so many messages a second more on each rung and a millisecond later."""
    rungs = [
        Rung(
            number=number,
            connections=10,
            in_per_s=by_rung * number,
            outcome="held",
            sent_per_s=100 * number,
        )
        for number in range(1, 5)
    ]
    ladder = Ladder(objective=[], rungs=rungs, held=held, ended=ended)  # type: ignore[arg-type]  # text
    spans = [
        replace(one, rung=rung.number)
        for rung in rungs
        for one in steady((1 + rung.number) * MS).spans
    ]
    return steady(ladder=ladder, spans=spans)


def test_capacity_differs_by_more_than_a_rung() -> None:
    """The limit is between the last rung that held and the next: those of neighbours may meet."""
    assert not only("capacity.in<-10%", climbed(3), climbed(2)).has_failed
    assert only("capacity.in<-10%", climbed(3), climbed(1)).has_failed
    assert only("capacity.in<-10%", climbed(3), climbed(None)).has_failed
    assert not only("capacity.in<-70%", climbed(3), climbed(1)).has_failed
    assert finding(compare(climbed(1), climbed(3)), "capacity.in") == "higher"
    top = compare(climbed(1, ended="generator limit"), climbed(4))
    assert finding(top, "capacity.in") == "no difference"


@pytest.mark.parametrize(("base", "new"), [(3, 2), (2, 3), (3, None), (3, 3)])
def test_climbs_are_compared_on_the_highest_rung_that_both_have(base: int, new: int | None) -> None:
    """Under one load nothing differs, however high they came; and a note says which it is."""
    runs = climbed(base), climbed(new)
    outcome = only("sendToGroup.p99>+10%", *runs)
    assert (outcome.has_failed, outcome.why) == (False, "no more than the runs vary")
    rung = min(base, new or 1)
    assert outcome.row.base == pytest.approx((1 + rung) * MS, rel=0.01)
    assert any(f"rung {rung}" in line for line in notes(*runs)) == (base != new)


def test_figures_of_different_loads_are_not_compared() -> None:
    """Neither rungs of other ladders, nor what is of all rungs of a climb that went higher."""
    for text, runs in (
        ("sendToGroup.p99>+10%", (climbed(3), climbed(2, by_rung=50))),
        ("failures>+10%", (climbed(3), climbed(2))),
    ):
        outcome = only(text, *runs)
        assert (outcome.has_failed, outcome.why) == (True, "of different rungs: 3 and 2")


@pytest.mark.parametrize(
    "text",
    [
        *("delivery.p99", "delivery.p99>10%", "delivery.p99>-10%", "delivery.p99<+10%", ""),
        *("delivery.p99>=+10%", "delivery.p99>+10/s", "delivery.p99>+5", "delivery.p100>+1%"),
        *("deliveries.p99>+1%", "rate.lost>+1%", "delivery>+1%", "rate.sent>+5ms"),
        *("delivery.p99>+10%%", "delivery.p99>+%", "connect.p99>+10%", "joinGroup.count>+1"),
    ],
)
def test_what_is_no_condition(text: str) -> None:
    """It is found before anything is compared."""
    with pytest.raises(ConfigError):
        parse_condition(text)


def test_what_a_condition_says() -> None:
    """Names are those of thresholds."""
    condition = parse_condition(" rate.acked < -5% ")
    assert (condition.subject, condition.statistic) == ("acked", "rate")
    assert (condition.limit, condition.is_rise, condition.is_relative) == (-0.05, False, True)
    assert parse_condition("delivery.p99.9>+1.5ms").limit == 1_500_000


def test_alike_is_what_makes_the_load() -> None:
    """Where results go, thresholds and seeds do not."""
    options = {"wps-payload-bytes": 200, "wps-no-echo": False, "wps-seed": "a", "num_users": 5}
    base = steady(options=options, scenario="locustfiles/pubsub.py")
    same = steady(
        options={**options, "wps-seed": "b", "wps-reports": "elsewhere"},
        scenario="/somewhere/pubsub.py",
    )
    assert why_not_alike(base, same) == []
    other = steady(
        options={**options, "wps-payload-bytes": 300, "wps-no-echo": True, "wps-new": "x"},
        scenario="locustfiles/simple.py",
    )
    assert why_not_alike(base, other) == [
        "scenario: pubsub.py and simple.py",
        "wps-new: none and x",
        "wps-no-echo: off and on",
        "wps-payload-bytes: 200 and 300",
    ]
    assert why_not_alike(steady(), steady(plan="closed loop")) == [
        "plan: 'a message every 1s' and 'closed loop'"
    ]
    assert why_not_alike(steady(), climbed(1)) == ["one climbed a ladder, the other did not"]


def test_what_cannot_be_compared_at_all() -> None:
    """A run that was not measured well, or not to its end."""
    assert why_not_usable(steady()) == ""
    assert "INVALID" in why_not_usable(steady(verdict={"level": "INVALID"}))
    assert "goes on" in why_not_usable(steady(state="running"))
    assert "broken off" in why_not_usable(steady(state="interrupted"))
    assert "window" in why_not_usable(record_of(Recorder()))


def test_notes_say_what_else_differs() -> None:
    """Nothing of this forbids to compare."""
    judged = steady(verdict={"level": "VALID"}, options={"wps-seed": "a"})
    assert notes(judged, judged) == []
    told = notes(judged, steady(target="elsewhere", doubts=["a worker was lost"]))
    assert told == [
        "nobody judged the generator of the new run",
        "in doubt in the new run: a worker was lost",
        "their messages were due at different times: give both one --wps-seed",
        "their targets differ",
    ]
