"""What is to happen when: one agenda for every pace, limit and back-off of the process. No clock.

Most of what happens is due again, and all of it in the same time, as the messages of a steady load
are. Then whatever was due first is due first the next time as well, and a queue does what a heap
would, at a fraction of the cost however many there are. The heap has the rest.
"""

import heapq
from collections import deque
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
        self._queue: deque[tuple[int, int, Entry]] = deque()  # in order
        self._number = 0

    def __len__(self) -> int:
        """How many entries wait, cancelled ones included until their time comes."""
        return len(self._heap) + len(self._queue)

    @property
    def next_due_ns(self) -> int | None:
        """When the next entry is due; None if there is none."""
        heap, queue = self._heap, self._queue
        if queue and (not heap or queue[0] < heap[0]):
            return queue[0][0]
        return heap[0][0] if heap else None

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
        heap, queue = self._heap, self._queue
        due: list[Entry] = []
        while True:
            if queue and (not heap or queue[0] < heap[0]):
                if queue[0][0] > now_ns:
                    break
                due.append(queue.popleft()[2])
            elif heap and heap[0][0] <= now_ns:
                due.append(heapq.heappop(heap)[2])
            else:
                break
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
                again = again_ns, self._number, entry
                if not queue or again_ns >= queue[-1][0]:
                    queue.append(again)
                else:
                    heapq.heappush(heap, again)
