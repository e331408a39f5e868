"""The books of a run: every message sent, and every delivery that could be expected. No I/O.

Each sender numbers its messages in each group: a *stream*. What a member of the group has to
receive follows from when it was a member:

- from the number that the stream was at when the ack of joining was in; who joins a group of very
  many senders is not told of each, and what it receives first is the beginning;
- to the number before which all had their answers when the member began to close or to leave, or,
  if its connection was lost or the sender runs in another process, to what it received last;
- without what the service did not acknowledge, which it may or may not have delivered.

A process collects, and only whoever has the books of all processes can balance them: the sender's
outcomes are with the sender, the gaps with the receivers.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from wpsload.metrics import TIMEOUT, UNANSWERED
from wpsload.receipts import Deliveries, Gap, Receipts

__all__ = ["Balance", "Ledger", "Outcomes", "Stream"]

_MOST_NOTED = 2048
"""Senders that a new member of their group notes, and members that note a new sender; more would
hold up the event loop."""


class Stream:
    """The messages of one sender to one group.

    Args:
        number: names it in every payload, of 44 bits.
        group: None for messages without numbers in their payload: those are only counted.
        settled: gives, for a stream, the number before which all messages have their outcome.
        receiver: who receives none of them, being their sender; None if it does.

    `sequence` is the number of the next message, and so how many were sent.
    """

    __slots__ = ("_settled", "group", "number", "receiver", "sequence")

    def __init__(
        self,
        number: int,
        group: str | None = None,
        settled: Callable[["Stream"], int] | None = None,
        receiver: Receipts | None = None,
    ) -> None:
        self.number = number
        self.group = group
        self.receiver = receiver
        self.sequence = 0
        self._settled = settled

    @property
    def settled(self) -> int:
        """All messages before this number have their outcome."""
        return self._settled(self) if self._settled else self.sequence


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What became of the messages published, as their senders know it.

    `rejected` maps the error names of the service to counts; `lost` those that went down with
    their connection; `unanswered` those that the end of the run cut off.
    """

    acknowledged: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    timed_out: int = 0
    lost: int = 0
    unanswered: int = 0

    @classmethod
    def of(
        cls, successes: int, failures: Mapping[str, int], unanswered: Mapping[str, int]
    ) -> "Outcomes":
        """From what was measured of `sendToGroup`; `unanswered` is a part of `failures`."""
        answered = {text: count - unanswered.get(text, 0) for text, count in failures.items()}
        timed_out, cut_off = unanswered.get(TIMEOUT, 0), unanswered.get(UNANSWERED, 0)
        return cls(
            acknowledged=successes,
            rejected={text: count for text, count in sorted(answered.items()) if count},
            timed_out=timed_out,
            lost=sum(unanswered.values()) - timed_out - cut_off,
            unanswered=cut_off,
        )

    @property
    def total(self) -> int:
        """All of them."""
        return (
            self.acknowledged
            + sum(self.rejected.values())
            + self.timed_out
            + self.lost
            + self.unanswered
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The books of a run.

    Attributes:
        sent: messages published. In the end that is the total of `outcomes`; while messages are
            under way it is more.
        delivered: deliveries that came, each counted once.
        missing: deliveries that had to come and did not.
        duplicated: deliveries that came once more; not in `delivered`.
        out_of_order: those of `delivered` that came after a later one of their sender.
    """

    sent: int
    outcomes: Outcomes
    delivered: int
    missing: int
    duplicated: int
    out_of_order: int

    @property
    def expected(self) -> int:
        """Deliveries that came or had to."""
        return self.delivered + self.missing

    @property
    def loss(self) -> int:
        """Deliveries that are missing, and messages whose ack never came."""
        return self.missing + self.outcomes.lost + self.outcomes.timed_out

    @property
    def in_flight(self) -> int:
        """Messages without an outcome: none, once the run is over."""
        return self.sent - self.outcomes.total

    def to_dict(self) -> dict[str, Any]:
        """The books as values of JSON."""
        return {
            "sent": self.sent,
            "acknowledged": self.outcomes.acknowledged,
            "rejected": dict(self.outcomes.rejected),
            "timed_out": self.outcomes.timed_out,
            "lost": self.outcomes.lost,
            "unanswered": self.outcomes.unanswered,
            "in_flight": self.in_flight,
            "loss": self.loss,
            "expected": self.expected,
            "delivered": self.delivered,
            "missing": self.missing,
            "duplicated": self.duplicated,
            "out_of_order": self.out_of_order,
        }


class Ledger:
    """Collects what the connections of a process know, and merges what other processes did.

    Args:
        new_number: gives a number of 44 bits that no other stream of the whole run has.
    """

    def __init__(self, new_number: Callable[[], int]) -> None:
        self._new_number = new_number
        self.counts = Deliveries()
        self._closed_sent = 0
        self._drained_sent = 0
        self._streams: dict[int, Stream] = {}
        self._of_group: dict[str, dict[int, Stream]] = {}
        self._members: dict[str, dict[int, Receipts]] = {}  # by `id`
        self._final: dict[int, int] = {}  # of streams that are closed: their last number and one
        self._gaps: list[Gap] = []
        self._void: dict[int, set[int]] = {}

    # What a sender tells.

    def open_stream(
        self, group: str | None, settled: Callable[[Stream], int], *, receiver: Receipts | None
    ) -> Stream:
        """A new stream; `receiver` is who gets none of it, being its own sender, or None."""
        stream = Stream(self._new_number(), group, settled, receiver)
        self._streams[stream.number] = stream
        if group is not None:
            self._of_group.setdefault(group, {})[stream.number] = stream
            members = self._members.get(group, {})
            if len(members) <= _MOST_NOTED:
                for member in members.values():
                    if member is not receiver:
                        member.expect(stream.number, 0)
        return stream

    def close_stream(self, stream: Stream) -> None:
        """Its sender has ended, and no message of it is under way."""
        if self._streams.pop(stream.number, None) is None:
            return
        self._closed_sent += stream.sequence
        if stream.group is not None:
            self._final[stream.number] = stream.sequence
            streams = self._of_group[stream.group]
            del streams[stream.number]
            if not streams:
                del self._of_group[stream.group]

    def failed(self, stream: Stream, number: int) -> None:
        """Message `number` of `stream` was not acknowledged: whether it is delivered is open."""
        if stream.group is not None:
            self._void.setdefault(stream.number, set()).add(number)

    # What a receiver tells.

    def receipts(self) -> Receipts:
        """For a new client."""
        return Receipts(self.counts)

    def joined(self, receipts: Receipts, group: str) -> None:
        """The ack is in: from now on everything that is sent to `group` is for that client."""
        self._members.setdefault(group, {})[id(receipts)] = receipts
        receipts.groups.add(group)
        streams = self._of_group.get(group, {})
        if len(streams) <= _MOST_NOTED:
            for stream in streams.values():
                if stream.receiver is not receipts:
                    receipts.expect(stream.number, stream.sequence)

    def received(self, receipts: Receipts, stream: int, number: int) -> None:
        """A numbered message came that was not told by its looks."""
        self.counts.received += 1
        if receipts.next.get(stream) == number:
            receipts.next[stream] = number + 1
        else:
            receipts.irregular(stream, number)

    def left(self, receipts: Receipts, group: str) -> None:
        """The ack is in: nothing more of `group` is for that client.

        Whose group is not known, as the sender is in another process or has ended, ends as well: if
        it is of another group, it begins anew with what comes next.
        """
        self._forget_member(receipts, group)
        for number in list(receipts.next):
            stream = self._streams.get(number)
            if stream is None or stream.group == group:
                self._gaps += receipts.finish(number)

    def _forget_member(self, receipts: Receipts, group: str) -> None:
        receipts.groups.discard(group)
        members = self._members.get(group, {})
        members.pop(id(receipts), None)
        if not members:
            self._members.pop(group, None)

    def settled(self, receipts: Receipts) -> dict[int, int]:
        """By stream, the number before which the client must have received all.

        To be asked for before it begins to close, and handed to `ended`.
        """
        settled = {}
        for number in receipts.next:
            if (stream := self._streams.get(number)) is not None:
                settled[number] = stream.settled
            elif (final := self._final.get(number)) is not None:
                settled[number] = final
        return settled

    def has_received(self, receipts: Receipts, settled: Mapping[int, int]) -> bool:
        """True if nothing that has to come by then is under way."""
        following = receipts.next
        return all(following.get(number, until) >= until for number, until in settled.items())

    def ended(self, receipts: Receipts, settled: Mapping[int, int]) -> None:
        """The client's connection is over, and with it its being in any group."""
        for group in list(receipts.groups):
            self._forget_member(receipts, group)
        for number in list(receipts.next):
            self._gaps += receipts.finish(number, settled.get(number))

    # Balancing.

    def drain(self) -> dict[str, Any]:
        """Hand over what was collected since the last call, as values of msgpack and JSON."""
        gaps, self._gaps = self._gaps, []
        void, self._void = self._void, {}
        counts = asdict(self.counts)
        for name in counts:
            setattr(self.counts, name, 0)
        sent = self._sent
        drained, self._drained_sent = self._drained_sent, sent
        return {
            "sent": sent - drained,
            "counts": counts,
            "gaps": [list(gap) for gap in gaps],
            "void": [[number, sorted(numbers)] for number, numbers in void.items()],
        }

    def merge(self, delta: Mapping[str, Any]) -> None:
        """Take over what another process drained."""
        self._closed_sent += delta["sent"]
        for name, count in delta["counts"].items():
            setattr(self.counts, name, getattr(self.counts, name) + count)
        self._gaps += [(stream, first, end) for stream, first, end in delta["gaps"]]
        for stream, numbers in delta["void"]:
            self._void.setdefault(stream, set()).update(numbers)

    def balance(self, outcomes: Outcomes) -> Balance:
        """The books, with what became of the messages sent."""
        counts = self.counts
        missing = sum(self._missing(gap) for gap in self._gaps)
        return Balance(
            sent=self._sent,
            outcomes=outcomes,
            delivered=counts.received - counts.duplicated,
            missing=missing + counts.open_gaps,
            duplicated=counts.duplicated,
            out_of_order=counts.out_of_order,
        )

    @property
    def _sent(self) -> int:
        return self._closed_sent + sum(one.sequence for one in self._streams.values())

    def _missing(self, gap: Gap) -> int:
        """How many of a gap the service had acknowledged, and so had to deliver."""
        stream, first, end = gap
        void = self._void.get(stream)
        if not void:
            return end - first
        if len(void) < end - first:
            return end - first - sum(first <= number < end for number in void)
        return sum(number not in void for number in range(first, end))
