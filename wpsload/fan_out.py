"""When a message reached its first member and its last: fan-out completion. No clock, no I/O.

Nobody knows how many members a message is for, so one is complete when no further receipt has come
for a while. Of each sender one message in 16 is followed, which is enough for percentiles and keeps
memory small. Processes hand over what they saw, and whoever merges it has the whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FOLLOWED_MASK", "QUIET_S", "FanOut", "Reached", "Receipt"]

FOLLOWED_MASK = 15
"""A message is followed if none of these bits of its number is set."""

QUIET_S = 10
"""So long without a further receipt, and it is complete: workers report every three seconds."""

Receipt = tuple[int, int, int]
"""Stream, number, and latency in ns."""


@dataclass(slots=True)
class Reached:
    """What is known of one message: latency of the first and last receipt in ns, how many there
    were, and the second of the last (Unix time)."""

    first_ns: int
    last_ns: int
    count: int
    second: int


class FanOut:
    """The messages that are followed and not complete yet."""

    def __init__(self) -> None:
        self._reached: dict[tuple[int, int], Reached] = {}

    def reset(self) -> None:
        """A new run begins."""
        self._reached.clear()

    def add(self, receipts: Iterable[Receipt], second: int) -> None:
        """These came in Unix second `second`."""
        for stream, number, latency_ns in receipts:
            self._include(stream, number, Reached(latency_ns, latency_ns, 1, second))

    def _include(self, stream: int, number: int, more: Reached) -> None:
        known = self._reached.setdefault((stream, number), more)
        if known is not more:
            known.first_ns = min(known.first_ns, more.first_ns)
            known.last_ns = max(known.last_ns, more.last_ns)
            known.count += more.count
            known.second = max(known.second, more.second)

    def complete(self, second: int | None = None) -> list[Reached]:
        """Those that are complete by Unix second `second`, or all of them; they are forgotten."""
        done = [
            key
            for key, one in self._reached.items()
            if second is None or second - one.second >= QUIET_S
        ]
        return [self._reached.pop(key) for key in done]

    def drain(self) -> list[list[int]]:
        """Hand over what was seen since the last call, as values of msgpack and JSON."""
        rows = [
            [stream, number, one.first_ns, one.last_ns, one.count, one.second]
            for (stream, number), one in self._reached.items()
        ]
        self._reached.clear()
        return rows

    def merge(self, rows: Iterable[list[int]]) -> None:
        """Take over what another process drained."""
        for stream, number, *values in rows:
            self._include(stream, number, Reached(*values))
