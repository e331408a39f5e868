"""Records of runs that climbed a ladder."""

from typing import Any, Literal

from recording import MS, START, record_of

from wpsload.histogram import Histogram
from wpsload.metrics import DELIVERY
from wpsload.record import (
    HistogramData,
    Ladder,
    MetricSpan,
    Published,
    Record,
    Rung,
    Series,
    Span,
)
from wpsload.recorder import Recorder

__all__ = ["OUTCOMES", "RUNG_S", "climb", "latency_ns"]

OUTCOMES: tuple[Literal["held", "missed", "generator limit"], ...] = (
    "held",
    "held",
    "missed",
    "generator limit",
)
RUNG_S = 10


def latency_ns(number: int) -> int:
    """What every delivery of a rung took: apart from each other, and each easy to find again."""
    return (3 + 10 * number) * MS


def climb(*, held: int | None = 2, published: bool = True, **fields: Any) -> Record:
    """Four rungs of 100 to 400 connections: two held, one missed, and the generator gave up."""
    rungs = [
        Rung(
            number=number,
            connections=100 * number,
            in_per_s=10.0 * number,
            outcome=outcome,
            why=[f"delivery.p99<30ms: {latency_ns(number) / MS} ms"] if outcome == "missed" else [],
            verdict={
                "level": "INVALID" if outcome == "generator limit" else "VALID",
                "reasons": [],
                "figures": "",
            },
            sent_per_s=9.0 * number,
            delivered_per_s=1000.0 * number,
            lost=number - 1,
        )
        for number, outcome in enumerate(OUTCOMES, 1)
    ]
    ladder = Ladder(
        objective=["delivery.p99<30ms", "loss==0"],
        rungs=rungs,
        ended="missed",
        held=held,
        published=Published(
            units=1, connections=1000, in_per_s=50.0, out_per_s=4000.0, source="the guide"
        )
        if published
        else None,
    )
    return record_of(
        Recorder(),
        ladder=ladder,
        spans=[_span(rung.number) for rung in rungs],
        series=Series(second=[START], users=[100], columns={"connections_open": [100]}),
        **fields,
    )


def _span(number: int) -> Span:
    latency = Histogram()
    latency.record_all([latency_ns(number)] * 2000)
    delivered = MetricSpan(
        type=DELIVERY.type,
        name=DELIVERY.name,
        meaning=DELIVERY.meaning,
        latency=HistogramData.of(latency),
        untimed=0,
        unanswered={},
        failures={},
    )
    return Span(
        phase="window",
        second=START + RUNG_S * number,
        seconds=RUNG_S,
        counts={"sent": 90 * number},
        metrics=[delivered],
        rung=number,
    )
