"""What is written in one turn of the event loop, held back until the turn ends.

Sockets are read one after another, then what came is handled, then what that caused is written: a
core is far quicker at one kind of work a hundred times than at three kinds in turn, as the code of
each throws that of the others out of its caches. No I/O here.

It also knows how late that was: whoever writes what a schedule had due adds its time to `due_ns`.
"""

import sys
from array import array
from collections.abc import Callable
from typing import Any

__all__ = ["MOST_HELD", "Turn"]

MOST_HELD = 64
"""So many writes wait for each other: more would gain nothing, and be late."""


class Turn:
    """Between `begin` and `end` it is under way, and whoever writes calls `hold` instead.

    Args:
        hub: gevent's, told of the mistakes of a write.
        clock_ns: that of the due times.

    `held` are the writes that wait. `due_ns` has the due times of what is about to be written, and
    where `is_watched`, `slips_ns` then has how long after them it was.
    """

    __slots__ = ("_clock_ns", "_hub", "due_ns", "held", "is_under_way", "is_watched", "slips_ns")

    def __init__(self, hub: Any, clock_ns: Callable[[], int]) -> None:
        self._hub = hub
        self._clock_ns = clock_ns
        self.held: list[Callable[[], None]] = []
        self.due_ns = array("q")
        self.slips_ns = array("q")
        self.is_under_way = self.is_watched = False

    def begin(self) -> None:
        """Whoever calls this calls `end`."""
        self.is_under_way = True

    def hold(self, write: Callable[[], None]) -> None:
        """Call `write` at the end of the turn, or once enough are held."""
        self.held.append(write)
        if len(self.held) >= MOST_HELD:
            self.flush()

    def end(self) -> None:
        """Write what was held."""
        self.is_under_way = False
        self.flush()

    def flush(self) -> None:
        """Write it now."""
        held, self.held = self.held, []
        for write in held:
            try:
                write()
            except BaseException:  # the others are to be written all the same
                self._hub.handle_error(write, *sys.exc_info())
        if self.due_ns:
            self.written()

    def written(self) -> None:
        """What was due is written; to be called by who writes while no turn is under way."""
        if self.is_watched:
            now_ns = self._clock_ns()
            self.slips_ns.extend([now_ns - due_ns for due_ns in self.due_ns])
        del self.due_ns[:]
