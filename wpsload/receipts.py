"""What one client received of each sender: once, twice, out of order, or not at all. No I/O.

The messages of a stream (one sender, one group) are numbered from 0 on. Almost all come in order,
and of those the receiver only notes the next number it expects; whatever is irregular comes here.
"""

from bisect import bisect_right
from dataclasses import dataclass

__all__ = ["Deliveries", "Gap", "Receipts"]

Gap = tuple[int, int, int]
"""Stream, first number that did not come, and the number after the last one."""


@dataclass(slots=True)
class Deliveries:
    """Counts of all receivers of a process.

    Attributes:
        received: numbered messages, those that came once more too.
        duplicated: messages that came once more.
        out_of_order: messages that came after a later one of their sender.
        open_gaps: numbers that have not come and were passed by a later one, so far.
    """

    received: int = 0
    duplicated: int = 0
    out_of_order: int = 0
    open_gaps: int = 0


class Receipts:
    """The receipts of one client.

    `next` holds, by stream, the number that comes next. Who receives that very number counts it up
    himself, as a call for each message would cost more than all the rest; any other number is for
    `irregular`. `groups` are those that it is a member of.
    """

    __slots__ = ("_counts", "_gaps", "_starts", "groups", "next")

    def __init__(self, counts: Deliveries) -> None:
        self._counts = counts
        self.next: dict[int, int] = {}
        self.groups: set[str] = set()
        self._starts: dict[int, int] = {}
        self._gaps: dict[int, list[tuple[int, int]]] = {}  # by stream, in order

    def expect(self, stream: int, number: int) -> None:
        """All messages of `stream` from `number` on are for this client.

        If earlier ones came already, they are the beginning.
        """
        if stream not in self.next:
            self.next[stream] = self._starts[stream] = number

    def irregular(self, stream: int, number: int) -> None:
        """Take in a message whose number is not the one that comes next."""
        following = self.next.get(stream)
        if following is None:  # nobody told of that sender, as it is on another machine
            self.expect(stream, number)
            self.next[stream] = number + 1
        elif number >= following:
            if number > following:
                self._gaps.setdefault(stream, []).append((following, number))
                self._counts.open_gaps += number - following
            self.next[stream] = number + 1
        elif self._fill(stream, number):
            self._counts.out_of_order += 1
            self._counts.open_gaps -= 1
        elif number >= self._starts[stream]:  # or it was sent before that client was expected to
            self._counts.duplicated += 1  # receive it, and did

    def _fill(self, stream: int, number: int) -> bool:
        """Take `number` out of the gaps; False if it is in none."""
        gaps = self._gaps.get(stream)
        at = bisect_right(gaps, number, key=_first) - 1 if gaps else -1
        if gaps is None or at < 0:
            return False
        first, end = gaps[at]
        if number >= end:
            return False
        gaps[at : at + 1] = [gap for gap in ((first, number), (number + 1, end)) if gap[0] < gap[1]]
        return True

    def finish(self, stream: int, until: int | None = None) -> list[Gap]:
        """The client is no member any more, or its sender has ended; what did not come.

        `until` is the number before which all have to have come; None if nobody can say, and then
        what came last was the last.
        """
        following = self.next.pop(stream)
        del self._starts[stream]
        gaps = self._gaps.pop(stream, [])
        self._counts.open_gaps -= sum(end - first for first, end in gaps)
        if until is not None and until > following:
            gaps.append((following, until))
        return [(stream, first, end) for first, end in gaps]


def _first(gap: tuple[int, int]) -> int:
    return gap[0]
