"""What became of one rung of a ladder: computed from the samples of the rung. No clock, no I/O.

The load of a rung begins and ends on it, so all that was sent on it and did not come is lost.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from wpsload.figures import figures_of
from wpsload.ladder import Step
from wpsload.metrics import DELIVERY, SEND_TO_GROUP
from wpsload.record import Ladder, Record, Rung
from wpsload.thresholds import Threshold, judge
from wpsload.verdict import Verdict

__all__ = ["Surroundings", "ended_by", "judged"]

_LEAST_SENT_RATIO = 0.95  # of what was to be sent, for the rung to have been stood on at all
_CHANCE = 2  # standard deviations: few slow senders may happen to be due outside of the window


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What a rung's samples do not say.

    Attributes:
        members: who gets each message.
        ready: connections that were open, and in their group, when the load began.
        duplicated: deliveries that came once more.
        missing: deliveries that the ledger misses.
        verdict: on the generator, None if nobody looked.
        is_enforced: False if a late generator is only to be warned of.
    """

    members: int
    ready: int
    duplicated: int
    missing: int
    verdict: Verdict | None
    is_enforced: bool = True


def ended_by(
    rungs: Sequence[Rung], steps: int
) -> Literal["missed", "generator limit", "top"] | None:
    """How a climb of so many `steps` has ended with these rungs; None if it goes on."""
    last = rungs[-1].outcome if rungs else None
    if last == "held":
        return "top" if len(rungs) == steps else None
    return None if last == "unfinished" else last


def judged(
    record: Record,
    number: int,
    step: Step,
    objective: Sequence[Threshold],
    surroundings: Surroundings,
) -> Rung:
    """Rung `number` of a run whose record, so far, is `record`.

    A generator that was too late is named first: what it saw is not the service's doing.
    """
    own = replace(
        record,
        spans=[one for one in record.spans if one.rung == number],
        ladder=Ladder(objective=[], held=number),
    )
    views = figures_of(own)
    sends, deliveries = (views.run.metrics.get(one) for one in (SEND_TO_GROUP, DELIVERY))
    unanswered = sends.unanswered_count if sends else 0
    expected = sends.successes * surroundings.members if sends else 0
    delivered = (deliveries.successes if deliveries else 0) - surroundings.duplicated
    lost = max(expected - delivered, surroundings.missing, 0) + unanswered
    rates, seconds = views.rates.counts, max(views.rates.seconds, 1)
    sent_per_s = rates.get("sent", 0) / seconds
    results = judge(objective, replace(own, ledger={"loss": lost}))
    missed = [f"{one.expression}: {one.shown}" for one in results if not one.passed]
    if surroundings.ready < step.connections:
        missed.insert(0, f"only {surroundings.ready} of {step.connections} connections were open")
    due = step.in_per_s * seconds
    if sent_per_s * seconds < _LEAST_SENT_RATIO * due - _CHANCE * math.sqrt(due):
        missed.append(f"only {sent_per_s:.1f} of {step.in_per_s:g} messages/s could be sent")
    verdict = surroundings.verdict
    is_limit = verdict is not None and verdict.is_invalid and surroundings.is_enforced
    return Rung(
        number=number,
        connections=step.connections,
        in_per_s=step.in_per_s,
        outcome="generator limit" if is_limit else "missed" if missed else "held",
        why=[one.text for one in verdict.reasons] if verdict and is_limit else missed,
        verdict=None if verdict is None else verdict.to_dict(),
        sent_per_s=sent_per_s,
        delivered_per_s=rates.get("delivered", 0) / seconds,
        lost=lost,
    )
