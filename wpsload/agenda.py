"""What is to happen when: one heap for every pace, limit and back-off of the process. No clock."""

import heapq
from collections.abc import Callable

__all__ = ["Act", "Agenda", "Entry"]

Act = Callable[[], int | None]
"""Gives when it is to be called again, None for never."""


class Entry:
    """Something that is due; `cancel` it and it never happens."""

    __slots__ = ("act",)

    def __init__(self, act: Act) -> None:
        self.act: Act | None = act

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

    def add(self, due_ns: int, act: Act) -> Entry:
        """`act` is to be called at `due_ns`."""
        self._number += 1
        entry = Entry(act)
        heapq.heappush(self._heap, (due_ns, self._number, entry))
        return entry

    def act(self, now_ns: int, failed: Callable[[Act], None]) -> None:
        """Call what is due by `now_ns`, in order, but for what one before it cancels.

        What they add or want again waits for the next time. If one raises, `failed` is called from
        within the handler.
        """
        heap = self._heap
        due: list[Entry] = []
        while heap and heap[0][0] <= now_ns:
            due.append(heapq.heappop(heap)[2])
        for entry in due:
            if (act := entry.act) is None:
                continue
            try:
                again_ns = act()
            except BaseException:  # the others are due all the same
                failed(act)
                again_ns = None
            if again_ns is None or entry.act is None:
                entry.act = None
            else:
                self._number += 1
                heapq.heappush(heap, (again_ns, self._number, entry))
