"""What is to happen when: one heap for every pace, limit and back-off of the process. No clock."""

import heapq
from collections.abc import Callable, Iterator

__all__ = ["Agenda", "Entry"]


class Entry:
    """Something that is due; `cancel` it and it never happens."""

    __slots__ = ("act",)

    def __init__(self, act: Callable[[], None]) -> None:
        self.act: Callable[[], None] | None = act

    def cancel(self) -> None:
        """Never mind. Doing it again, or afterwards, changes nothing."""
        self.act = None


class Agenda:
    """Entries in the order in which they are due; those due at the same time as they were added."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Entry]] = []  # tuples compare without a call
        self._number = 0

    def __len__(self) -> int:
        """How many entries wait, cancelled ones included until their time comes."""
        return len(self._heap)

    @property
    def next_due_ns(self) -> int | None:
        """When the next entry is due; None if there is none."""
        return self._heap[0][0] if self._heap else None

    def add(self, due_ns: int, act: Callable[[], None]) -> Entry:
        """`act` is to be called at `due_ns`."""
        self._number += 1
        entry = Entry(act)
        heapq.heappush(self._heap, (due_ns, self._number, entry))
        return entry

    def take_due(self, now_ns: int) -> Iterator[Callable[[], None]]:
        """What is due by `now_ns`, in order; it is off the agenda.

        What one of them cancels does not come any more.
        """
        heap = self._heap
        due: list[Entry] = []
        while heap and heap[0][0] <= now_ns:
            due.append(heapq.heappop(heap)[2])
        for entry in due:
            if (act := entry.act) is not None:
                entry.act = None
                yield act
