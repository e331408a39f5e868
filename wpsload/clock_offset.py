"""How far another machine's clock is from ours, from questions and answers. No clock, no I/O.

One exchange bounds it: the other clock was read between our question and its answer, so half of the
round trip is how wrong the middle can be. Source: RFC 5905, 8. The shortest round trip says most,
but clocks drift apart, so that an old exchange says less with each second.
"""

from collections import deque
from dataclasses import dataclass

__all__ = ["DRIFT_PPM", "ClockOffset", "Exchange", "Offsets", "between"]

DRIFT_PPM = 50
"""How far two clocks may drift apart, in millionths: what cheap quartz does, and more than what
machines whose clocks are disciplined do. Source: RFC 5905, 7.1 (PHI is 15)."""

_KEPT = 64  # exchanges: some minutes, in which one of them had no queue in its way
_MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Exchange:
    """A question to the owner of another clock: `asked_ns` and `answered_ns` on ours, `other_ns` on
    the other, read in between."""

    asked_ns: int
    other_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """The other clock shows `offset_ns` more than ours, give or take `uncertainty_ns`."""

    offset_ns: int
    uncertainty_ns: int


def between(one: ClockOffset, other: ClockOffset) -> ClockOffset:
    """How much more `other` shows than `one`; both are known against the same third clock."""
    return ClockOffset(one.offset_ns - other.offset_ns, one.uncertainty_ns + other.uncertainty_ns)


class Offsets:
    """The last exchanges with one other clock."""

    def __init__(self) -> None:
        self._exchanges: deque[Exchange] = deque(maxlen=_KEPT)

    def add(self, exchange: Exchange) -> None:
        """Take in one more.

        Raises:
            ValueError: if its answer came before its question.
        """
        if exchange.answered_ns < exchange.asked_ns:
            raise ValueError("an answer before its question")
        self._exchanges.append(exchange)

    def at(self, now_ns: int) -> ClockOffset | None:
        """What is known at `now_ns` of our clock; None before the first exchange."""
        if not self._exchanges:
            return None
        return min((_aged(one, now_ns) for one in self._exchanges), key=_uncertainty_ns)


def _aged(exchange: Exchange, now_ns: int) -> ClockOffset:
    asked_ns, answered_ns = exchange.asked_ns, exchange.answered_ns
    age_ns = max(0, now_ns - answered_ns)
    half_ns = (answered_ns - asked_ns + 1) // 2
    return ClockOffset(
        offset_ns=exchange.other_ns - (asked_ns + answered_ns) // 2,
        uncertainty_ns=half_ns + age_ns * DRIFT_PPM // _MILLION,
    )


def _uncertainty_ns(offset: ClockOffset) -> int:
    return offset.uncertainty_ns
