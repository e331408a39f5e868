"""What is written in one turn of the event loop, held back until the turn ends.

Sockets are read one after another, then what came is handled, then what that caused is written: a
core is far quicker at one kind of work a hundred times than at three kinds in turn, as the code of
each throws that of the others out of its caches. No I/O here.
"""

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["MOST_HELD", "Turn"]

MOST_HELD = 64
"""So many writes wait for each other: more would gain nothing, and be late."""


class Turn:
    """Between `begin` and `end` it is under way, and whoever writes calls `hold` instead.

    Args:
        hub: gevent's, told of the mistakes of a write.
    """

    __slots__ = ("_held", "_hub", "is_under_way")

    def __init__(self, hub: Any) -> None:
        self._hub = hub
        self._held: list[Callable[[], None]] = []
        self.is_under_way = False

    def begin(self) -> None:
        """Whoever calls this calls `end`."""
        self.is_under_way = True

    def hold(self, write: Callable[[], None]) -> None:
        """Call `write` at the end of the turn, or once enough are held."""
        self._held.append(write)
        if len(self._held) >= MOST_HELD:
            self._write()

    def end(self) -> None:
        """Write what was held."""
        self.is_under_way = False
        self._write()

    def _write(self) -> None:
        held, self._held = self._held, []
        for write in held:
            try:
                write()
            except BaseException:  # the others are to be written all the same
                self._hub.handle_error(write, *sys.exc_info())
