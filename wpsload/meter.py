"""What the connections of a process do, told once a message: no call, no event, no clock.

The engine handles a message in a few microseconds, of which statistics may take little. So it only
appends to arrays and adds to counters; whoever runs the load takes them a few times a second, and
does once for thousands of messages what would be costly for each.
"""

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from wpsload.fan_out import Receipt
from wpsload.metrics import Metric

__all__ = ["Batch", "Meter", "Series", "Taken"]


class Series:
    """Successes of one metric since the last `take`: two arrays of one length, of 64 bits each.

    Both are the same for good; each `take` copies and empties them.
    """

    __slots__ = ("latencies_ns", "sizes_bytes")

    def __init__(self) -> None:
        self.latencies_ns = array("q")
        self.sizes_bytes = array("q")


@dataclass(frozen=True, slots=True)
class Batch:
    """The successes of one metric, at least one, in their order; two sequences of one length."""

    metric: Metric
    latencies_ns: Sequence[int]
    sizes_bytes: Sequence[int]


@dataclass(frozen=True, slots=True)
class Taken:
    """What a meter was told between one `take` and the next."""

    sent: int
    sent_bytes: int
    received_bytes: int
    batches: tuple[Batch, ...]
    followed: tuple[Receipt, ...] = ()
    due: int = 0
    achieved: int = 0
    late: int = 0
    dropped: int = 0
    dropped_waiting: int = 0


class Meter:
    """Counts messages and payload bytes written, payload bytes received, and keeps latencies.

    Of open loops it counts the arrivals that were `due`, and what became of them: `achieved` is
    written, `late` written too late and part of that, `dropped` never written, `dropped_waiting`
    because the connection could not take it and part of that. `followed` are the receipts of
    messages that are followed to their last member, see `wpsload.fan_out`.
    """

    __slots__ = (
        "_series",
        "achieved",
        "dropped",
        "dropped_waiting",
        "due",
        "followed",
        "late",
        "received_bytes",
        "sent",
        "sent_bytes",
    )

    def __init__(self) -> None:
        self.sent = 0
        self.sent_bytes = 0
        self.received_bytes = 0
        self.due = self.achieved = self.late = self.dropped = self.dropped_waiting = 0
        self.followed: list[Receipt] = []
        self._series: dict[Metric, Series] = {}

    def series(self, metric: Metric) -> Series:
        """Where the successes of `metric` go; the same object for good."""
        found = self._series.get(metric)
        if found is None:
            found = self._series[metric] = Series()
        return found

    def take(self) -> Taken:
        """Hand over everything, and begin anew."""
        batches = []
        for metric, series in self._series.items():
            if series.latencies_ns:
                batches.append(Batch(metric, series.latencies_ns[:], series.sizes_bytes[:]))
                del series.latencies_ns[:], series.sizes_bytes[:]
        taken = Taken(
            self.sent,
            self.sent_bytes,
            self.received_bytes,
            tuple(batches),
            followed=tuple(self.followed),
            due=self.due,
            achieved=self.achieved,
            late=self.late,
            dropped=self.dropped,
            dropped_waiting=self.dropped_waiting,
        )
        self.sent = self.sent_bytes = self.received_bytes = 0
        self.due = self.achieved = self.late = self.dropped = self.dropped_waiting = 0
        self.followed.clear()
        return taken
